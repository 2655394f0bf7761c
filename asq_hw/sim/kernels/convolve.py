"""Convolution and linear layer (docs/arithmetic.md, section 5), one sample at a time.

A window is a list of quads: places, relative to the window's first code, where four codes stand
side by side. Both forms of the dot product below walk the same lists, so they know nothing of
kernel sizes, strides, padding, groups or planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.numbers.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER
from asq_hw.sim.kernels.convolve_vector import convolve_bytes
from asq_hw.sim.kernels.quantize import place_codes, quantize, quantize_bytes, step_size
from asq_hw.sim.program import Form, Lane, Memory, Program, Statistic

__all__ = ["convolve"]

Record = Any
"""A row of one of the tables in `asq_hw.sim.program`."""


@jit
def convolve(
    layer: Record,
    program: Program,
    memory: Memory,
    row: int,
    keep: bool,
    statistics: NDArray[np.int64],
    form: Form,
) -> None:
    """Quantize, multiply, accumulate, requantize. `row` is the sample's row in `memory`.

    The type of `form` decides which instructions the lane of bytes is compiled to.
    """
    maps, indices = memory.maps[row], memory.indices[row]
    step = step_size(layer, program, maps, memory, form)
    scale_multipliers(layer, step, program.constants, memory)
    if layer["lane"] == Lane.INT8:
        if not quantize_bytes(layer, step, maps, memory, row, keep, statistics, form):
            quantize(layer, step, maps, indices, statistics)
            place_codes(layer, program.constants, indices, memory.codes8)
        convolve_bytes(layer, program, memory, row, keep, statistics, form)
        return
    quantize(layer, step, maps, indices, statistics)
    out = memory.accumulators[row]
    constants = program.constants
    if layer["lane"] == Lane.INT64:
        place_codes(layer, constants, indices, memory.codes64)
        for group in range(layer["groups"]):
            for first in range(0, layer["pixels"], layer["block"]):
                if memory.stop[0]:
                    return
                accumulate(
                    layer, constants, program.weights64, memory.codes64, group, first, memory.sums64
                )
                finish(layer, program, memory, maps, memory.sums64, group, first, statistics)
                if keep:
                    keep_sums(layer, memory.sums64, group, first, out)
    elif layer["lane"] == Lane.INT32:
        place_codes(layer, constants, indices, memory.codes32)
        for group in range(layer["groups"]):
            for first in range(0, layer["pixels"], layer["block"]):
                if memory.stop[0]:
                    return
                accumulate(
                    layer, constants, program.weights32, memory.codes32, group, first, memory.sums32
                )
                finish(layer, program, memory, maps, memory.sums32, group, first, statistics)
                if keep:
                    keep_sums(layer, memory.sums32, group, first, out)


@jit
def scale_multipliers(
    layer: Record, step: int, constants: NDArray[np.int64], memory: Memory
) -> None:
    """``m`` of every output channel, as often as pixels are requantized at once."""
    outputs, shift, out = layer["out_channels"], layer["narrow_shift"], memory.multipliers
    half = (np.int64(1) << shift) >> 1
    for o in range(outputs):
        out[o] = (step * constants[layer["multiplier_at"] + o] + half) >> shift
        memory.multipliers32[o] = out[o]  # read in the lane of bytes, where it fits
    for i in range(1, layer["pixels_at_once"]):
        out[i * outputs : (i + 1) * outputs] = out[:outputs]


@jit
def accumulate(
    layer: Record,
    constants: NDArray[np.int64],
    weights: NDArray[Any],
    codes: NDArray[Any],
    group: int,
    first: int,
    sums: NDArray[Any],
) -> None:
    """Sums of a block of pixels from pixel `first` on, as (parts, block, width).

    All integers are of one lane's type.
    """
    columns, width, block = layer["columns"], layer["width_out"], layer["block"]
    panel = layer["weights"] + group * layer["quads"] * 4 * columns
    codes_at = layer["codes"] + group * layer["group_channels"]
    row = sums[block * columns : (block + 1) * columns]  # scratch: one pixel's sums, all parts
    for i in range(min(block, layer["pixels"] - first)):
        window = codes_at + constants[layer["pixels_at"] + first + i]
        row[:] = 0
        for k in range(layer["quads"]):
            quad = window + constants[layer["quads_at"] + k]
            a, b, c, d = codes[quad], codes[quad + 1], codes[quad + 2], codes[quad + 3]
            if a == 0 and b == 0 and c == 0 and d == 0:
                continue
            start = panel + 4 * k * columns
            w = weights[start : start + 4 * columns]
            for j in range(columns):
                row[j] += (
                    a * w[j] + b * w[columns + j] + c * w[2 * columns + j] + d * w[3 * columns + j]
                )
        for part in range(columns // width):
            at = (part * block + i) * width
            sums[at : at + width] = row[part * width : (part + 1) * width]


@jit
def finish(
    layer: Record,
    program: Program,
    memory: Memory,
    maps: NDArray[np.signedinteger],
    sums: NDArray[Any],
    group: int,
    first: int,
    statistics: NDArray[np.int64],
) -> None:
    """Requantize one group's sums of a block, as many pixels at once as stand side by side."""
    outputs, width, at_once = layer["group_outputs"], layer["width_out"], layer["pixels_at_once"]
    channel = group * outputs
    count = min(layer["block"], layer["pixels"] - first)
    multipliers = memory.multipliers[channel : channel + at_once * outputs]
    biases_at = layer["bias_at"] + channel
    biases = program.constants[biases_at : biases_at + at_once * outputs]
    odd_at = layer["block"] * width
    for i in range(0, count, at_once):
        size = min(at_once, count - i) * outputs
        even = sums[i * width : i * width + size]
        at = layer["destination"] + (first + i) * layer["out_channels"] + channel
        out = maps[at : at + size]
        _widen(even, statistics)
        if layer["pair"]:
            odd = sums[odd_at + i * width : odd_at + i * width + size]
            _widen(odd, statistics)
            saturated = requantize_pair(layer, even, odd, multipliers, biases, out)
        else:
            saturated = requantize(layer, even, multipliers, biases, out)
        statistics[Statistic.SATURATED] += saturated


