"""``asq-hw verify mac`` and ``asq-hw verify quantizer``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.hardware_options import (
    AccumulatorBitsOption,
    ActivationBitsOption,
    ArrangementOption,
    CodeBitsOption,
    CyclesOption,
    FeatureBitsOption,
    GridOption,
    LayerOption,
    MethodOption,
    ModelArgument,
    MultiplierBitsOption,
    MutantsOption,
    OutputBitsOption,
    PairOption,
    ShiftOption,
    SignedActivationsOption,
    SignedCodesOption,
    StepFractionBitsOption,
    ValueBitsOption,
)
from asq_hw.cli.layer_units import layer_units, network_rung, requantizer, step_quantizer
from asq_hw.cli.options import BUNDLED, FormatOption, choose, integer, integers
from asq_hw.cli.output import Column, OutputFormat, Report, Table, progress_bar, show
from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding

if TYPE_CHECKING:
    from rtl.mac.design import Mac
    from rtl.verify.checks import Check, Method

__all__ = [
    "check_counts",
    "run_rungs",
    "verify_mac",
    "verify_quantizer",
    "verify_requantizer",
]

COLUMNS = (
    Column(key="name", heading="check"),
    Column(key="method", heading="method"),
    Column(key="cases", heading="cases", form=",d"),
    Column(key="passed", heading="passed"),
    Column(key="seconds", heading="seconds", form=".1f"),
    Column(key="detail", heading="detail"),
)


_VALUE_BITS = 20
"""Of a requantizer without a layer: few enough to try every value."""


def verify_mac(
    schemes: Annotated[
        str,
        typer.Option(
            "--scheme", "--schemes", metavar="S,S,...", help="Default: all that have the widths."
        ),
    ] = "all",
    bits: Annotated[
        str, typer.Option("--bits", metavar="B,B,...", help="Widths of a weight.")
    ] = "4",
    activation_bits: ActivationBitsOption = 4,
    signed: SignedActivationsOption = False,
    grid: GridOption = Encoding.PACKED,
    accumulator_bits: AccumulatorBitsOption = 24,
    every: Annotated[
        bool,
        typer.Option(
            "--every", metavar="", help="Every way to build a unit, not the usual one alone."
        ),
    ] = False,
    method: MethodOption = None,
    cycles: CyclesOption = 1_000_000,
    mutants: MutantsOption = 120,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show that multiply-accumulate units compute what the network's arithmetic says.

    Exit status 1 if a check fails, or could not be decided.
    """
    from rtl.mac.schemes import MacScheme
    from rtl.verify.checks import Method
    from rtl.verify.formal import prove_mac
    from rtl.verify.mutation import mutation
    from rtl.verify.simulation import cosim, exhaustive_mac

    check_counts(cycles, mutants)
    designs = _macs(
        tuple(MacScheme)
        if schemes == "all"
        else [choose(MacScheme, "scheme", scheme) for scheme in schemes.split(",")],
        integers("bits", bits),
        {
            "activation_bits": activation_bits,
            "activation_signed": signed,
            "encoding": choose(Encoding, "grid", grid),
            "accumulator_bits": accumulator_bits,
        },
        every=every,
    )
    rungs: dict[Method, Callable[[], list[Check]]] = {
        Method.EXHAUSTIVE: lambda: exhaustive_mac(designs),
        Method.COSIM: lambda: cosim(designs, operations=cycles),
        Method.FORMAL: lambda: prove_mac(designs),
        Method.MUTATION: lambda: mutation(designs, mutants=mutants),
    }
    run_rungs(rungs, method, form)


