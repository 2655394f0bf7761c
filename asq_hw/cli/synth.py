"""``asq-hw synth mac``: what hardware costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.hardware_options import (
    AccumulatorBitsOption,
    ActivationBitsOption,
    JobsOption,
    PnrOption,
    SeedsOption,
    TargetOption,
)
from asq_hw.cli.options import FormatOption, choose, integers
from asq_hw.cli.output import Column, OutputFormat, Report, Table, progress_bar, show
from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS

if TYPE_CHECKING:
    from analysis.studies.synthesis import Comparison, Row
    from rtl.mac.schemes import MacScheme
    from rtl.synthesis.targets import Target

__all__ = ["synth_mac"]

COLUMNS = (
    Column(key="scheme", heading="scheme"),
    Column(key="bits", heading="bits", form="d"),
    Column(key="target", heading="target"),
    Column(key="accumulation", heading="sums"),
    Column(key="style", heading="product"),
    Column(key="clear", heading="clear"),
    Column(key="pipeline", heading="pipeline", form="d"),
    Column(key="segments", heading="segments", form="d"),
    Column(key="latency_cyc", heading="latency (cycles)", form="d"),
    Column(key="cycles_per_product", heading="cycles per product", form="d"),
    Column(key="luts", heading="LUTs", form="d"),
    Column(key="ffs", heading="FFs", form="d"),
    Column(key="carries", heading="carry bits", form="d"),
    Column(key="dsps", heading="DSPs", form="d"),
    Column(key="cells", heading="placed cells", form="d"),
    Column(key="transistors", heading="transistors", form="d"),
    Column(key="fmax_mhz", heading="Fmax (MHz)", form=".0f"),
)


def synth_mac(
    schemes: Annotated[
        str,
        typer.Option(
            "--schemes",
            metavar="S,S,...",
            help="Among uniform, pot, apot, post-lut, post-split; default: all that have the bits.",
        ),
    ] = "all",
    bits: Annotated[
        str, typer.Option("--bits", metavar="B,B,...", help="Widths of the weights.")
    ] = "4",
    activation_bits: ActivationBitsOption = 4,
    signed: Annotated[
        bool,
        typer.Option(
            "--signed-activations", "--signed", metavar="", help="Two's complement activations."
        ),
    ] = False,
    grids: Annotated[
        str,
        typer.Option(
            "--grids", metavar="G,G,...", help=f"Levels of pot and post: {', '.join(Encoding)}."
        ),
    ] = Encoding.PACKED,
    accumulator_bits: AccumulatorBitsOption = 24,
    target: TargetOption = "ecp5",
    pnr: PnrOption = False,
    seeds: SeedsOption = 3,
    variants: Annotated[
        str,
        typer.Option(
            "--variants",
            metavar="recommended|registered|all",
            help="Build each unit in the recommended way, in all fast ways, or in every way.",
        ),
    ] = "recommended",
    dsp: Annotated[
        bool, typer.Option("--dsp", metavar="", help="Allow multiplier blocks.")
    ] = False,
    jobs: JobsOption = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Synthesize multiply-accumulate units with Yosys; place and route them with nextpnr."""
    from analysis.studies import synthesis
    from rtl.synthesis.targets import Target

    widths = integers("bits", bits)
    targets = [choose(Target, "target", name) for name in target.split(",")]
    tried = choose(synthesis.Variants, "variants", variants)
    chosen = _schemes(schemes)
    encodings = [choose(Encoding, "grid", name) for name in grids.split(",")]
    for width in widths if schemes == "all" else ():
        if not any(scheme.has_weight_bits(width) for scheme in chosen):
            raise InputError(f"bits must be {MIN_BITS}..{MAX_BITS}, not {width}")
    planned = []
    for each in targets:
        macs = synthesis.units(
            chosen,
            widths,
            target=each,
            activation_bits=activation_bits,
            activation_signed=signed,
            accumulator_bits=accumulator_bits,
            encodings=encodings,
            variants=tried,
            skip_missing=schemes == "all",
        )
        planned.append((each, macs))
    rows: list[Row] = []
    for each, macs in planned:
        with progress_bar(f"synthesizing for {each}", len(macs)) as progress:
            rows += synthesis.measure_all(
                macs,
                each,
                seeds=_placements(each, targets, seeds) if pnr else 0,
                dsp=dsp,
                jobs=jobs,
                progress=progress,
            )
    _show(rows, synthesis.compare(rows), form)


def _schemes(names: str) -> list[MacScheme]:
    from rtl.mac.schemes import MacScheme

    if names == "all":
        return list(MacScheme)
    return [choose(MacScheme, "scheme", name) for name in names.split(",")]


def _placements(target: Target, targets: Sequence[Target], seeds: int) -> int:
    """None for a target that cannot be routed, if it is only one of several."""
    if seeds < 1:
        raise InputError(f"seeds must be at least 1, not {seeds}")
    return seeds if target.is_routable or len(targets) == 1 else 0


def _show(rows: Sequence[Row], comparisons: Sequence[Comparison], form: OutputFormat) -> None:
    records = [row.as_dict() for row in rows]
    compared = [comparison.as_dict() for comparison in comparisons]
    columns = [
        column for column in COLUMNS if any(row.get(column.key) is not None for row in records)
    ]
    show(
        Report(
            table=Table(columns=columns, rows=records),
            document={"rows": records, "comparisons": compared},
            notes=[_note(comparison) for comparison in comparisons],
        ),
        form,
    )


def _note(comparison: Comparison) -> str:
    """One line for people: a scheme's best against uniform's."""
    values = comparison.as_dict()
    unit = "transistors" if values["target"] == "gates" else "LUTs"
    parts = [
        f"{values['target']}, {values['bits']} bits, {values['scheme']}: {values['area']} {unit}",
        f"{values['area_ratio']:.2f} of uniform's best ({values['baseline_area']})",
    ]
    if "plain_area" in values:
        parts.append(f"{values['plain_area_ratio']:.2f} of a plain one ({values['plain_area']})")
    if "fmax_ratio" in values:
        parts += [
            f"{values['fmax_mhz']:.0f} MHz",
            f"{values['fmax_ratio']:.2f} of uniform's best ({values['baseline_fmax_mhz']:.0f})",
        ]
    if "plain_fmax_mhz" in values:
        parts.append(
            f"{values['plain_fmax_ratio']:.2f} of a plain one ({values['plain_fmax_mhz']:.0f})"
        )
    return ", ".join(parts)
