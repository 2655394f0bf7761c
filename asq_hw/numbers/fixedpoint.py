"""Fixed-point arithmetic: one rule for each rounding, saturation and width.

Everything here works on plain Python integers, exactly. docs/arithmetic.md names these rules;
the simulator and the hardware have their own implementations, held against this one.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

__all__ = [
    "EXP2_FRACTION_BITS",
    "EXP2_INTEGER_BITS",
    "SQRT2_FRACTION_BITS",
    "SQRT2_MULTIPLIER",
    "divide_half_up",
    "exp2",
    "exp2_table",
    "integer_range",
    "quantize_multiplier",
    "saturate",
    "shift_right_half_up",
    "signed_width",
    "sqrt2_times",
    "sqrt2_times_pair",
    "unsigned_width",
    "wrap",
]

SQRT2_FRACTION_BITS = 15
"""Fraction bits of the constant that the odd part of a POST dot product is multiplied by."""
EXP2_INTEGER_BITS, EXP2_FRACTION_BITS = 4, 8
"""Of the exponents that a step size can be computed from: powers of two up to 16 bits."""

_EXP2_SHIFT = (1 << EXP2_INTEGER_BITS) - 1


def shift_right_half_up(value: int, shift: int) -> int:
    """``value * 2**-shift`` rounded to the nearest integer, a tie towards plus infinity.

    Examples
    --------
    >>> shift_right_half_up(5, 1), shift_right_half_up(-5, 1)  # 2.5 and -2.5
    (3, -2)
    """
    return (value + (1 << shift >> 1)) >> shift


def divide_half_up(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` (denominator > 0), rounded as in `shift_right_half_up`."""
    return (2 * numerator + denominator) // (2 * denominator)


def integer_range(bits: int, *, signed: bool = True) -> tuple[int, int]:
    """Smallest and largest integer of a width, two's complement where signed."""
    if signed:
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def saturate(value: int, bits: int, *, signed: bool = True) -> int:
    """The integer of the given width that is nearest to `value`.

    Examples
    --------
    >>> saturate(300, 8), saturate(-300, 8), saturate(300, 8, signed=False)
    (127, -128, 255)
    """
    low, high = integer_range(bits, signed=signed)
    return min(max(value, low), high)


def wrap(value: int, bits: int, *, signed: bool = True) -> int:
    """The low `bits` bits of `value`, read as two's complement where signed."""
    low = value & ((1 << bits) - 1)
    return low - (1 << bits) if signed and low >> (bits - 1) else low


def signed_width(low: int, high: int) -> int:
    """Bits that a two's complement register needs to hold every integer in ``low .. high``."""
    return 1 + max(_magnitude_width(low), _magnitude_width(high))


def unsigned_width(high: int) -> int:
    """Bits that an unsigned register needs to hold every integer in ``0 .. high``."""
    return max(1, high.bit_length())


def _magnitude_width(value: int) -> int:
    return (value if value >= 0 else ~value).bit_length()


def sqrt2_times(value: int, fraction_bits: int) -> int:
    """``value * sqrt(2) * 2**fraction_bits`` rounded to nearest; exact, whatever the size.

    No tie exists for a non-zero value, since the square root of two is irrational. This is
    the rule that the entries of the paper's table (Eq. 18) are made by.

    Examples
    --------
    >>> sqrt2_times(10, 0), sqrt2_times(1, 15)  # 14.14..., and the multiplier of the contract
    (14, 46341)
    """
    # floor(x + 1/2) with x = sqrt(y), y = 2 * value**2 * 4**f, is floor((sqrt(4 * y) + 1) / 2).
    doubled = math.isqrt(8 * value * value << (2 * fraction_bits))
    magnitude = (doubled + 1) // 2
    return magnitude if value >= 0 else -magnitude


SQRT2_MULTIPLIER = sqrt2_times(1, SQRT2_FRACTION_BITS)
"""``sqrt(2)`` with `SQRT2_FRACTION_BITS` fraction bits: 46341."""


def sqrt2_times_pair(even: int, odd: int, fraction_bits: int) -> int:
    """``(even + odd * sqrt(2)) * 2**fraction_bits`` with one rounding, as the datapath does it.

    The odd part is multiplied by the constant `SQRT2_MULTIPLIER` and shifted right, half up;
    `fraction_bits` is 0 to `SQRT2_FRACTION_BITS`.
    """
    drop = SQRT2_FRACTION_BITS - fraction_bits
    return (even << fraction_bits) + shift_right_half_up(odd * SQRT2_MULTIPLIER, drop)


@cache
def exp2_table() -> tuple[int, ...]:
    """``2**(15 + f / 256)`` for every fraction f of an exponent, rounded to nearest.

    No tie exists: all but the first are irrational.
    """
    entries = []
    for fraction in range(1 << EXP2_FRACTION_BITS):
        # The floor of twice the value, by one square root for each bit of the fraction.
        doubled = 1 << (((_EXP2_SHIFT + 1) << EXP2_FRACTION_BITS) + fraction)
        for _ in range(EXP2_FRACTION_BITS):
            doubled = math.isqrt(doubled)
        entries.append((doubled + 1) // 2)
    return tuple(entries)


def exp2(exponent: int) -> int:
    """``2**(exponent / 256)`` as an integer, for an exponent of 0 to 4095.

    An entry of `exp2_table`, shifted right, half up. It is less than 3/4 away from the power, and
    from ``exponent = 15 * 256`` on, where nothing is shifted out, less than 1/2.
    """
    entry = exp2_table()[exponent & ((1 << EXP2_FRACTION_BITS) - 1)]
    return shift_right_half_up(entry, _EXP2_SHIFT - (exponent >> EXP2_FRACTION_BITS))


def quantize_multiplier(
    value: float | Fraction, bits: int, *, maximum_shift: int
) -> tuple[int, int]:
    """A positive real as ``multiplier * 2**-shift`` with the most significant bits that fit.

    Returns
    -------
    multiplier : int
        0 to ``2**bits - 1``; has exactly `bits` bits unless `maximum_shift` stops it.
    shift : int
        At most `maximum_shift`; negative for values above the multiplier's range.
    """
    exact = Fraction(value)
    if exact <= 0:
        raise ValueError(f"multiplier must be positive, not {float(exact)}")
    # 2**(exponent - 1) <= exact < 2**(exponent + 1), so one step of correction suffices.
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    shift = min(bits - exponent, maximum_shift)
    while True:
        scaled = exact * (Fraction(2) ** shift)
        multiplier = divide_half_up(scaled.numerator, scaled.denominator)
        if multiplier < 1 << bits:
            return multiplier, shift
        shift -= 1
