"""``asq-hw rtl``: a unit's folder, whatever the kind of unit."""

from __future__ import annotations

import json
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.layers import layer_of, layer_parameters
from asq_hw.cli.options import FormatOption, model_path
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.cli.parameters import declared, of_option
from asq_hw.files.outputs import check_outputs

if TYPE_CHECKING:
    from rtl.design import Design
    from rtl.units.unit import Unit

__all__ = ["rtl_help", "rtl_parameters", "run_rtl"]

PORTS = (
    Column(key="name", heading="port"),
    Column(key="direction", heading="way"),
    Column(key="width", heading="bits"),
    Column(key="signed", heading="signed"),
    Column(key="meaning", heading="meaning"),
)


def rtl_help(unit: Unit) -> str:
    """What the command of a unit says of itself."""
    return (
        f"Write {unit.title}: {unit.purpose}.\n\n"
        "DIR gets Verilog, test bench, vectors, constraints and manifest, and stands alone: its "
        "test bench runs under Verilator and Icarus without this program."
    )


def rtl_parameters(unit: Unit) -> list[Parameter]:
    """The unit's options, and where its folder goes."""
    from rtl.emit.constraints import DEFAULT_CLOCK_MHZ

    output = typer.Option("-o", "--output", metavar="DIR", help="Folder to write into.")
    clock = typer.Option("--clock-mhz", metavar="MHZ", help="Clock of the constraints files.")
    force = typer.Option("--force", metavar="", help="Replace another unit that DIR holds.")
    return [
        *layer_parameters(unit.layer),
        *map(of_option, unit.options),
        declared("output", Annotated[Path, output]),
        declared("clock_mhz", Annotated[float, clock], DEFAULT_CLOCK_MHZ),
        declared("force", Annotated[bool, force], False),
        declared("form", FormatOption, OutputFormat.TABLE),
    ]


def run_rtl(unit: Unit, values: dict[str, Any]) -> None:
    """Make the design, write its folder and say what is in it."""
    output, clock_mhz, force, form = (
        values.pop(name) for name in ("output", "clock_mhz", "force", "form")
    )
    if "model" in values:
        check_outputs({"--output": output}, {"model": model_path(values["model"])})
    layer = layer_of(unit.layer, values)
    given = {option.name: option.value(values[option.name]) for option in unit.options}
    _emit(unit.design(given, layer), output, clock_mhz, form, force=force)


def _emit(
    design: Design, output: Path, clock_mhz: float, form: OutputFormat, *, force: bool
) -> None:
    from rtl.emit.folder import MANIFEST, emit

    emitted = emit(design, output, clock_mhz=clock_mhz, force=force)
    document = json.loads((emitted.folder / MANIFEST).read_text(encoding="utf-8"))
    show(
        Report(
            headline=[
                f"{document['title']}: {emitted.top}, latency {design.latency_cyc} cycles, "
                f"interval {design.interval_cyc}"
            ],
            table=Table(columns=PORTS, rows=document["ports"]),
            document={"folder": str(emitted.folder), **document},
            notes=[
                f"It holds {design.cells.title}." if design.cells else "It is portable Verilog.",
                f"Wrote {len(emitted.files)} files to {emitted.folder}.",
            ],
        ),
        form,
    )
