"""``asq-hw rtl``: mac, quantizer and requantizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.hardware_options import (
    AccumulatorBitsOption,
    ActivationBitsOption,
    ArrangementOption,
    ClockOption,
    CodeBitsOption,
    FeatureBitsOption,
    ForceOption,
    GridOption,
    LayerOption,
    ModelArgument,
    MultiplierBitsOption,
    OutputBitsOption,
    OutputOption,
    PairOption,
    SchemeOption,
    ShiftOption,
    SignedActivationsOption,
    SignedCodesOption,
    StepFractionBitsOption,
    StyleOption,
    ValueBitsOption,
    WeightBitsOption,
)
from asq_hw.cli.layer_units import layer_units, requantizer, step_quantizer
from asq_hw.cli.options import BUNDLED, FormatOption, choose, integer, model_path
from asq_hw.cli.output import Column, OutputFormat, Report, Table, show
from asq_hw.numbers.encoding import Encoding
from asq_hw.outputs import check_outputs

if TYPE_CHECKING:
    from rtl.design import Design

__all__ = [
    "emit_design",
    "rtl_mac",
    "rtl_quantizer",
    "rtl_requantizer",
]

MOST_ACCUMULATOR_BITS = 48
"""Where a sum's length decides: wide enough to begin with."""

PORTS = (
    Column(key="name", heading="port"),
    Column(key="direction", heading="way"),
    Column(key="width", heading="bits"),
    Column(key="signed", heading="signed"),
    Column(key="meaning", heading="meaning"),
)


def rtl_mac(
    scheme: SchemeOption,
    bits: WeightBitsOption,
    output: OutputOption,
    activation_bits: ActivationBitsOption = 4,
    signed: SignedActivationsOption = False,
    grid: GridOption = Encoding.PACKED,
    accumulator_bits: AccumulatorBitsOption = 24,
    length: Annotated[
        int | None,
        typer.Option(
            "--length",
            parser=integer,
            metavar="N",
            help="Products of a sum: accumulators as narrow as they may be, instead.",
        ),
    ] = None,
    style: StyleOption = None,
    accumulation: Annotated[
        str | None,
        typer.Option(
            "--accumulation", metavar="A", help="post-split: pair, shared or ordered sums."
        ),
    ] = None,
    clear: Annotated[
        str, typer.Option("--clear", metavar="masked|ahead", help="How a new sum begins.")
    ] = "masked",
    pipeline: Annotated[
        int,
        typer.Option("--pipeline", parser=integer, metavar="N", help="Registers on the way, 0-2."),
    ] = 1,
    segments: Annotated[
        int,
        typer.Option(
            "--segments", parser=integer, metavar="N", help="Parts of a sum's carry chain, 1 to 6."
        ),
    ] = 1,
    lut_fraction_bits: Annotated[
        int,
        typer.Option(
            "--lut-fraction-bits", parser=integer, metavar="F", help="Of post-lut's table, 0 to 15."
        ),
    ] = 0,
    clock_mhz: ClockOption = 100.0,
    force: ForceOption = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write a multiply-accumulate unit: Verilog, test bench, vectors, constraints, manifest.

    DIR stands alone: its test bench runs under Verilator and Icarus without this program.
    """
    from rtl.mac.design import Mac
    from rtl.mac.schemes import Accumulation, Clear, MacScheme, Style

    mac = Mac(
        scheme=choose(MacScheme, "scheme", scheme),
        weight_bits=bits,
        activation_bits=activation_bits,
        activation_signed=signed,
        encoding=choose(Encoding, "grid", grid),
        accumulator_bits=MOST_ACCUMULATOR_BITS if length is not None else accumulator_bits,
        style=None if style is None else choose(Style, "style", style),
        accumulation=(
            None if accumulation is None else choose(Accumulation, "accumulation", accumulation)
        ),
        clear=choose(Clear, "clear", clear),
        pipeline=pipeline,
        segments=segments,
        lut_fraction_bits=lut_fraction_bits,
    )
    if length is not None:
        mac = Mac.for_length(length, mac)
    emit_design(mac, output, clock_mhz, form, force=force)


def rtl_quantizer(
    output: OutputOption,
    model: ModelArgument = BUNDLED,
    layer: LayerOption = None,
    arrangement: ArrangementOption = "ladder",
    activation_bits: CodeBitsOption = None,
    signed: SignedCodesOption = False,
    feature_bits: FeatureBitsOption = None,
    step_fraction_bits: StepFractionBitsOption = None,
    clock_mhz: ClockOption = 100.0,
    force: ForceOption = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write an ASQ activation quantizer, likewise: the step comes late and is a port."""
    check_outputs({"--output": output}, {"model": model_path(model)})
    design = step_quantizer(
        layer_units(model, layer),
        arrangement,
        bits=activation_bits,
        signed=signed,
        feature_bits=feature_bits,
        step_fraction_bits=step_fraction_bits,
    )
    emit_design(design, output, clock_mhz, form, force=force)


def rtl_requantizer(
    output: OutputOption,
    model: ModelArgument = BUNDLED,
    layer: LayerOption = None,
    value_bits: ValueBitsOption = None,
    multiplier_bits: MultiplierBitsOption = None,
    shift: ShiftOption = None,
    bits: OutputBitsOption = None,
    pair: PairOption = False,
    clock_mhz: ClockOption = 100.0,
    force: ForceOption = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write a requantizer, likewise: dot products, or pairs of sums, to features."""
    check_outputs({"--output": output}, {"model": model_path(model)})
    design = requantizer(
        layer_units(model, layer),
        pair=pair,
        value_bits=value_bits,
        multiplier_bits=multiplier_bits,
        shift=shift,
        bits=bits,
    )
    emit_design(design, output, clock_mhz, form, force=force)


def emit_design(
    design: Design, output: Path, clock_mhz: float, form: OutputFormat, *, force: bool
) -> None:
    """Write the folder and say what is in it."""
    import json

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
            notes=[f"Wrote {len(emitted.files)} files to {emitted.folder}."],
        ),
        form,
    )