@jit
def _widen(sums: NDArray[Any], statistics: NDArray[np.int64]) -> None:
    """Note the smallest and the largest sum."""
    smallest, largest = sums[0], sums[0]
    for i in range(sums.shape[0]):
        smallest, largest = min(smallest, sums[i]), max(largest, sums[i])
    statistics[Statistic.SMALLEST] = min(statistics[Statistic.SMALLEST], np.int64(smallest))
    statistics[Statistic.LARGEST] = max(statistics[Statistic.LARGEST], np.int64(largest))


@jit
def requantize(
    layer: Record,
    sums: NDArray[Any],
    multipliers: NDArray[np.int64],
    biases: NDArray[np.int64],
    out: NDArray[np.signedinteger],
) -> int:
    """Outputs from one accumulator each; returns how many were saturated."""
    shift, low, high = layer["shift"] + layer["fraction_bits"], layer["low"], layer["high"]
    floor, ceiling = layer["floor"], layer["ceiling"]
    half = (np.int64(1) << shift) >> 1
    saturated = 0
    for i in range(out.shape[0]):
        value = ((sums[i] * multipliers[i] + half) >> shift) + biases[i]
        fitted = min(max(value, low), high)
        saturated += fitted != value
        out[i] = min(max(fitted, floor), ceiling)
    return saturated


@jit
def requantize_pair(
    layer: Record,
    evens: NDArray[Any],
    odds: NDArray[Any],
    multipliers: NDArray[np.int64],
    biases: NDArray[np.int64],
    out: NDArray[np.signedinteger],
) -> int:
    """The same from an even and an odd part each."""
    fraction_bits, low, high = layer["fraction_bits"], layer["low"], layer["high"]
    floor, ceiling = layer["floor"], layer["ceiling"]
    shift, drop = layer["shift"] + fraction_bits, SQRT2_FRACTION_BITS - fraction_bits
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
def keep_sums(
    layer: Record, sums: NDArray[Any], group: int, first: int, out: NDArray[np.int64]
) -> None:
    """Store the block's accumulators as (parts, pixels, O)."""
    outputs, width, block = layer["group_outputs"], layer["width_out"], layer["block"]
    for part in range(1 + layer["pair"]):
        for i in range(min(block, layer["pixels"] - first)):
            pixel = part * layer["pixels"] + first + i
            at = layer["accumulators"] + pixel * layer["out_channels"] + group * outputs
            for o in range(outputs):
                out[at + o] = sums[(part * block + i) * width + o]