def verify_quantizer(
    model: ModelArgument = BUNDLED,
    layer: LayerOption = None,
    arrangement: ArrangementOption = "ladder",
    activation_bits: CodeBitsOption = None,
    signed: SignedCodesOption = False,
    feature_bits: FeatureBitsOption = None,
    step_fraction_bits: StepFractionBitsOption = None,
    steps: Annotated[
        int,
        typer.Option(
            "--steps", parser=integer, metavar="N", help="Steps that every feature is tried with."
        ),
    ] = 16,
    method: MethodOption = None,
    cycles: CyclesOption = 1_000_000,
    mutants: MutantsOption = 120,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show the same of the ASQ activation quantizer.

    Exit status 1 if a check fails, or could not be decided.
    """
    from rtl.quantizer.ladder import LadderQuantizer
    from rtl.verify.checks import Method
    from rtl.verify.mutation import mutation
    from rtl.verify.parts import prove_design
    from rtl.verify.quantizer import exhaustive_quantizer, long_run

    check_counts(cycles, mutants, steps)
    units = layer_units(model, layer)
    design = step_quantizer(
        units,
        arrangement,
        bits=activation_bits,
        signed=signed,
        feature_bits=feature_bits,
        step_fraction_bits=step_fraction_bits,
    )
    rungs: dict[Method, Callable[[], list[Check]]] = {
        Method.EXHAUSTIVE: lambda: exhaustive_quantizer(design, steps=steps),
        Method.COSIM: lambda: long_run(design, operations=cycles),
        **network_rung("quantizer", design, units),
        Method.MUTATION: lambda: mutation([design], mutants=mutants),
    }
    if isinstance(design, LadderQuantizer):
        rungs[Method.FORMAL] = lambda: prove_design(design)
    run_rungs(rungs, method, form)


def verify_requantizer(
    model: ModelArgument = BUNDLED,
    layer: LayerOption = None,
    value_bits: ValueBitsOption = None,
    multiplier_bits: MultiplierBitsOption = None,
    shift: ShiftOption = None,
    bits: OutputBitsOption = None,
    pair: PairOption = False,
    steps: Annotated[
        int,
        typer.Option(
            "--steps",
            parser=integer,
            metavar="N",
            help="Multipliers that every value is tried with.",
        ),
    ] = 16,
    method: MethodOption = None,
    cycles: CyclesOption = 1_000_000,
    mutants: MutantsOption = 120,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show the same of the requantizer.

    Exit status 1 if a check fails, or could not be decided.
    """
    from rtl.verify.checks import Method
    from rtl.verify.mutation import mutation
    from rtl.verify.parts import prove_design
    from rtl.verify.quantizer import exhaustive_requantizer, long_run

    check_counts(cycles, mutants, steps)
    units = layer_units(model, layer)
    if units is None and value_bits is None:
        value_bits = _VALUE_BITS
    design = requantizer(
        units,
        pair=pair,
        value_bits=value_bits,
        multiplier_bits=multiplier_bits,
        shift=shift,
        bits=bits,
    )
    rungs: dict[Method, Callable[[], list[Check]]] = {
        Method.COSIM: lambda: long_run(design, operations=cycles),
        **network_rung("requantizer", design, units),
        Method.MUTATION: lambda: mutation([design], mutants=mutants),
    }
    if not design.pair:
        rungs = {
            Method.EXHAUSTIVE: lambda: exhaustive_requantizer(design, steps=steps),
            **rungs,
            Method.FORMAL: lambda: prove_design(design),
        }
    run_rungs(rungs, method, form)


def check_counts(cycles: int, mutants: int, steps: int = 1) -> None:
    """Refuse counts that no run could finish, or that check nothing."""
    if not 1 <= cycles <= 1 << 26:
        raise InputError(f"cycles must be 1..{1 << 26}, not {cycles}")
    if not 1 <= mutants <= 2000:
        raise InputError(f"mutants must be 1..2000, not {mutants}")
    if not 1 <= steps <= 1 << 12:
        raise InputError(f"steps must be 1..{1 << 12}, not {steps}")


def _macs(
    schemes: Iterable[str], widths: Iterable[int], others: dict[str, object], *, every: bool
) -> list[Mac]:
    """The units asked for; where several are, combinations that do not exist are left out."""
    from itertools import product

    from rtl.mac.design import Mac

    designs: list[Mac] = []
    refusal: InputError | None = None
    for scheme, bits in product(schemes, widths):
        try:
            plain = Mac(scheme=scheme, weight_bits=bits, **others)  # type: ignore[arg-type]
        except InputError as error:
            refusal = error
            continue
        designs += plain.variants() if every else [plain]
    if not designs and refusal is not None:
        raise refusal
    return designs


def run_rungs(
    rungs: dict[Method, Callable[[], list[Check]]], method: str | None, form: OutputFormat
) -> None:
    """Climb the rungs asked for, print what was found, and exit 1 unless all of it holds."""
    from rtl.verify.checks import Method

    chosen = list(rungs) if method is None else [choose(Method, "method", method)]
    if missing := [rung for rung in chosen if rung not in rungs]:
        known = ", ".join(rungs)
        raise InputError(f"method must be one of {known} here, not {str(missing[0])!r}")
    checks: list[Check] = []
    with progress_bar("Verifying", len(chosen)) as progress:
        for done, rung in enumerate(chosen):
            if progress is not None:
                progress(done)
            checks += rungs[rung]()
    _show(checks, form)
    if not all(check.passed for check in checks):
        raise typer.Exit(1)


def _show(checks: Sequence[Check], form: OutputFormat) -> None:
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
    failed = sum(not check.passed for check in checks)
    show(
        Report(
            table=Table(
                columns=COLUMNS,
                rows=[row | {"passed": "yes" if row["passed"] else "NO"} for row in rows],
            ),
            document={"checks": rows},
            notes=[f"{len(checks) - failed} of {len(checks)} checks passed."],
        ),
        form,
    )
