"""A sample's step size: the file's, or computed for it (docs/arithmetic.md, section 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.numbers.fixedpoint import EXP2_FRACTION_BITS, EXP2_INTEGER_BITS
from asq_hw.sim.instruction_sets import LANES, Form
from asq_hw.sim.kernels.llvm import address
from asq_hw.sim.kernels.pool import sum_pixels, sum_rows
from asq_hw.sim.kernels.step_size_vector import HALF_BITS, MAX_PRODUCTS, multiply_row
from asq_hw.sim.program import ComputeType, Memory, Program, Sample, Statistic
from asq_hw.sim.records import NOWHERE, ConvolutionRecord, StageRecord

__all__ = ["step_size"]

_FITTING = np.int64(1) << 2 * HALF_BITS
"""Values below it, and not below its negative, fit two halves."""
_FRACTIONS = 1 << EXP2_FRACTION_BITS
_MOST_DROPPED = (1 << EXP2_INTEGER_BITS) - 1
Maps = NDArray[np.signedinteger]
Vector = NDArray[np.int64]


@jit
def step_size(
    layer: ConvolutionRecord, program: Program, memory: Memory, sample: Sample, form: Form
) -> int:
    """``D``: the file's, what adapter or exponent make of the source, or another layer's.

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    program : Program
        Tables that the layer's record points into.
    memory : Memory
        The thread's arrays.
    sample : Sample
        Which sample of the batch, and the steps of the layers before.
    form : Portable, Avx2 or Vnni
        Which instructions the loops are compiled to; only its type matters.
    """
    adapter, vectors, maps = layer.quantizer.adapter, memory.vectors, memory.maps[sample.row]
    if adapter.stages == 0:
        if layer.quantizer.exponent.highest != NOWHERE:
            return _shared_exponent_step(layer, maps)
        if layer.quantizer.shared.layer != NOWHERE:
            return _shared_adapter_step(layer, sample)
        return layer.quantizer.step_size
    in_bytes = layer.compute_type == ComputeType.INT8
    _mean_channels(layer, maps, memory, form)
    for number in range(adapter.stages):
        stage = program.stages[adapter.first_stage + number]
        values, out = vectors[number % 2], vectors[1 - number % 2]
        if in_bytes and _split(values[: stage.inputs], memory.halves):
            _multiply_halves(stage, program, memory.halves, out, form)
        else:
            _multiply(stage, program, values, out)
        _scale(stage, program.constants, out)
    if adapter.powers_at != NOWHERE:
        exponent = vectors[adapter.stages % 2, 0] + adapter.exponent_offset
        return _power(program.constants[adapter.powers_at :], exponent)
    return vectors[adapter.stages % 2, 0]  # type: ignore[no-any-return]


@jit
def _power(powers: Vector, exponent: int) -> int:
    """``2**(exponent / 256)``: an entry of the table, shifted right, half up."""
    dropped = _MOST_DROPPED - (exponent >> EXP2_FRACTION_BITS)
    entry = powers[exponent & (_FRACTIONS - 1)]
    return (entry + ((np.int64(1) << dropped) >> 1)) >> dropped  # type: ignore[no-any-return]


@jit
def _shared_adapter_step(layer: ConvolutionRecord, sample: Sample) -> int:
    """The other layer's step, times the constant."""
    shared = layer.quantizer.shared
    step = sample.layers[shared.layer, Statistic.STEP_SIZE]
    half = (np.int64(1) << shared.shift) >> 1
    scaled = (step * shared.multiplier + half) >> shared.shift
    return min(max(scaled, shared.minimum), shared.maximum)  # type: ignore[no-any-return]


@jit
def _shared_exponent_step(layer: ConvolutionRecord, maps: Maps) -> int:
    """The power of two that belongs to the source's largest magnitude."""
    source = maps[layer.source : layer.source + layer.channels * layer.height * layer.width]
    low, high = np.int64(0), np.int64(1)
    for i in range(source.shape[0]):
        low, high = min(low, np.int64(source[i])), max(high, np.int64(source[i]))
    record, largest = layer.quantizer.exponent, max(high, -low)
    exponent = np.int64(record.shift)
    while largest > 1:
        largest >>= 1
        exponent += 1
    step = np.int64(1) << min(max(exponent, np.int64(record.lowest)), np.int64(record.highest))
    return step  # type: ignore[return-value]


@jit
def _mean_channels(layer: ConvolutionRecord, maps: Maps, memory: Memory, form: Form) -> None:
    """Means of the source's channels, in the first of the memory's vectors."""
    adapter, values, channels = layer.quantizer.adapter, memory.vectors[0], layer.channels
    if adapter.channel_sums_at != NOWHERE:
        values[:channels] = memory.channel_sums[adapter.channel_sums_at :][:channels]
    elif layer.compute_type == ComputeType.INT8:
        values[: channels + LANES] = 0
        pixels, most = layer.height * layer.width, adapter.summable_pixels
        sum_pixels(maps, layer.source, channels, pixels, most, values, form)
    else:
        sum_rows(maps, layer.source, channels, layer.height, layer.width, values)
    shift = adapter.pool_shift
    half = (np.int64(1) << shift) >> 1
    for c in range(channels):
        values[c] = (values[c] * adapter.pool_multiplier + half) >> shift


@jit
def _multiply(stage: StageRecord, program: Program, values: Vector, out: Vector) -> None:
    """A stage's weights times its inputs."""
    inputs, weights = stage.inputs, program.adapters
    for j in range(stage.outputs):
        row, total = stage.weights_at + j * inputs, np.int64(0)
        for i in range(inputs):
            total += weights[row + i] * values[i]
        out[j] = total


@jit
def _split(values: Vector, halves: NDArray[np.int32]) -> bool:
    """Split values into their lower bits and the rest; False where two halves do not hold them."""
    count = values.shape[0]
    if count > MAX_PRODUCTS:
        return False
    fits = True
    halves[:, count : count + LANES] = 0
    for i in range(count):
        fits &= -_FITTING <= values[i] < _FITTING
        halves[0, i] = values[i] & ((1 << HALF_BITS) - 1)
        halves[1, i] = values[i] >> HALF_BITS
    return fits


@jit
def _multiply_halves(
    stage: StageRecord, program: Program, halves: NDArray[np.int32], out: Vector, form: Form
) -> None:
    """`_multiply` for inputs that were split; a row's last vector may read into the next row."""
    inputs, low, high = stage.inputs, address(halves[0], 0), address(halves[1], 0)
    for j in range(stage.outputs):
        row = address(program.adapters, stage.weights_at + j * inputs)
        multiply_row(form, row, low, high, inputs, address(out, j))


@jit
def _scale(stage: StageRecord, constants: Vector, out: Vector) -> None:
    """Biases and requantization of a stage."""
    shift = stage.shift
    half = (np.int64(1) << shift) >> 1
    for j in range(stage.outputs):
        total = out[j] + constants[stage.biases_at + j]
        scaled = (total * stage.multiplier + half) >> shift
        out[j] = min(max(scaled, stage.minimum), stage.maximum)
