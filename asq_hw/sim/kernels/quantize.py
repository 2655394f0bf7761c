"""The activation quantizer (docs/arithmetic.md, section 4), one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.kernels.quantize_vector import multiply_rows, quantize_values, sum_channels
from asq_hw.sim.program import VECTOR, Form, Lane, Memory, Program, Statistic

__all__ = ["place_codes", "quantize", "quantize_bytes", "step_size"]

_NEAR_VALUES = 8192
"""Values of a feature map that stay in a core's first cache."""
Maps = NDArray[np.signedinteger]
Record = Any
"""A row of one of the tables in `asq_hw.sim.program`."""


@jit
def step_size(layer: Record, program: Program, maps: Maps, memory: Memory, form: Form) -> int:
    """``D``: the file's, or what the adapter makes of the source's channel means."""
    vectors = memory.vectors
    if layer["stages"] == 0:
        return layer["step_size"]  # type: ignore[no-any-return]
    if layer["pooled"] >= 0:
        vectors[0, : layer["channels"]] = memory.pooled[layer["pooled"] :][: layer["channels"]]
    elif layer["lane"] == Lane.INT8:
        _sum_pixels(layer, maps, vectors[0], form)
    else:
        _sum_rows(layer, maps, vectors[0])
    channels, shift, values = layer["channels"], layer["pool_shift"], vectors[0]
    half = (np.int64(1) << shift) >> 1
    for c in range(channels):
        values[c] = (values[c] * layer["pool_multiplier"] + half) >> shift
    for number in range(layer["stages"]):
        stage = program.stages[layer["stage"] + number]
        values, out = vectors[number % 2], vectors[1 - number % 2]
        if layer["lane"] == Lane.INT8 and _split(values[: stage["inputs"]], memory.halves):
            _multiply_halves(stage, program, memory.halves, out, form)
        else:
            _multiply(stage, program, values, out)
        _scale(stage, program.constants, out)
    return vectors[layer["stages"] % 2, 0]  # type: ignore[no-any-return]


