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
    MethodOption,
    MutantsOption,
    OutputOption,
    ShiftOption,
)
from asq_hw.cli.options import BUNDLED, FormatOption, integer, model_path
from asq_hw.cli.output import OutputFormat
from asq_hw.cli.rtl import emit_design
from asq_hw.cli.verify import check_counts, run_rungs
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from rtl.design import Design
    from rtl.quantizer.adapter import Adapter
    from rtl.verify.checks import Check, Method

__all__ = ["rtl_adapter", "rtl_pooling", "verify_adapter", "verify_pooling"]

ElementsOption = Annotated[
    int,
    typer.Option(
        "--elements", parser=integer, metavar="N", help="Most features of a channel, up to 2^20."
    ),
]
PoolMultiplierOption = Annotated[
    int,
    typer.Option("--multiplier", parser=integer, metavar="M", help="Of the sum, 1 to 65535."),
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model file; bundled is the packaged network.")
]
LayerOption = Annotated[
    str | None,
    typer.Option("--layer", metavar="L", help="Layer with the adapter; default: the first."),
]
MeanBitsOption = Annotated[
    int, typer.Option("--mean-bits", parser=integer, metavar="N", help="Width of a mean, 2 to 32.")
]


def rtl_pooling(
    output: OutputOption,
    feature_bits: FeatureBitsOption = 16,
    elements: ElementsOption = 64,
    multiplier: PoolMultiplierOption = 1024,
    shift: ShiftOption = 16,
    clock_mhz: ClockOption = 100.0,
    force: ForceOption = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write a pooling accumulator, likewise: features to the mean of their channel."""
    from rtl.quantizer.pooling import PoolingAccumulator

    design = PoolingAccumulator(
        feature_bits=feature_bits, elements=elements, multiplier=multiplier, shift=shift
    )
    emit_design(design, output, clock_mhz, form, force=force)


def rtl_adapter(
    output: OutputOption,
    model: ModelArgument = BUNDLED,
    layer: LayerOption = None,
    mean_bits: MeanBitsOption = 16,
    clock_mhz: ClockOption = 100.0,
    force: ForceOption = False,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Write the adapter of a network's layer, likewise: channel means to a step."""
    emit_design(_adapter(model, layer, mean_bits), output, clock_mhz, form, force=force)


def verify_pooling(
    feature_bits: FeatureBitsOption = 16,
    elements: ElementsOption = 64,
    multiplier: PoolMultiplierOption = 1024,
    shift: ShiftOption = 16,
    method: MethodOption = None,
    cycles: CyclesOption = 1_000_000,
    mutants: MutantsOption = 120,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show the same of the pooling accumulator.

    Exit status 1 if a check fails, or could not be decided.
    """
    from rtl.quantizer.pooling import PoolingAccumulator

    design = PoolingAccumulator(
        feature_bits=feature_bits, elements=elements, multiplier=multiplier, shift=shift
    )
    _verify(design, method, (cycles, mutants), form)


def verify_adapter(
    model: ModelArgument = BUNDLED,
    layer: LayerOption = None,
    mean_bits: MeanBitsOption = 16,
    method: MethodOption = None,
    cycles: CyclesOption = 1_000_000,
    mutants: MutantsOption = 120,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show the same of the adapter of a network's layer.

    Exit status 1 if a check fails, or could not be decided.
    """
    _verify(_adapter(model, layer, mean_bits), method, (cycles, mutants), form, proven=False)


def _verify(
    design: Design,
    method: str | None,
    counts: tuple[int, int],
    form: OutputFormat,
    *,
    proven: bool = True,
) -> None:
    from rtl.verify.checks import Method
    from rtl.verify.mutation import mutation
    from rtl.verify.parts import prove_design
    from rtl.verify.quantizer import long_run

    cycles, mutants = counts
    check_counts(cycles, mutants)
    rungs: dict[Method, Callable[[], list[Check]]] = {
        Method.COSIM: lambda: long_run(design, operations=cycles),
        Method.MUTATION: lambda: mutation([design], mutants=mutants),
    }
    if proven:
        rungs[Method.FORMAL] = lambda: prove_design(design)
    run_rungs(rungs, method, form)


def _adapter(model: str, layer: str | None, mean_bits: int) -> Adapter:
    """The adapter of the layer of that name, or of the first one that has an adapter."""
    from asq_hw.activation import AdaptiveStep
    from asq_hw.layers import Conv, Linear
    from asq_hw.modelfile import load
    from rtl.quantizer.adapter import Adapter

    stages = {
        each.name: each.quantizer.step.stages
        for each in load(model_path(model)).layers
        if isinstance(each, Conv | Linear) and isinstance(each.quantizer.step, AdaptiveStep)
    }
    if not stages:
        raise InputError(f"no layer of {model} has an adapter")
    name = next(iter(stages)) if layer is None else layer
    if name not in stages:
        raise InputError(f"layer must be one of {', '.join(stages)}, not {name!r}")
    return Adapter(stages=stages[name], mean_bits=mean_bits, layer=name)
