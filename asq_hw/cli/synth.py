"""``asq-hw synth``: what a unit costs, whatever its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.layers import layer_of, layer_parameters
from asq_hw.cli.options import BUNDLED, FormatOption, integer, model_path
from asq_hw.cli.output import Column, OutputFormat, Report, Table, progress_bar, show
from asq_hw.cli.parameters import declared, of_option
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from analysis.studies.study import Findings, Heading, Planned
    from analysis.studies.workload import Workload
    from rtl.targets.target import Target
    from rtl.units.unit import Unit

__all__ = ["run_synth", "synth_help", "synth_parameters"]

_SEEDS = 3
_WORK_LAYER = "layer2.1.conv1"


def synth_help(unit: Unit) -> str:
    """What the command of a unit says of itself."""
    return (
        f"Synthesize {unit.title} with Yosys: {unit.purpose}.\n\n"
        "With --pnr it is placed and routed, too."
    )


def synth_parameters(unit: Unit) -> list[Parameter]:
    """The options of the designs to measure, and what is done with them."""
    from analysis.studies.registry import study_of
    from rtl.targets.registry import DEFAULT_TARGET, TARGETS, in_words

    study = study_of(unit)
    target = typer.Option("--target", metavar="T,T,...", help=f"Among {', '.join(TARGETS.names)}.")
    routed = in_words(each for each in TARGETS if each.router)
    pnr = typer.Option("--pnr", metavar="", help=f"Place and route, too: {routed}.")
    seeds = typer.Option("--seeds", parser=integer, metavar="N", help="Placements with --pnr.")
    dsp = typer.Option("--dsp", metavar="", help="Allow multiplier blocks.")
    jobs = typer.Option(
        "--jobs", parser=integer, metavar="N", help="Units at a time; default: cores."
    )
    energy = typer.Option(
        "--energy",
        metavar="",
        help="Energy that switches at work on a layer of the packaged network, too.",
    )
    layer = typer.Option("--layer", metavar="L", help="The layer that --energy works on.")
    seed = typer.Option(
        "--seed", parser=integer, metavar="N", help="Draws other dot products for --energy."
    )
    at_work = [
        declared("energy", Annotated[bool, energy], False),
        declared("work_layer", Annotated[str, layer], _WORK_LAYER),
        declared("seed", Annotated[int, seed], 1),
    ]
    return [
        *layer_parameters(study.layer),
        *map(of_option, study.options),
        declared("target", Annotated[str, target], DEFAULT_TARGET.name),
        declared("pnr", Annotated[bool, pnr], False),
        declared("seeds", Annotated[int, seeds], _SEEDS),
        declared("dsp", Annotated[bool, dsp], False),
        declared("jobs", Annotated[int | None, jobs], None),
        *(at_work if study.peers else []),
        declared("form", FormatOption, OutputFormat.TABLE),
    ]


def run_synth(unit: Unit, values: dict[str, Any]) -> None:
    """Measure what the unit's study plans, and say what it finds."""
    from analysis.studies.registry import study_of
    from analysis.studies.study import measure_each
    from analysis.studies.switching import ENERGY_COLUMNS, switch_each, with_energy
    from rtl.targets.registry import TARGETS

    study = study_of(unit)
    targets = [TARGETS.find(name) for name in values.pop("target").split(",")]
    pnr, seeds, dsp, jobs, form = (
        values.pop(name) for name in ("pnr", "seeds", "dsp", "jobs", "form")
    )
    if pnr and seeds < 1:
        raise InputError(f"seeds must be at least 1, not {seeds}")
    energy, work_layer, seed = (values.pop(name, None) for name in ("energy", "work_layer", "seed"))
    layer = layer_of(study.layer, values)
    given = {option.name: option.value(values[option.name]) for option in study.options}
    planned = study.plan(given, targets, layer)
    workload = _workload(planned, work_layer, seed) if energy else None
    with progress_bar("synthesizing", len(planned)) as progress:
        measured = measure_each(
            planned, seeds=seeds if pnr else 0, dsp=dsp, jobs=jobs, progress=progress
        )
    findings, columns = study.findings(planned, measured), study.columns
    if workload is not None:
        with progress_bar("working", len(planned)) as progress:
            switched = switch_each(planned, workload, jobs=jobs, progress=progress)
        rows = with_energy(findings.rows, switched, workload.products, study.peers, study.is_base)
        rows = [row | {"layer": work_layer, "seed": seed} for row in rows]
        findings = replace(findings, rows=rows)
        columns = (*study.columns, *ENERGY_COLUMNS)
    _show(findings, columns, targets, form)


def _workload(planned: Sequence[Planned], name: str, seed: int) -> Workload:
    """What the designs are to work on; all that may be missing for it is missed now."""
    from analysis.studies.switching import check_work
    from analysis.studies.workload import traced_workload
    from asq_hw.modelfile import load
    from rtl.quantizer.of_layer import LayerUnits

    workload = traced_workload(LayerUnits.of(load(model_path(BUNDLED)), name), seed=seed)
    check_work(planned, workload)
    return workload


def _show(
    findings: Findings, headings: Sequence[Heading], targets: Sequence[Target], form: OutputFormat
) -> None:
    keys = dict.fromkeys(key for row in findings.rows for key in row)
    rows = [{key: row.get(key) for key in keys} for row in findings.rows]
    columns = [Column(key=each.key, heading=each.heading, form=each.form) for each in headings]
    # A target may count what no other does.
    known = {column.key for column in columns}
    areas = {target.area.key: target.area.heading for target in targets}
    columns += [
        Column(key=key, heading=heading, form="d")
        for key, heading in areas.items()
        if key not in known
    ]
    shown = [column for column in columns if any(row.get(column.key) is not None for row in rows)]
    show(
        Report(
            table=Table(columns=shown, rows=rows),
            document={"rows": rows, **findings.others},
            notes=findings.notes,
        ),
        form,
    )