@jit
def _sum_pixels(layer: Record, maps: Maps, sums: NDArray[np.int64], form: Form) -> None:
    """Sums of channels, 16 at once; `sums` has room for whole vectors.

    Pixels that fit the nearest cache are summed for all channels before the next are fetched.
    """
    channels, pixels = layer["channels"], layer["height"] * layer["width"]
    most = min(layer["pool_pixels"], max(_NEAR_VALUES // channels, 1))
    sums[: channels + VECTOR] = 0
    for first in range(0, pixels, most):
        for c in range(0, channels, VECTOR):
            source = maps.ctypes.data + maps.itemsize * (layer["source"] + first * channels + c)
            out = sums.ctypes.data + 8 * c
            sum_channels(form, maps, source, channels, min(most, pixels - first), out)


@jit
def _sum_rows(layer: Record, maps: Maps, sums: NDArray[np.int64]) -> None:
    """Sums of channels. `sums` first holds a whole row's, so that the inner loop is long."""
    channels = layer["channels"]
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


@jit
def _multiply(
    stage: Record, program: Program, values: NDArray[np.int64], out: NDArray[np.int64]
) -> None:
    """A stage's weights times its inputs."""
    inputs, weights = stage["inputs"], program.adapters
    for j in range(stage["outputs"]):
        row, total = stage["weight_at"] + j * inputs, np.int64(0)
        for i in range(inputs):
            total += weights[row + i] * values[i]
        out[j] = total


@jit
def _split(values: NDArray[np.int64], halves: NDArray[np.int32]) -> bool:
    """Split values into fifteen bits and the rest; False where they do not fit 31 bits."""
    count = values.shape[0]
    if count > 4096:
        return False
    fits = True
    halves[:, count : count + VECTOR] = 0
    for i in range(count):
        fits &= -(1 << 30) <= values[i] < 1 << 30
        halves[0, i] = values[i] & 32767
        halves[1, i] = values[i] >> 15
    return fits


@jit
def _multiply_halves(
    stage: Record,
    program: Program,
    halves: NDArray[np.int32],
    out: NDArray[np.int64],
    form: Form,
) -> None:
    """The same for inputs that were split; a row's last vector may read into the next row."""
    inputs = stage["inputs"]
    weights = program.adapters.ctypes.data + stage["weight_at"]
    low, high = halves[0].ctypes.data, halves[1].ctypes.data
    for j in range(stage["outputs"]):
        multiply_rows(form, weights + j * inputs, low, high, inputs, out.ctypes.data + 8 * j)


@jit
def _scale(stage: Record, constants: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Biases and requantization of a stage."""
    shift = stage["shift"]
    half = (np.int64(1) << shift) >> 1
    for j in range(stage["outputs"]):
        total = out[j] + constants[stage["bias_at"] + j]
        scaled = (total * stage["multiplier"] + half) >> shift
        out[j] = min(max(scaled, stage["minimum"]), stage["maximum"])


@jit
def quantize_bytes(
    layer: Record,
    step: int,
    maps: Maps,
    memory: Memory,
    row: int,
    keep: bool,
    statistics: NDArray[np.int64],
    form: Form,
) -> bool:
    """`quantize` and `place_codes` at once in the lane of bytes; False where that is not exact.

    ``v = X * 2**T / D + 1/2 - Qn`` is a multiple of ``1 / (2 * D)``, and ``q - Qn`` is its floor.
    The floor of ``v + 1 / (4 * D)`` is the same, and is still the same if it is computed with an
    error below ``1 / (4 * D)``. X is clamped before, to the values with v inside 0..n, n codes; a
    step of at least ``2**T`` leaves no code without a value, so that these are Qn and Qp where X is
    clipped. In float32 the roundings of the inverse, of the offset, and of the sum then add at most
    about ``n * 2**-24`` each (X has at most 24 bits and is exact): ``16 * n * D < 2**24`` suffices.
    """
    codes, scale = layer["code_high"] - layer["code_low"] + 1, layer["step_fraction_bits"] + 1
    if layer["planes"] > 1 or 16 * codes * step >= 1 << 24 or 2 * step < np.int64(1) << scale:
        return False
    low = layer["code_low"]
    inverse = np.float32(float(1 << (scale - 1)) / step)
    offset = np.float32(0.5 - low + 0.25 / step)
    # The values whose code lies in Qn..Qp before it is clamped: 0 <= v < codes.
    ends = (np.int64(1) << (8 * maps.itemsize - 1)) - 1
    lowest = max(-((step - 2 * low * step) >> scale), -ends - 1)
    highest = min((2 * step * (codes + low) - step - 1) >> scale, ends)
    rows, row_size = layer["height"], layer["width"] * layer["channels"]
    start, size = layer["source"], rows * row_size
    if layer["padded_width"] == layer["width"]:
        rows, row_size = 1, size  # no padding at the sides: one long row
    for y in range(rows):
        at = (y + layer["padding_y"]) * layer["padded_width"] + layer["padding_x"]
        out = layer["codes"] + at * layer["channels"]
        quantize_values(
            form, maps, maps.ctypes.data + maps.itemsize * (start + y * row_size), row_size,
            memory.codes8.ctypes.data + out, inverse, offset, lowest, highest,
            statistics.ctypes.data,
        )  # fmt: skip
        if keep:
            first = layer["indices"] + y * row_size
            memory.indices[row, first : first + row_size] = memory.codes8[out : out + row_size]
    statistics[Statistic.STEP_SIZE] = step
    statistics[Statistic.TIES] += _count_ties(maps[start : start + size], step, scale)
    return True


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
    """How many X have ``X * 2**scale = (2 * k - 1) * D`` for an integer k.

    With ``odd = D / 2**scale`` that is whether ``X + odd`` is a multiple of ``d = 2 * odd``, a
    division for each value. But of the numbers modulo 2**32, the multiples of an odd m are those
    whose product with the inverse of m is at most ``(2**32 - 1) // m``; X has at most 24 bits.
    """
    odd = step >> scale
    if odd << scale != step:
        return 0  # the left side has more factors of 2 than the right one
    divisor, low_bits = 2 * odd, np.int64(1)
    while divisor & low_bits == 0:
        low_bits <<= 1
    factor = divisor // low_bits
    inverse, rest = np.int64(0), np.int64(1)
    for bit in range(32):  # rest = 1 - inverse * factor has no bits below this one
        if rest >> bit & 1:
            inverse |= np.int64(1) << bit
            rest -= factor << bit
    first = odd + divisor * ((1 << 24) // divisor + 1)  # so that no sum is negative
    most = 0xFFFFFFFF // factor
    ties = 0
    for i in range(source.shape[0]):
        value = source[i] + first
        ties += ((value * inverse) & 0xFFFFFFFF <= most) & (value & (low_bits - 1) == 0)
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
