"""Convolution and linear layer (docs/arithmetic.md, section 5), one sample at a time.

A window is a list of quads: places, relative to the window's first code, where four codes stand
side by side. Both forms of the dot product below walk the same lists, so they know nothing of
kernel sizes, strides, padding, groups or planes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER
from asq_hw.sim.jit import jit
from asq_hw.sim.kernels_quantize import place_codes, quantize, step_size
from asq_hw.sim.kernels_vnni import dot_1, dot_2
from asq_hw.sim.program import PIXEL_TILE, Lane, Memory, Program, Statistic

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
    vnni: bool | None,
) -> None:
    """Quantize, multiply, accumulate, requantize. `row` is the sample's row in `memory`.

    `vnni` is None or a bool for the compiler to leave the VNNI kernel out or in.
    """
    maps, indices = memory.maps[row], memory.indices[row]
    step = step_size(layer, program, maps, memory.vectors)
    quantize(layer, step, maps, indices, statistics)
    narrow = layer["narrow_shift"]
    half = (np.int64(1) << narrow) >> 1
    for o in range(layer["out_channels"]):
        product = step * program.constants[layer["multiplier_at"] + o]
        memory.multipliers[o] = (product + half) >> narrow
    out = memory.accumulators[row]
    constants = program.constants
    if layer["lane"] == Lane.INT64:
        place_codes(layer, constants, indices, memory.codes64)
        for group in range(layer["groups"]):
            for first in range(0, layer["pixels"], layer["block"]):
                accumulate(
                    layer, constants, program.weights64, memory.codes64, group, first, memory.sums64
                )
                finish(layer, program, memory, maps, memory.sums64, group, first, statistics)
                if keep:
                    keep_sums(layer, constants, memory.sums64, group, first, out)
    elif layer["lane"] == Lane.INT32:
        place_codes(layer, constants, indices, memory.codes32)
        for group in range(layer["groups"]):
            for first in range(0, layer["pixels"], layer["block"]):
                accumulate(
                    layer, constants, program.weights32, memory.codes32, group, first, memory.sums32
                )
                finish(layer, program, memory, maps, memory.sums32, group, first, statistics)
                if keep:
                    keep_sums(layer, constants, memory.sums32, group, first, out)
    elif vnni is not None:
        place_codes(layer, constants, indices, memory.codes8)
        for group in range(layer["groups"]):
            for first in range(0, layer["pixels"], layer["block"]):
                accumulate_vnni(
                    layer, constants, program.weights8, memory.codes8, group, first, memory.sums32
                )
                finish(layer, program, memory, maps, memory.sums32, group, first, statistics)
                if keep:
                    keep_sums(layer, constants, memory.sums32, group, first, out)


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
    """Sums of a block of pixels from pixel `first` on; all integers are of one lane's type."""
    columns = layer["columns"]
    panel = layer["weights"] + group * layer["quads"] * 4 * columns
    for i in range(min(layer["block"], layer["pixels"] - first)):
        window = (
            layer["codes"]
            + group * layer["group_channels"]
            + constants[layer["pixels_at"] + first + i]
        )
        out = sums[i * columns : (i + 1) * columns]
        out[:] = 0
        for k in range(layer["quads"]):
            at = window + constants[layer["quads_at"] + k]
            a, b, c, d = codes[at], codes[at + 1], codes[at + 2], codes[at + 3]
            if a == 0 and b == 0 and c == 0 and d == 0:
                continue
            start = panel + 4 * k * columns
            w = weights[start : start + 4 * columns]
            for j in range(columns):
                out[j] += (
                    a * w[j] + b * w[columns + j] + c * w[2 * columns + j] + d * w[3 * columns + j]
                )


@jit
def accumulate_vnni(
    layer: Record,
    constants: NDArray[np.int64],
    weights: NDArray[np.int8],
    codes: NDArray[np.uint8],
    group: int,
    first: int,
    sums: NDArray[np.int32],
) -> None:
    """The same with the VNNI kernel; the last tile may repeat the last pixel."""
    columns, quads = layer["columns"], layer["quads"]
    panel = weights.ctypes.data + layer["weights"] + group * quads * 4 * columns
    window = codes.ctypes.data + layer["codes"] + group * layer["group_channels"]
    quads_at = constants.ctypes.data + 8 * layer["quads_at"]
    pixels_at = constants.ctypes.data + 8 * (layer["pixels_at"] + first)
    count = min(layer["block"], layer["pixels"] - first)
    for j in range(0, columns, 32):
        for i in range(0, count, PIXEL_TILE):
            at = sums.ctypes.data + 4 * (i * columns + j)
            pixels = pixels_at + 8 * i
            if columns - j > 16:
                dot_2(window, pixels, quads_at, quads, panel + j * 4 * quads, at, columns)
            else:
                dot_1(window, pixels, quads_at, quads, panel + j * 4 * quads, at, columns)


