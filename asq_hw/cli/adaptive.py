"""``asq-hw rtl`` and ``asq-hw verify`` for pooling accumulator and adapter: the adaptive step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from asq_hw.cli.hardware_options import (
    ClockOption,
    CyclesOption,
    FeatureBitsOption,
    ForceOption,
    LayerOption,
    MethodOption,
    ModelArgument,
    MutantsOption,
    OutputOption,
    ShiftOption,
)
from asq_hw.cli.layer_units import adaptive_units, layer_units, network_rung, pooling_accumulator
from asq_hw.cli.options import BUNDLED, FormatOption, integer, model_path
from asq_hw.cli.output import OutputFormat
from asq_hw.cli.rtl import emit_design
from asq_hw.cli.verify import check_counts, run_rungs
from asq_hw.outputs import check_outputs

if TYPE_CHECKING:
    from rtl.design import Design
    from rtl.verify.checks import Check, Method

__all__ = ["rtl_adapter", "rtl_pooling", "verify_adapter", "verify_pooling"]

ElementsOption = Annotated[
    int | None,
    typer.Option(
        "--elements",
        parser=integer,
        metavar="N",
        help="Most features of a channel, up to 2^20; default: 64, or the layer's.",
    ),
]
PoolMultiplierOption = Annotated[
    int | None,
    typer.Option(
        "--multiplier",
        parser=integer,
        metavar="M",
        help="Of the sum, 1 to 65535; default: 1024, or the layer's.",
    ),
]
AdaptiveLayerOption = Annotated[
    str | None,
    typer.Option("--layer", metavar="L", help="Layer with the adapter; default: the first."),
]
MeanBitsOption = Annotated[
    int | None,
    typer.Option(
        "--mean-bits",
        parser=integer,
        metavar="N",
        help="Width of a mean, at least what the layer's means need, which is the default.",
    ),
]


def rtl_pooling(
    output: OutputOption,
    model: ModelArgument = BUNDLED,
    layer: LayerOption = None,
    feature_bits: FeatureBitsOption = None,
    elements: ElementsOption = None,
    multiplier: PoolMultiplierOption = None,
    shift: ShiftOption = None,
    clock_mhz: ClockOption = 100.0,
    force: ForceOption = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write a pooling accumulator, likewise: features to the mean of their channel."""
    check_outputs({"--output": output}, {"model": model_path(model)})
    design = pooling_accumulator(
        layer_units(model, layer),
        feature_bits=feature_bits,
        elements=elements,
        multiplier=multiplier,
        shift=shift,
    )
    emit_design(design, output, clock_mhz, form, force=force)


def rtl_adapter(
    output: OutputOption,
    model: ModelArgument = BUNDLED,
    layer: AdaptiveLayerOption = None,
    mean_bits: MeanBitsOption = None,
    clock_mhz: ClockOption = 100.0,
    force: ForceOption = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write the adapter of a network's layer, likewise: channel means to a step."""
    check_outputs({"--output": output}, {"model": model_path(model)})
    design = adaptive_units(model, layer).adapter(mean_bits=mean_bits)
    emit_design(design, output, clock_mhz, form, force=force)


def verify_pooling(
    model: ModelArgument = BUNDLED,
    layer: LayerOption = None,
    feature_bits: FeatureBitsOption = None,
    elements: ElementsOption = None,
    multiplier: PoolMultiplierOption = None,
    shift: ShiftOption = None,
    method: MethodOption = None,
    cycles: CyclesOption = 1_000_000,
    mutants: MutantsOption = 120,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show the same of the pooling accumulator.

    Exit status 1 if a check fails, or could not be decided.
    """
    from rtl.verify.checks import Method
    from rtl.verify.parts import prove_design

    units = layer_units(model, layer)
    design = pooling_accumulator(
        units, feature_bits=feature_bits, elements=elements, multiplier=multiplier, shift=shift
    )
    rungs = {
        **_rungs(design, cycles, mutants),
        **network_rung("pooling", design, units),
        Method.FORMAL: lambda: prove_design(design),
    }
    run_rungs(rungs, method, form)


def verify_adapter(
    model: ModelArgument = BUNDLED,
    layer: AdaptiveLayerOption = None,
    mean_bits: MeanBitsOption = None,
    method: MethodOption = None,
    cycles: CyclesOption = 1_000_000,
    mutants: MutantsOption = 120,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show the same of the adapter of a network's layer.

    Exit status 1 if a check fails, or could not be decided.
    """
    units = adaptive_units(model, layer)
    design = units.adapter(mean_bits=mean_bits)
    rungs = _rungs(design, cycles, mutants) | network_rung("adapter", design, units)
    run_rungs(rungs, method, form)


def _rungs(design: Design, cycles: int, mutants: int) -> dict[Method, Callable[[], list[Check]]]:
    from rtl.verify.checks import Method
    from rtl.verify.mutation import mutation
    from rtl.verify.quantizer import long_run

    check_counts(cycles, mutants)
    return {
        Method.COSIM: lambda: long_run(design, operations=cycles),
        Method.MUTATION: lambda: mutation([design], mutants=mutants),
    }
