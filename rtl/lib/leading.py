"""The leading one of a value, without a register: latency 0."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Value

__all__ = ["leading_one", "leading_place", "none_above"]


def none_above(value: Value, place: int) -> Value:
    """Whether every bit above `place` is 0."""
    return ~value[place + 1 :].any() if place + 1 < len(value) else Const(1, 1)


def leading_one(value: Value) -> Value:
    """The largest power of two in `value`, as wide as it: one bit is 1, or none where it is 0."""
    return Cat(bit & none_above(value, place) for place, bit in enumerate(value))


def leading_place(value: Value) -> Value:
    """The place of the leading one, from 0; 0 where there is none."""
    ones = leading_one(value)
    bits = (len(value) - 1).bit_length()
    return Cat(
        Cat(one for place, one in enumerate(ones) if place >> bit & 1).any() for bit in range(bits)
    )
