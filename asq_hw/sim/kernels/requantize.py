"""Requantization (docs/arithmetic.md, section 5): from sums of products to a feature map's values.

Sums of a block of pixels stand as (parts, block, width), with a width of ``columns / parts``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.numbers.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER
from asq_hw.sim.program import Memory, Program, Sample, Statistic
from asq_hw.sim.records import ConvolutionRecord, RequantizationRecord

__all__ = ["keep_block", "requantize_block", "scale_multipliers"]

Sums = NDArray[Any]
Integers = NDArray[np.int64]
Maps = NDArray[np.signedinteger]


@jit
def scale_multipliers(
    layer: RequantizationRecord, step: int, constants: Integers, memory: Memory
) -> None:
    """``m`` of every output channel, as often as pixels are requantized at once.

    Parameters
    ----------
    layer : RequantizationRecord
        The layer's requantization.
    step : int
        ``D``.
    constants : int64 array
        The program's.
    memory : Memory
        The thread's arrays.
    """
    outputs, shift, out = layer.channels, layer.narrow_shift, memory.multipliers
    half = (np.int64(1) << shift) >> 1
    for o in range(outputs):
        out[o] = (step * constants[layer.multipliers_at + o] + half) >> shift
        memory.multipliers32[o] = out[o]  # read for sums of bytes, where it fits
    for i in range(1, layer.pixels_at_once):
        out[i * outputs : (i + 1) * outputs] = out[:outputs]


@jit
def requantize_block(
    layer: ConvolutionRecord,
    program: Program,
    memory: Memory,
    sample: Sample,
    sums: Sums,
    group: int,
    first: int,
) -> None:
    """Requantize one group's sums of a block, as many pixels at once as stand side by side.

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    program : Program
        Tables that the layer's record points into.
    memory : Memory
        The thread's arrays.
    sample : Sample
        Which sample of the batch, and where its results go.
    sums : array
        The block's.
    group : int
        Group of channels.
    first : int
        The block's first pixel.
    """
    dot, requantization, maps = layer.dot, layer.requantization, memory.maps[sample.row]
    outputs, width = dot.group_outputs, dot.columns // dot.parts
    at_once = requantization.pixels_at_once
    channel = group * outputs
    count = min(dot.block, dot.pixels - first)
    multipliers = memory.multipliers[channel : channel + at_once * outputs]
    biases_at = requantization.biases_at + channel
    biases = program.constants[biases_at : biases_at + at_once * outputs]
    odd_at = dot.block * width
    for i in range(0, count, at_once):
        size = min(at_once, count - i) * outputs
        even = sums[i * width : i * width + size]
        at = requantization.destination + (first + i) * requantization.channels + channel
        out = maps[at : at + size]
        _widen(even, sample.statistics)
        if dot.parts == 2:
            odd = sums[odd_at + i * width : odd_at + i * width + size]
            _widen(odd, sample.statistics)
            saturated = _requantize_pair(requantization, even, odd, multipliers, biases, out)
        else:
            saturated = _requantize(requantization, even, multipliers, biases, out)
        sample.statistics[Statistic.SATURATED] += saturated


@jit
def _widen(sums: Sums, statistics: Integers) -> None:
    """Note the smallest and the largest sum."""
    smallest, largest = sums[0], sums[0]
    for i in range(sums.shape[0]):
        smallest, largest = min(smallest, sums[i]), max(largest, sums[i])
    statistics[Statistic.SMALLEST] = min(statistics[Statistic.SMALLEST], np.int64(smallest))
    statistics[Statistic.LARGEST] = max(statistics[Statistic.LARGEST], np.int64(largest))


@jit
def _requantize(
    layer: RequantizationRecord, sums: Sums, multipliers: Integers, biases: Integers, out: Maps
) -> int:
    """Outputs from one accumulator each; returns how many were saturated."""
    ends, shift = layer.range, layer.shift + layer.fraction_bits
    low, high, floor, ceiling = ends.low, ends.high, ends.floor, ends.ceiling
    half = (np.int64(1) << shift) >> 1
    saturated = 0
    for i in range(out.shape[0]):
        value = ((sums[i] * multipliers[i] + half) >> shift) + biases[i]
        fitted = min(max(value, low), high)
        saturated += fitted != value
        out[i] = min(max(fitted, floor), ceiling)
    return saturated


@jit
def _requantize_pair(
    layer: RequantizationRecord,
    evens: Sums,
    odds: Sums,
    multipliers: Integers,
    biases: Integers,
    out: Maps,
) -> int:
    """The same from an even and an odd part each."""
    ends, fraction_bits = layer.range, layer.fraction_bits
    low, high, floor, ceiling = ends.low, ends.high, ends.floor, ends.ceiling
    shift, drop = layer.shift + fraction_bits, SQRT2_FRACTION_BITS - fraction_bits
    half, odd_half = (np.int64(1) << shift) >> 1, (np.int64(1) << drop) >> 1
    saturated = 0
    for i in range(out.shape[0]):
        odd = (np.int64(odds[i]) * SQRT2_MULTIPLIER + odd_half) >> drop
        total = (np.int64(evens[i]) << fraction_bits) + odd
        value = ((total * multipliers[i] + half) >> shift) + biases[i]
        fitted = min(max(value, low), high)
        saturated += fitted != value
        out[i] = min(max(fitted, floor), ceiling)
    return saturated


@jit
def keep_block(layer: ConvolutionRecord, sums: Sums, group: int, first: int, out: Integers) -> None:
    """Store a block's accumulators as (parts, pixels, O).

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    sums : array
        The block's.
    group : int
        Group of channels.
    first : int
        The block's first pixel.
    out : int64 array
        The sample's accumulators.
    """
    dot, channels = layer.dot, layer.requantization.channels
    outputs, width = dot.group_outputs, dot.columns // dot.parts
    for part in range(dot.parts):
        for i in range(min(dot.block, dot.pixels - first)):
            pixel = part * dot.pixels + first + i
            at = layer.requantization.accumulators_at + pixel * channels + group * outputs
            for o in range(outputs):
                out[at + o] = sums[(part * dot.block + i) * width + o]
