"""Records of convolutions and linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from asq_hw.network.activation import AdapterStage, AdaptiveStep, FixedStep
from asq_hw.network.layers import Conv, Linear
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.fixedpoint import exp2_table
from asq_hw.numbers.odd_codes import odd_code_range
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.lowering.context import Context, summable_pixels
from asq_hw.sim.lowering.memory_plan import block_pixels, pixels_at_once
from asq_hw.sim.lowering.planes import difference_range
from asq_hw.sim.lowering.tables import Tables
from asq_hw.sim.lowering.weight_layout import arrange, quads_in_words
from asq_hw.sim.records import (
    NO_ADAPTER,
    NO_EXPONENT,
    NO_ODD_CODES,
    NO_SHARED_STEP,
    NOWHERE,
    AdapterRecord,
    CodesRecord,
    ConvolutionRecord,
    DotRecord,
    ExponentRecord,
    OddCodesRecord,
    QuantizerRecord,
    RequantizationRecord,
    SharedStepRecord,
    StageRecord,
)

__all__ = ["convolution_record"]


def convolution_record(layer: Conv | Linear, context: Context) -> ConvolutionRecord:
    """Quantize, multiply and accumulate, requantize."""
    channels, height, width = context.maps[layer.source].shape
    return ConvolutionRecord(
        source=context.layout.maps[layer.source],
        channels=channels,
        height=height,
        width=width,
        compute_type=context.packed[layer.name].compute_type,
        quantizer=_quantizer(layer, context),
        codes=_codes(layer, context),
        dot=_dot(layer, context),
        requantization=_requantization(layer, context),
    )


def _quantizer(layer: Conv | Linear, context: Context) -> QuantizerRecord:
    quantizer = layer.quantizer
    step_size, adapter, exponent, shared = 0, NO_ADAPTER, NO_EXPONENT, NO_SHARED_STEP
    match quantizer.step:
        case FixedStep(step=step):
            step_size = step
        case AdaptiveStep() as adaptive:
            adapter = _adapter(layer, adaptive, context)
        case LogLinearStep() as log_linear:
            adapter = _log_linear(layer, log_linear, context)
        case SharedExponentStep(lowest=lowest, highest=highest):
            exponent = ExponentRecord(
                shift=quantizer.exponent_shift, lowest=lowest, highest=highest
            )
        case SharedAdapterStep() as other:
            shared = SharedStepRecord(
                layer=context.numbers[other.layer],
                multiplier=other.multiplier,
                shift=other.shift,
                minimum=other.minimum,
                maximum=other.maximum,
            )
        case _:
            assert_never(quantizer.step)
    return QuantizerRecord(
        step_size=step_size,
        adapter=adapter,
        exponent=exponent,
        shared=shared,
        step_fraction_bits=quantizer.step_fraction_bits,
        code_low=quantizer.grid.minimum,
        code_high=quantizer.grid.maximum,
        odd=_odd_codes(layer, context),
    )


def _odd_codes(layer: Conv | Linear, context: Context) -> OddCodesRecord:
    if layer.name not in context.layout.odd_indices:
        return NO_ODD_CODES
    low, high = odd_code_range(layer.quantizer.grid)
    return OddCodesRecord(
        code_low=low,
        code_high=high,
        least=difference_range(layer.quantizer.grid)[0],
        indices_at=context.layout.odd_indices[layer.name],
    )


def _adapter(layer: Conv | Linear, adaptive: AdaptiveStep, context: Context) -> AdapterRecord:
    stages = [_stage(stage, context.tables) for stage in adaptive.stages]
    return _adapter_record(layer, adaptive, stages, context)


def _log_linear(layer: Conv | Linear, step: LogLinearStep, context: Context) -> AdapterRecord:
    """One stage that clamps before the offset is added, and a table of powers."""
    tables = context.tables
    stage = StageRecord(
        inputs=step.in_channels,
        outputs=1,
        weights_at=tables.add_adapter(step.weight),
        biases_at=tables.add_constants(np.zeros(1, dtype=np.int64)),
        multiplier=step.multiplier,
        shift=step.shift,
        minimum=step.lowest - step.offset,
        maximum=step.highest - step.offset,
    )
    return _adapter_record(layer, step, [stage], context)._replace(
        powers_at=tables.add_constants(np.array(exp2_table(), dtype=np.int64)),
        exponent_offset=step.offset,
    )


def _adapter_record(
    layer: Conv | Linear,
    step: AdaptiveStep | LogLinearStep,
    stages: Sequence[StageRecord],
    context: Context,
) -> AdapterRecord:
    first = len(context.tables.stages)
    context.tables.stages.extend(stages)
    return AdapterRecord(
        stages=len(stages),
        first_stage=first,
        pool_multiplier=step.pool_multiplier,
        pool_shift=step.pool_shift,
        summable_pixels=summable_pixels(context.maps[layer.source]),
        channel_sums_at=context.layout.channel_sums.get(layer.source, NOWHERE),
        powers_at=NOWHERE,
        exponent_offset=0,
    )


def _stage(stage: AdapterStage, tables: Tables) -> StageRecord:
    outputs, inputs = stage.weight.shape
    return StageRecord(
        inputs=inputs,
        outputs=outputs,
        weights_at=tables.add_adapter(stage.weight),
        biases_at=tables.add_constants(stage.bias),
        multiplier=stage.multiplier,
        shift=stage.shift,
        minimum=stage.minimum,
        maximum=stage.maximum,
    )


def _codes(layer: Conv | Linear, context: Context) -> CodesRecord:
    region, packed = context.layout.codes[layer.name], context.packed[layer.name]
    return CodesRecord(
        indices_at=context.layout.indices[layer.name],
        start=region.start,
        width=region.width,
        padding_y=region.padding[0],
        padding_x=region.padding[1],
        planes=len(packed.tables),
        plane=region.plane,
        tables_at=context.tables.add_constants(packed.tables),
    )


def _dot(layer: Conv | Linear, context: Context) -> DotRecord:
    tables, packed = context.tables, context.packed[layer.name]
    region, shape = context.layout.codes[layer.name], context.maps[layer.name].shape
    panels = arrange(packed, layer, region, shape, tables.offsets)
    return DotRecord(
        method=packed.method,
        winograd=panels.winograd,
        groups=packed.groups,
        group_channels=int(packed.weights.shape[4]),
        group_outputs=layer.out_channels // packed.groups,
        parts=packed.parts,
        columns=packed.columns,
        quads=panels.quads.size,
        quads_at=tables.add_constants(panels.quads),
        pixels=shape[1] * shape[2],
        windows_at=tables.add_offsets(panels.windows),
        outputs_at=tables.add_offsets(panels.outputs),
        block=block_pixels(packed),
        weights_at=tables.add_weights(packed.compute_type, panels.weights),
        corrections_at=tables.add_corrections(panels.corrections),
        run=quads_in_words(panels) if context.kernel is Kernel.AVX2 else 0,
    )


def _requantization(layer: Conv | Linear, context: Context) -> RequantizationRecord:
    tables, layout, packed = context.tables, context.layout, context.packed[layer.name]
    at_once = pixels_at_once(packed, layer)
    return RequantizationRecord(
        method=packed.requantization,
        split_bits=packed.split_bits,
        pixels_at_once=at_once,
        multipliers_at=tables.add_constants(layer.multiplier),
        biases_at=tables.add_constants(np.tile(layer.bias, at_once)),
        biases32_at=tables.add_biases(layer.bias),
        narrow_shift=layer.narrow_shift,
        fraction_bits=context.product.fraction_bits(layer.weight_grid),
        shift=layer.shift,
        range=context.output_range(layer.name),
        destination=layout.maps[layer.name],
        channels=layer.out_channels,
        accumulators_at=layout.accumulators[layer.name],
        channel_sums_at=layout.channel_sums.get(layer.name, NOWHERE),
    )
