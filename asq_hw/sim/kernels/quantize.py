"""The activation quantizer (docs/arithmetic.md, section 4), one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.instruction_sets import Form
from asq_hw.sim.kernels.llvm import address
from asq_hw.sim.kernels.quantize_vector import Values, quantize_values
from asq_hw.sim.program import CODE_VALUES, Memory, Sample, Statistic
from asq_hw.sim.records import ConvolutionRecord

__all__ = ["place_codes", "quantize", "quantize_bytes"]

Maps = NDArray[np.signedinteger]


@jit
def quantize_bytes(
    layer: ConvolutionRecord, step: int, maps: Maps, memory: Memory, sample: Sample, form: Form
) -> bool:
    """`quantize` and `place_codes` at once, for bytes; False where that is not exact.

    ``v = X * 2**T / D + 1/2 - Qn`` is a multiple of ``1 / (2 * D)``, and ``q - Qn`` is its floor.
    The floor of ``v + 1 / (4 * D)`` is the same, and is still the same if it is computed with an
    error below ``1 / (4 * D)``. X is clamped before, to the values with v inside 0..n, n codes; a
    step of at least ``2**T`` leaves no code without a value, so that these are Qn and Qp where X is
    clipped. In float32 the roundings of the inverse, of the offset, and of the sum then add at most
    about ``n * 2**-24`` each (X has at most 24 bits and is exact): ``16 * n * D < 2**24`` suffices.

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    step : int
        ``D``.
    maps : array
        The sample's feature maps.
    memory : Memory
        The thread's arrays.
    sample : Sample
        Which sample of the batch, and where its results go.
    form : Portable, Avx2 or Vnni
        Which instructions the loops are compiled to; only its type matters.
    """
    quantizer, region = layer.quantizer, layer.codes
    codes, scale = quantizer.code_high - quantizer.code_low + 1, quantizer.step_fraction_bits + 1
    if region.planes > 1 or 16 * codes * step >= 1 << 24 or 2 * step < np.int64(1) << scale:
        return False
    low = quantizer.code_low
    inverse = np.float32(float(1 << (scale - 1)) / step)
    offset = np.float32(0.5 - low + 0.25 / step)
    # The values whose code lies in Qn..Qp before it is clamped: 0 <= v < codes.
    largest = (1 << (8 * maps.itemsize - 1)) - 1
    lowest = max(-((step - 2 * low * step) >> scale), -largest - 1)
    highest = min((2 * step * (codes + low) - step - 1) >> scale, largest)
    rows, row_size = layer.height, layer.width * layer.channels
    start, size = layer.source, rows * row_size
    if region.width == layer.width:
        rows, row_size = 1, size  # no padding at the sides: one long row
    for y in range(rows):
        at = (y + region.padding_y) * region.width + region.padding_x
        out = region.start + at * layer.channels
        values = Values(
            source=address(maps, start + y * row_size),
            size=row_size,
            out=address(memory.codes8, out),
            inverse=inverse,
            offset=offset,
            lowest=lowest,
            highest=highest,
            statistics=address(sample.statistics, 0),
        )
        quantize_values(form, maps, values)
        if sample.keep:
            first = region.indices_at + y * row_size
            memory.indices[sample.row, first : first + row_size] = memory.codes8[
                out : out + row_size
            ]
    sample.statistics[Statistic.STEP_SIZE] = step
    sample.statistics[Statistic.TIES] += _count_ties(maps[start : start + size], step, scale)
    return True


@jit
def quantize(
    layer: ConvolutionRecord,
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

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    step : int
        ``D``.
    maps : array
        The sample's feature maps.
    indices : uint8 array
        Where ``q - Qn`` is written.
    statistics : int64 (len(Statistic),)
        What is added to.
    """
    size, quantizer = layer.channels * layer.height * layer.width, layer.quantizer
    scale = quantizer.step_fraction_bits + 1
    divisor = 2 * step
    most = np.int64(divisor * (quantizer.code_high - quantizer.code_low + 1) - 1)
    offset = step - divisor * quantizer.code_low
    bits = np.int64(8)
    while divisor >> ((bits - 8) >> 1) > 0:
        bits += 2
    inverse = (np.int64(1) << bits) // divisor + 1
    source = maps[layer.source : layer.source + size]
    out = indices[layer.codes.indices_at : layer.codes.indices_at + size]
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
    layer: ConvolutionRecord,
    constants: NDArray[np.int64],
    indices: NDArray[np.uint8],
    codes: NDArray[Any],
) -> None:
    """Move ``q - Qn`` into the padded map.

    One plane holds ``q`` or ``q - Qn``; where there are more, each is a function of the code, in a
    table, and a pixel's planes stand side by side.

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    constants : int64 array
        The program's.
    indices : uint8 array
        ``q - Qn``, as `quantize` leaves it.
    codes : array
        Memory of codes, in the layer's compute type.
    """
    region = layer.codes
    if region.planes > 1:
        _place_planes(layer, constants, indices, codes)
        return
    offset = constants[region.tables_at]
    row_size = layer.width * layer.channels
    for y in range(layer.height):
        row = (y + region.padding_y) * region.width + region.padding_x
        at = region.start + row * layer.channels
        start = region.indices_at + y * row_size
        out, values = codes[at : at + row_size], indices[start : start + row_size]
        for i in range(row_size):
            out[i] = values[i] + offset


@jit
def _place_planes(
    layer: ConvolutionRecord,
    constants: NDArray[np.int64],
    indices: NDArray[np.uint8],
    codes: NDArray[Any],
) -> None:
    channels, region = layer.channels, layer.codes
    for y in range(layer.height):
        row = (y + region.padding_y) * region.width + region.padding_x
        for x in range(layer.width):
            start = region.indices_at + (y * layer.width + x) * channels
            values = indices[start : start + channels]
            for p in range(region.planes):
                first = region.tables_at + CODE_VALUES * p
                table = constants[first : first + CODE_VALUES]
                at = region.start + ((row + x) * region.planes + p) * channels
                out = codes[at : at + channels]
                for c in range(channels):
                    out[c] = table[values[c]]
