"""The contract's rules on integers (section 1), each computed from its definition."""

from __future__ import annotations

from functools import cache
from math import isqrt

__all__ = ["R2", "clamp", "exp2", "rdiv", "rshift", "sat", "sqrt2"]


def rshift(value: int, shift: int) -> int:
    """``floor(value / 2**shift + 1/2)``."""
    return (2 * value + (1 << shift)) >> (shift + 1)


def rdiv(numerator: int, denominator: int) -> int:
    """``floor(numerator / denominator + 1/2)`` for a positive denominator."""
    quotient, remainder = divmod(numerator, denominator)
    return quotient + 1 if 2 * remainder >= denominator else quotient


def clamp(value: int, low: int, high: int) -> int:
    """The integer of ``low .. high`` that is nearest to `value`."""
    if value < low:
        return low
    return high if value > high else value


def sat(value: int, bits: int) -> int:
    """The signed integer of `bits` bits that is nearest to `value`."""
    return clamp(value, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def sqrt2(value: int, fraction_bits: int) -> int:
    """The integer nearest to the square root of two times ``value * 2**fraction_bits``."""
    square = 2 * value * value * 4**fraction_bits
    below = isqrt(square)
    # The root lies above below + 1/2 where four times its square lies above (2 * below + 1)**2.
    nearest = below + 1 if 4 * square > (2 * below + 1) ** 2 else below
    return -nearest if value < 0 else nearest


R2 = sqrt2(1, 15)
"""The square root of two with 15 fraction bits."""


def exp2(exponent: int) -> int:
    """``2**(exponent / 256)`` for an exponent of 0 to 4095: a rounded power, shifted right."""
    whole, fraction = divmod(exponent, 256)
    return rshift(_power(fraction), 15 - whole)


@cache
def _power(fraction: int) -> int:
    """The integer nearest to ``2**15 * 2**(fraction / 256)``."""
    # The first t whose t + 1/2 lies above it: (2 * t + 1)**256 > 2**(16 * 256 + fraction).
    low, high = 2**15, 2**16
    while low < high:
        middle = (low + high) // 2
        if (2 * middle + 1) ** 256 > 2 ** (16 * 256 + fraction):
            high = middle
        else:
            low = middle + 1
    return low
