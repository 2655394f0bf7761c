"""``asq-hw verify``: the checks of a unit, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.layers import EVERY_LAYER, layer_parameters, layers_of
from asq_hw.cli.options import FormatOption, choose, integer
from asq_hw.cli.output import Column, OutputFormat, Report, Table, progress_bar, show
from asq_hw.cli.parameters import declared, of_option
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from rtl.quantizer.of_layer import LayerUnits
    from rtl.units.option import Given
    from rtl.units.unit import Rungs, Unit
    from rtl.verify.checks import Check

__all__ = ["run_verify", "verify_help", "verify_parameters"]

COLUMNS = (
    Column(key="name", heading="check"),
    Column(key="method", heading="method"),
    Column(key="cases", heading="cases", form=",d"),
    Column(key="passed", heading="passed"),
    Column(key="seconds", heading="seconds", form=".1f"),
    Column(key="detail", heading="detail"),
)

_MOST = {"cycles": 1 << 26, "mutants": 2000, "steps": 1 << 12, "images": 10_000}
"""Counts that a run can finish."""


def verify_help(unit: Unit) -> str:
    """What the command of a unit says of itself."""
    return (
        f"Show that {unit.title} computes what it must: {unit.purpose}.\n\n"
        "Exit status 1 if a check fails, or could not be decided."
    )


def verify_parameters(unit: Unit) -> list[Parameter]:
    """The options of the designs to check, and how much is done."""
    from rtl.units.unit import LayerUse
    from rtl.verify.checks import Method
    from rtl.verify.met import IMAGES
    from rtl.verify.mutation import MUTANTS

    method = typer.Option(
        "--method",
        metavar="|".join(Method),
        help="One rung of the ladder (docs/verification.md); default: all.",
    )
    cycles = typer.Option(
        "--cycles", parser=integer, metavar="N", help="Operations of a cosim run."
    )
    mutants = typer.Option("--mutants", parser=integer, metavar="N", help="Mutants of each design.")
    images = typer.Option("--images", parser=integer, metavar="N", help="Of the rung network.")
    whole = typer.Option(
        "--whole", metavar="", help="The rung network with every element, not a drawn part."
    )
    in_network = [
        declared("images", Annotated[int, images], IMAGES),
        declared("whole", Annotated[bool, whole], False),
    ]
    return [
        *layer_parameters(unit.layer, takes_all=True),
        *map(of_option, unit.verify_options),
        declared("method", Annotated[str | None, method], None),
        declared("cycles", Annotated[int, cycles], unit.operations),
        declared("mutants", Annotated[int, mutants], MUTANTS),
        *(in_network if unit.layer is not LayerUse.NEVER else []),
        declared("form", FormatOption, OutputFormat.TABLE),
    ]


def run_verify(unit: Unit, values: dict[str, Any]) -> None:
    """Climb the rungs asked for, print what was found, and exit 1 unless all of it holds.

    A rung that is asked for by name must be one of every layer's unit. The tables of several layers
    are printed one by one, as soon as there is one.
    """
    from rtl.units.unit import Effort, in_order
    from rtl.verify.met import IMAGES, Extent

    for name, most in _MOST.items():
        if not 1 <= values.get(name, 1) <= most:
            raise InputError(f"{name} must be 1..{most}, not {values[name]}")
    method, form = values.pop("method"), values.pop("form")
    extent = Extent(images=values.pop("images", IMAGES), whole=values.pop("whole", False))
    effort = Effort(operations=values.pop("cycles"), mutants=values.pop("mutants"), extent=extent)
    goes_through_all = values.get("layer") == EVERY_LAYER
    layers = layers_of(unit, values)
    given = {option.name: option.value(values[option.name]) for option in unit.verify_options}
    left_out: list[str] = []
    if goes_through_all:
        layers, left_out = _needing(unit, given, layers)
    climbs = [
        _chosen(in_order(unit.rungs(unit.designs(given, layer), given, effort, layer)), method)
        for layer in layers
    ]
    as_they_come = len(layers) > 1 and form is OutputFormat.TABLE
    checks: list[Check] = []
    for layer, runs in zip(layers, climbs, strict=True):
        made = _climb("Verifying" if layer is None else f"Verifying {layer.layer.name}", runs)
        if as_they_come:
            show(_report(made, ()), form)
        checks += made
    passed = f"{sum(check.passed for check in checks)} of {len(checks)} checks passed."
    notes = [*(f"Passed over: {reason}." for reason in left_out), passed]
    if as_they_come:
        print("\n".join(notes))
    else:
        show(_report(checks, left_out, *notes), form)
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def _needing(
    unit: Unit, given: Given, layers: Sequence[LayerUnits | None]
) -> tuple[Sequence[LayerUnits | None], list[str]]:
    """Of all layers those that need such a unit, and why the others do not."""
    reasons = {layer: "" if layer is None else unit.passes_over(given, layer) for layer in layers}
    left_out = [reason for reason in reasons.values() if reason]
    needing = [layer for layer, reason in reasons.items() if not reason]
    if not needing:
        raise InputError(f"no layer needs {unit.title} of this kind: {left_out[0]}")
    return needing, left_out


def _climb(what: str, runs: Sequence[Callable[[], list[Check]]]) -> list[Check]:
    """The checks of some rungs, with a progress bar."""
    checks: list[Check] = []
    with progress_bar(what, len(runs)) as progress:
        for done, run in enumerate(runs):
            if progress is not None:
                progress(done)
            checks += run()
    return checks


def _chosen(rungs: Rungs, method: str | None) -> list[Callable[[], list[Check]]]:
    """The rung of that name, or all that there are."""
    from rtl.verify.checks import Method

    if method is None:
        return list(rungs.values())
    rung = choose(Method, "method", method)
    if rung not in rungs:
        raise InputError(f"method must be one of {', '.join(rungs)} here, not {str(rung)!r}")
    return [rungs[rung]]


def _report(checks: Sequence[Check], left_out: Sequence[str], *notes: str) -> Report:
    rows = [
        {
            "name": check.name,
            "method": str(check.method),
            "cases": check.cases,
            "passed": check.passed,
            "seconds": check.seconds,
            "detail": check.detail,
        }
        for check in checks
    ]
    return Report(
        table=Table(
            columns=COLUMNS,
            rows=[row | {"passed": "yes" if row["passed"] else "NO"} for row in rows],
        ),
        document={"checks": rows, "passed_over": list(left_out)},
        notes=notes,
    )