@jit
def finish(
    layer: Record,
    program: Program,
    memory: Memory,
    maps: NDArray[np.int32],
    sums: NDArray[Any],
    group: int,
    first: int,
    statistics: NDArray[np.int64],
) -> None:
    """Requantize one group's sums of a block of pixels."""
    outputs = layer["group_outputs"]
    channel = group * outputs
    corrections_at = layer["correction_at"] + group * layer["columns"]
    corrections = program.constants[corrections_at : corrections_at + layer["columns"]]
    multipliers = memory.multipliers[channel : channel + outputs]
    biases_at = layer["bias_at"] + channel
    biases = program.constants[biases_at : biases_at + outputs]
    for i in range(min(layer["block"], layer["pixels"] - first)):
        row = sums[i * layer["columns"] : (i + 1) * layer["columns"]]
        at = layer["destination"] + (first + i) * layer["out_channels"] + channel
        out = maps[at : at + outputs]
        if layer["pair"]:
            requantize_pair(layer, row, corrections, multipliers, biases, out, statistics)
        else:
            requantize(layer, row, corrections, multipliers, biases, out, statistics)


@jit
def requantize(
    layer: Record,
    sums: NDArray[Any],
    corrections: NDArray[np.int64],
    multipliers: NDArray[np.int64],
    biases: NDArray[np.int64],
    out: NDArray[np.int32],
    statistics: NDArray[np.int64],
) -> None:
    """One pixel's outputs from one accumulator each."""
    shift, low, high = layer["shift"] + layer["fraction_bits"], layer["low"], layer["high"]
    half = (np.int64(1) << shift) >> 1
    saturated = 0
    smallest, largest = statistics[Statistic.SMALLEST], statistics[Statistic.LARGEST]
    for o in range(out.shape[0]):
        total = sums[o] + corrections[o]
        smallest, largest = min(smallest, total), max(largest, total)
        value = ((total * multipliers[o] + half) >> shift) + biases[o]
        fitted = min(max(value, low), high)
        saturated += fitted != value
        out[o] = fitted
    statistics[Statistic.SATURATED] += saturated
    statistics[Statistic.SMALLEST], statistics[Statistic.LARGEST] = smallest, largest


@jit
def requantize_pair(
    layer: Record,
    sums: NDArray[Any],
    corrections: NDArray[np.int64],
    multipliers: NDArray[np.int64],
    biases: NDArray[np.int64],
    out: NDArray[np.int32],
    statistics: NDArray[np.int64],
) -> None:
    """The same from an even and an odd part, whose columns stand behind the even ones."""
    fraction_bits, low, high = layer["fraction_bits"], layer["low"], layer["high"]
    shift, drop = layer["shift"] + fraction_bits, SQRT2_FRACTION_BITS - fraction_bits
    half, odd_half = (np.int64(1) << shift) >> 1, (np.int64(1) << drop) >> 1
    outputs = out.shape[0]
    saturated = 0
    smallest, largest = statistics[Statistic.SMALLEST], statistics[Statistic.LARGEST]
    for o in range(outputs):
        even = sums[o] + corrections[o]
        odd = sums[outputs + o] + corrections[outputs + o]
        smallest, largest = min(smallest, even, odd), max(largest, even, odd)
        total = (even << fraction_bits) + ((odd * SQRT2_MULTIPLIER + odd_half) >> drop)
        value = ((total * multipliers[o] + half) >> shift) + biases[o]
        fitted = min(max(value, low), high)
        saturated += fitted != value
        out[o] = fitted
    statistics[Statistic.SATURATED] += saturated
    statistics[Statistic.SMALLEST], statistics[Statistic.LARGEST] = smallest, largest


@jit
def keep_sums(
    layer: Record,
    constants: NDArray[np.int64],
    sums: NDArray[Any],
    group: int,
    first: int,
    out: NDArray[np.int64],
) -> None:
    """Store the block's accumulators as (parts, pixels, O)."""
    outputs, columns = layer["group_outputs"], layer["columns"]
    for part in range(1 + layer["pair"]):
        for i in range(min(layer["block"], layer["pixels"] - first)):
            pixel = part * layer["pixels"] + first + i
            at = layer["accumulators"] + pixel * layer["out_channels"] + group * outputs
            for o in range(outputs):
                column = part * outputs + o
                correction = constants[layer["correction_at"] + group * columns + column]
                out[at + o] = sums[i * columns + column] + correction
