"""Rounding and limits, as docs/arithmetic.md defines them, without a register: latency 0."""

from __future__ import annotations

from amaranth.hdl import Mux, Value

from asq_hw.numbers.fixedpoint import integer_range

__all__ = ["clamp", "round_half_up", "saturate"]


def round_half_up(value: Value, shift: int) -> Value:
    """``floor(value / 2**shift + 1/2)`` of a signed or unsigned value: ties go up.

    The result is as wide as it has to be; nothing overflows.

    Parameters
    ----------
    value : Value
        What is rounded.
    shift : int
        At least 0; with 0 the value itself.
    """
    return (value + (1 << shift >> 1)) >> shift


def clamp(value: Value, *, low: int | None = None, high: int | None = None) -> Value:
    """`value`, but `low` where it is less and `high` where it is more; a bound may be absent."""
    limited = value if low is None else Mux(value < low, low, value)
    return limited if high is None else Mux(value > high, high, limited)


def saturate(value: Value, bits: int) -> Value:
    """The signed integer of `bits` bits that is nearest to `value`."""
    low, high = integer_range(bits)
    return clamp(value, low=low, high=high)
