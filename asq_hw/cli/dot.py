"""``asq-hw rtl dot``, ``asq-hw verify dot`` and ``asq-hw synth dot``: the dot-product unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.hardware_options import (
    AccumulatorBitsOption,
    ActivationBitsOption,
    ClockOption,
    CyclesOption,
    ForceOption,
    GridOption,
    JobsOption,
    MethodOption,
    MutantsOption,
    OutputOption,
    PnrOption,
    SchemeOption,
    SeedsOption,
    SignedActivationsOption,
    StyleOption,
    TargetOption,
    WeightBitsOption,
)
from asq_hw.cli.options import FormatOption, choose, integer, integers
from asq_hw.cli.output import Column, OutputFormat, Report, Table, progress_bar, show
from asq_hw.cli.rtl import emit_design
from asq_hw.cli.verify import check_counts, run_rungs
from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding

if TYPE_CHECKING:
    from rtl.mac.dot_product import DotProduct
    from rtl.verify.checks import Check, Method

__all__ = ["rtl_dot", "synth_dot", "verify_dot"]

COLUMNS = (
    Column(key="target", heading="target"),
    Column(key="lanes", heading="lanes", form="d"),
    Column(key="scheme", heading="scheme"),
    Column(key="bits", heading="bits", form="d"),
    Column(key="accumulation", heading="sums"),
    Column(key="style", heading="product"),
    Column(key="latency_cyc", heading="latency (cycles)", form="d"),
    Column(key="luts", heading="LUTs", form="d"),
    Column(key="ffs", heading="FFs", form="d"),
    Column(key="cells", heading="placed cells", form="d"),
    Column(key="transistors", heading="transistors", form="d"),
    Column(key="area_ratio", heading="area / uniform", form=".2f"),
    Column(key="fmax_mhz", heading="Fmax (MHz)", form=".0f"),
    Column(key="fmax_ratio", heading="Fmax / uniform", form=".2f"),
)

LanesOption = Annotated[
    int,
    typer.Option("--lanes", parser=integer, metavar="N", help="Products in a cycle, 1 to 256."),
]
AccumulationOption = Annotated[
    str | None,
    typer.Option("--accumulation", metavar="A", help="post-split: pair or ordered sums."),
]


def rtl_dot(
    scheme: SchemeOption,
    bits: WeightBitsOption,
    lanes: LanesOption,
    output: OutputOption,
    activation_bits: ActivationBitsOption = 4,
    signed: SignedActivationsOption = False,
    grid: GridOption = Encoding.PACKED,
    accumulator_bits: AccumulatorBitsOption = 24,
    style: StyleOption = None,
    accumulation: AccumulationOption = None,
    clock_mhz: ClockOption = 100.0,
    force: ForceOption = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write a dot-product unit, likewise: N products each cycle, an adder tree, accumulators."""
    design = _design(
        (scheme, bits, lanes),
        (activation_bits, signed),
        grid=grid,
        accumulator_bits=accumulator_bits,
        built=(style, accumulation),
    )
    emit_design(design, output, clock_mhz, form, force=force)


def verify_dot(
    scheme: SchemeOption,
    bits: WeightBitsOption = 4,
    lanes: LanesOption = 4,
    activation_bits: ActivationBitsOption = 4,
    signed: SignedActivationsOption = False,
    grid: GridOption = Encoding.PACKED,
    accumulator_bits: AccumulatorBitsOption = 24,
    style: StyleOption = None,
    accumulation: AccumulationOption = None,
    method: MethodOption = None,
    cycles: CyclesOption = 2_000_000,
    mutants: MutantsOption = 120,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show the same of a dot-product unit; every other operation is a sum of its own.

    Exit status 1 if a check fails, or could not be decided.
    """
    from rtl.verify.checks import Method
    from rtl.verify.dot_product import cosim_dot_product
    from rtl.verify.mutation import mutation

    check_counts(cycles, mutants)
    design = _design(
        (scheme, bits, lanes),
        (activation_bits, signed),
        grid=grid,
        accumulator_bits=accumulator_bits,
        built=(style, accumulation),
    )
    rungs: dict[Method, Callable[[], list[Check]]] = {
        Method.COSIM: lambda: cosim_dot_product(design, operations=cycles),
        Method.MUTATION: lambda: mutation([design], mutants=mutants),
    }
    run_rungs(rungs, method, form)


def synth_dot(
    schemes: Annotated[
        str,
        typer.Option("--schemes", metavar="S,S,...", help="Each against uniform, if it is one."),
    ] = "uniform,post-split",
    bits: WeightBitsOption = 4,
    lanes: Annotated[
        str, typer.Option("--lanes", metavar="N,N,...", help="Products in a cycle, 1 to 256.")
    ] = "8",
    activation_bits: ActivationBitsOption = 4,
    signed: SignedActivationsOption = False,
    accumulator_bits: AccumulatorBitsOption = 24,
    target: TargetOption = "ecp5",
    pnr: PnrOption = False,
    seeds: SeedsOption = 3,
    jobs: JobsOption = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Synthesize dot-product units, each in a style that suits the target, beside uniform ones."""
    from analysis.studies import dot_synthesis
    from rtl.mac.schemes import MacScheme
    from rtl.synthesis.targets import Target

    targets = [choose(Target, "target", name) for name in target.split(",")]
    if pnr and seeds < 1:
        raise InputError(f"seeds must be at least 1, not {seeds}")
    planned = dot_synthesis.units(
        [choose(MacScheme, "scheme", name) for name in schemes.split(",")],
        integers("lanes", lanes),
        targets,
        bits=bits,
        activation_bits=activation_bits,
        activation_signed=signed,
        accumulator_bits=accumulator_bits,
    )
    with progress_bar("synthesizing", len(planned)) as progress:
        rows = dot_synthesis.measure_units(
            planned, seeds=seeds if pnr else 0, jobs=jobs, progress=progress
        )
    _show(rows, form)


def _show(rows: Sequence[dict[str, object]], form: OutputFormat) -> None:
    columns = [column for column in COLUMNS if any(row.get(column.key) is not None for row in rows)]
    show(Report(table=Table(columns=columns, rows=rows), document={"rows": rows}), form)


def _design(
    unit: tuple[str, int, int],
    activation: tuple[int, bool],
    *,
    grid: str,
    accumulator_bits: int,
    built: tuple[str | None, str | None],
) -> DotProduct:
    """The unit of a scheme, weight bits and lanes; `built` are style and accumulation."""
    from rtl.mac.design import Mac
    from rtl.mac.dot_product import DotProduct
    from rtl.mac.schemes import Accumulation, MacScheme, Style

    scheme, bits, lanes = unit
    style, accumulation = built
    mac = Mac(
        scheme=choose(MacScheme, "scheme", scheme),
        weight_bits=bits,
        activation_bits=activation[0],
        activation_signed=activation[1],
        encoding=choose(Encoding, "grid", grid),
        accumulator_bits=accumulator_bits,
        style=None if style is None else choose(Style, "style", style),
        accumulation=(
            None if accumulation is None else choose(Accumulation, "accumulation", accumulation)
        ),
    )
    return DotProduct(mac=mac, lanes=lanes)
