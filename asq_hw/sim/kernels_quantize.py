"""The activation quantizer (docs/arithmetic.md, section 4), one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.sim.jit import jit
from asq_hw.sim.program import Program, Statistic

__all__ = ["place_codes", "quantize", "step_size"]

Maps = NDArray[np.int32]
Record = Any
"""A row of one of the tables in `asq_hw.sim.program`."""


@jit
def step_size(layer: Record, program: Program, maps: Maps, vectors: NDArray[np.int64]) -> int:
    """``D``: the file's, or what the adapter makes of the source's channel means.

    `vectors` is scratch, (2, largest row of a map or number of hidden units).
    """
    if layer["stages"] == 0:
        return layer["step_size"]  # type: ignore[no-any-return]
    _pool_channels(layer, maps, vectors[0])
    for number in range(layer["stages"]):
        stage = program.stages[layer["stage"] + number]
        _run_stage(stage, program.constants, vectors[number % 2], vectors[1 - number % 2])
    return vectors[layer["stages"] % 2, 0]  # type: ignore[no-any-return]


@jit
def _pool_channels(layer: Record, maps: Maps, sums: NDArray[np.int64]) -> None:
    """Scaled sums of channels. `sums` first holds a whole row's, so that the inner loop is long."""
    channels, shift = layer["channels"], layer["pool_shift"]
    row_size = layer["width"] * channels
    row_sums = sums[:row_size]
    row_sums[:] = 0
    for y in range(layer["height"]):
        start = layer["source"] + y * row_size
        values = maps[start : start + row_size]
        for i in range(row_size):
            row_sums[i] += values[i]
    for x in range(1, layer["width"]):
        for c in range(channels):
            sums[c] += row_sums[x * channels + c]
    half = (np.int64(1) << shift) >> 1
    for c in range(channels):
        sums[c] = (sums[c] * layer["pool_multiplier"] + half) >> shift


@jit
def _run_stage(
    stage: Record, constants: NDArray[np.int64], values: NDArray[np.int64], out: NDArray[np.int64]
) -> None:
    inputs, shift = stage["inputs"], stage["shift"]
    half = (np.int64(1) << shift) >> 1
    for j in range(stage["outputs"]):
        total = constants[stage["bias_at"] + j]
        row = stage["weight_at"] + j * inputs
        for i in range(inputs):
            total += constants[row + i] * values[i]
        scaled = (total * stage["multiplier"] + half) >> shift
        out[j] = min(max(scaled, stage["minimum"]), stage["maximum"])


@jit
def quantize(
    layer: Record,
    step: int,
    maps: Maps,
    indices: NDArray[np.uint8],
    statistics: NDArray[np.int64],
) -> None:
    """Write ``q - Qn`` of every value and count what is clipped and what ties.

    ``q - Qn = floor(n / d)`` with ``n = 2 * X * 2**T + D - 2 * Qn * D`` and ``d = 2 * D``, for an n
    clamped to what stays within Qn..Qp. Then n < 2**8 * d, and the quotient is a product with
    ``inverse = floor(2**k / d) + 1``, shifted right by ``k = 8 + 2 * bits(d)``: exact, since
    ``n * (inverse * d - 2**k) <= n * d < 2**k``.
    """
    size = layer["channels"] * layer["height"] * layer["width"]
    scale = layer["step_fraction_bits"] + 1
    divisor = 2 * step
    most = divisor * (layer["code_high"] - layer["code_low"] + 1) - 1
    offset = step - divisor * layer["code_low"]
    bits = np.int64(8)
    while divisor >> ((bits - 8) >> 1) > 0:
        bits += 2
    inverse = (np.int64(1) << bits) // divisor + 1
    source = maps[layer["source"] : layer["source"] + size]
    out = indices[layer["indices"] : layer["indices"] + size]
    clipped = 0
    for i in range(size):
        exact = (np.int64(source[i]) << scale) + offset
        numerator = min(max(exact, np.int64(0)), most)
        clipped += numerator != exact
        out[i] = (numerator * inverse) >> bits
    statistics[Statistic.STEP_SIZE] = step
    statistics[Statistic.CLIPPED] += clipped
    statistics[Statistic.TIES] += _count_ties(source, step, scale)


@jit
def _count_ties(source: Maps, step: int, scale: int) -> int:
    """How many X have ``X * 2**scale = (2 * k - 1) * D`` for an integer k."""
    odd = step >> scale
    if odd << scale != step:
        return 0  # the left side has more factors of 2 than the right one
    ties = 0
    for i in range(source.shape[0]):
        ties += np.int64(source[i]) % (2 * odd) == odd
    return ties


@jit
def place_codes(
    layer: Record, constants: NDArray[np.int64], indices: NDArray[np.uint8], codes: NDArray[Any]
) -> None:
    """Move ``q - Qn`` into the padded map of the layer's lane; `codes` is that lane's memory.

    One plane holds ``q`` or ``q - Qn``; where there are more, each is a function of the code, in a
    table, and a pixel's planes stand side by side.
    """
    if layer["planes"] > 1:
        _place_planes(layer, constants, indices, codes)
        return
    offset = constants[layer["plane_at"]]
    row_size = layer["width"] * layer["channels"]
    for y in range(layer["height"]):
        row = (y + layer["padding_y"]) * layer["padded_width"] + layer["padding_x"]
        at = layer["codes"] + row * layer["channels"]
        start = layer["indices"] + y * row_size
        out, values = codes[at : at + row_size], indices[start : start + row_size]
        for i in range(row_size):
            out[i] = values[i] + offset


@jit
def _place_planes(
    layer: Record, constants: NDArray[np.int64], indices: NDArray[np.uint8], codes: NDArray[Any]
) -> None:
    channels, planes, width = layer["channels"], layer["planes"], layer["width"]
    for y in range(layer["height"]):
        row = (y + layer["padding_y"]) * layer["padded_width"] + layer["padding_x"]
        for x in range(width):
            start = layer["indices"] + (y * width + x) * channels
            values = indices[start : start + channels]
            for p in range(planes):
                first = layer["plane_at"] + 256 * p
                table = constants[first : first + 256]
                at = layer["codes"] + ((row + x) * planes + p) * channels
                out = codes[at : at + channels]
                for c in range(channels):
                    out[c] = table[values[c]]
