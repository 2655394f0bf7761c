"""An even and an odd sum joined to one integer: the one place where there is a root of two."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed

from asq_hw.numbers.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER
from asq_hw.numbers.products import SPLIT_FRACTION_BITS
from rtl.lib.delay import delay, register

__all__ = ["JOIN_CYC", "join"]

JOIN_CYC = 4

_FIVES = (13, 10, 0)
_ONES = 8
assert 5 * sum(1 << place for place in _FIVES) + (1 << _ONES) == SQRT2_MULTIPLIER


def join(m: Module, even: Value, odd: Value, width: int) -> Value:
    """``2**4 * E + rshift(O * R2, 11)``, with four adders for the product.

    Latency is `JOIN_CYC`, throughput a pair each cycle.

    Parameters
    ----------
    m : Module
        Where the circuit is.
    even, odd : Value
        Signed sums E and O.
    width : int
        Bits of the result, signed.
    """
    drop = SQRT2_FRACTION_BITS - SPLIT_FRACTION_BITS
    lower = _FIVES[1]
    five = register(m, odd + (odd << 2), "odd_times5")
    once = delay(m, odd, 1, "odd_late")
    # What the rounding adds is the carry of the adder at its place.
    assert drop - 1 == lower
    upper = (_with_a_one(five) + _with_a_one(five << (_FIVES[0] - lower))) >> 1
    rest = register(m, five + (once << _ONES), "root_lower")
    root = Signal(signed(len(odd) + SQRT2_MULTIPLIER.bit_length() + 1), name="root")
    m.d.sync += root.eq((register(m, upper, "root_upper") << lower) + rest)
    total = (delay(m, even, JOIN_CYC - 1, "even_late") << SPLIT_FRACTION_BITS) + (root >> drop)
    joined = Signal(signed(width), name="joined")
    m.d.sync += joined.eq(total)
    return joined


def _with_a_one(value: Value) -> Value:
    return Cat(Const(1, 1), value).as_signed()
