"""The activation quantizer (docs/arithmetic.md, section 4), one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.numbers.fixedpoint import SQRT2_MULTIPLIER
from asq_hw.numbers.odd_codes import ODD_STEP_SHIFT
from asq_hw.sim.instruction_sets import Form
from asq_hw.sim.kernels.llvm import address
from asq_hw.sim.kernels.quantize_vector import OddValues, Values, quantize_both, quantize_values
from asq_hw.sim.program import CODE_VALUES, Memory, Sample, Statistic
from asq_hw.sim.records import NOWHERE, ConvolutionRecord

__all__ = ["place_codes", "quantize", "quantize_bytes"]

Maps = NDArray[np.signedinteger]
Indices = NDArray[np.uint8]


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
    quantizer, region, odd = layer.quantizer, layer.codes, layer.quantizer.odd
    codes, scale = quantizer.code_high - quantizer.code_low + 1, quantizer.step_fraction_bits + 1
    both, odd_size = odd.indices_at != NOWHERE, _odd_step(step)
    if (region.planes > 1 and not both) or not _is_exact(step, codes, scale):
        return False
    if both and not _is_exact(odd_size, odd.code_high - odd.code_low + 1, scale):
        return False
    rows, row_size = layer.height, layer.width * layer.channels
    start, size = layer.source, rows * row_size
    if region.width == layer.width:
        rows, row_size = 1, size  # no padding at the sides: one long row
    largest = (1 << (8 * maps.itemsize - 1)) - 1
    inverse, offset, lowest, highest = _real_rule(step, quantizer.code_low, codes, scale, largest)
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
        if both:
            quantize_both(form, maps, values, _odd_values(layer, odd_size, out, memory, largest))
        else:
            quantize_values(form, maps, values)
        if sample.keep:
            _keep_row(memory, sample.row, region.indices_at + y * row_size, out, row_size)
            if both:
                first = odd.indices_at + y * row_size
                _keep_row(memory, sample.row, first, out + region.plane, row_size)
    sample.statistics[Statistic.STEP_SIZE] = step
    sample.statistics[Statistic.TIES] += _count_ties(maps[start : start + size], step, scale)
    return True


@jit
def _odd_step(step: int) -> int:
    """The step of odd codes."""
    half = np.int64(1) << (ODD_STEP_SHIFT - 1)
    return (step * np.int64(SQRT2_MULTIPLIER) + half) >> ODD_STEP_SHIFT  # type: ignore[return-value]


@jit
def _is_exact(step: int, codes: int, scale: int) -> bool:
    """Whether float32 gives the codes of a step."""
    return bool(16 * codes * step < 1 << 24 and 2 * step >= np.int64(1) << scale)


@jit
def _real_rule(
    step: int, low: int, codes: int, scale: int, largest: int
) -> tuple[np.float32, np.float32, int, int]:
    """Factor and offset of codes from `low` on, and the values that are not clipped."""
    inverse = np.float32(float(1 << (scale - 1)) / step)
    offset = np.float32(0.5 - low + 0.25 / step)
    # The values whose code lies in Qn..Qp before it is clamped: 0 <= v < codes.
    lowest = max(-((step - 2 * low * step) >> scale), -largest - 1)
    highest = min((2 * step * (codes + low) - step - 1) >> scale, largest)
    return inverse, offset, lowest, highest


@jit
def _odd_values(
    layer: ConvolutionRecord, step: int, out: int, memory: Memory, largest: int
) -> OddValues:
    """What `quantize_both` needs for the odd codes beside those that go to place `out`."""
    quantizer, odd = layer.quantizer, layer.quantizer.odd
    codes, scale = odd.code_high - odd.code_low + 1, quantizer.step_fraction_bits + 1
    inverse, offset, lowest, highest = _real_rule(step, odd.code_low, codes, scale, largest)
    return OddValues(
        out=address(memory.codes8, out + layer.codes.plane),
        inverse=inverse,
        offset=offset,
        lowest=lowest,
        highest=highest,
        added=odd.code_low - quantizer.code_low - odd.least,
    )


@jit
def _keep_row(memory: Memory, row: int, first: int, out: int, size: int) -> None:
    memory.indices[row, first : first + size] = memory.codes8[out : out + size]


@jit
def quantize(
    layer: ConvolutionRecord,
    step: int,
    maps: Maps,
    indices: Indices,
    statistics: NDArray[np.int64],
) -> None:
    """Write ``q - Qn`` of every value and count what is clipped and what ties.

    Behind them come the differences of odd codes, where there are such codes.

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
    low = quantizer.code_low
    offset, most, inverse, bits = _exact_rule(step, low, quantizer.code_high)
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
    odd = quantizer.odd
    if odd.indices_at != NOWHERE:
        differences = indices[odd.indices_at : odd.indices_at + size]
        offset, most, inverse, bits = _exact_rule(_odd_step(step), odd.code_low, odd.code_high)
        added = odd.code_low - low - odd.least
        for i in range(size):
            exact = (np.int64(source[i]) << scale) + offset
            numerator = min(max(exact, np.int64(0)), most)
            differences[i] = ((numerator * inverse) >> bits) + added - out[i]


@jit
def _exact_rule(step: int, low: int, high: int) -> tuple[int, np.int64, np.int64, np.int64]:
    """Offset and largest of numerators, and the product and shift that divide them.

    ``q - Qn = floor(n / d)`` with ``n = 2 * X * 2**T + D - 2 * Qn * D`` and ``d = 2 * D``, for an n
    clamped to what stays within Qn..Qp. Then n < 2**9 * d, and the quotient is a product with
    ``inverse = floor(2**k / d) + 1``, shifted right by ``k = 9 + 2 * bits(d)``: exact, since
    ``n * (inverse * d - 2**k) <= n * d < 2**k``.
    """
    divisor = 2 * step
    most = np.int64(divisor * (high - low + 1) - 1)
    offset = step - divisor * low
    bits = np.int64(9)
    while divisor >> ((bits - 9) >> 1) > 0:
        bits += 2
    inverse = (np.int64(1) << bits) // divisor + 1
    return offset, most, inverse, bits


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
    indices: Indices,
    codes: NDArray[Any],
) -> None:
    """Move codes into the planes of the padded map.

    The first plane holds ``q`` or ``q - Qn``. Another is that of the odd codes' differences, or a
    function of the code in a table.

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    constants : int64 array
        The program's.
    indices : uint8 array
        ``q - Qn`` and the differences, as `quantize` leaves them.
    codes : array
        Memory of codes, in the layer's compute type.
    """
    region, odd = layer.codes, layer.quantizer.odd
    row_size = layer.width * layer.channels
    for p in range(region.planes):
        indices_at, plane = region.indices_at, region.start + p * region.plane
        table = constants[region.tables_at + CODE_VALUES * p :][:CODE_VALUES]
        offset = table[0]
        is_odd = p > 0 and odd.indices_at != NOWHERE
        if is_odd:
            indices_at = odd.indices_at
        for y in range(layer.height):
            at = (y + region.padding_y) * region.width + region.padding_x
            start = indices_at + y * row_size
            out = codes[plane + at * layer.channels :][:row_size]
            values = indices[start : start + row_size]
            if p == 0 or is_odd:
                for i in range(row_size):
                    out[i] = values[i] + offset
            else:
                for i in range(row_size):
                    out[i] = table[values[i]]
