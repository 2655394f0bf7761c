from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asq_hw.numbers.fixedpoint import (
    SQRT2_FRACTION_BITS,
    SQRT2_MULTIPLIER,
    divide_half_up,
    exp2,
    exp2_table,
    integer_range,
    quantize_multiplier,
    saturate,
    shift_right_half_up,
    signed_width,
    sqrt2_times,
    sqrt2_times_pair,
    unsigned_width,
    wrap,
)

integers = st.integers(-(2**100), 2**100)
widths = st.integers(1, 70)


def nearest_half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


@pytest.mark.parametrize(
    ("value", "shift", "expected"),
    [
        (3, 1, 2),  # 1.5
        (-3, 1, -1),  # -1.5
        (1, 1, 1),  # 0.5
        (-1, 1, 0),  # -0.5
        (5, 2, 1),  # 1.25
        (6, 2, 2),  # 1.5
        (7, 2, 2),  # 1.75
        (-6, 2, -1),  # -1.5
        (-7, 2, -2),  # -1.75
        (17, 0, 17),
        (-17, 0, -17),
        (2**62, 62, 1),
    ],
)
def test_shift_by_hand(value: int, shift: int, expected: int) -> None:
    assert shift_right_half_up(value, shift) == expected


@given(value=integers, shift=st.integers(0, 80))
def test_shift_rounds_the_fraction(value: int, shift: int) -> None:
    assert shift_right_half_up(value, shift) == nearest_half_up(Fraction(value, 2**shift))


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (3, 2, 2),
        (-3, 2, -1),
        (1, 3, 0),
        (2, 3, 1),
        (-1, 3, 0),
        (-2, 3, -1),
        (5, 10, 1),
        (-5, 10, 0),
    ],
)
def test_division_by_hand(numerator: int, denominator: int, expected: int) -> None:
    assert divide_half_up(numerator, denominator) == expected


@given(numerator=integers, denominator=st.integers(1, 2**40))
def test_division_rounds_the_fraction(numerator: int, denominator: int) -> None:
    exact = Fraction(numerator, denominator)
    assert divide_half_up(numerator, denominator) == nearest_half_up(exact)


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [(1, True, (-1, 0)), (4, True, (-8, 7)), (4, False, (0, 15)), (16, True, (-32768, 32767))],
)
def test_ranges(bits: int, signed: bool, expected: tuple[int, int]) -> None:
    assert integer_range(bits, signed=signed) == expected


@given(value=integers, bits=widths, signed=st.booleans())
def test_saturation_is_the_nearest_integer_in_range(value: int, bits: int, signed: bool) -> None:
    low, high = integer_range(bits, signed=signed)
    result = saturate(value, bits, signed=signed)
    assert low <= result <= high
    if low <= value <= high:
        assert result == value
    else:
        assert result == (low if value < low else high)


@given(value=integers, bits=widths, signed=st.booleans())
def test_wrapping_keeps_the_residue(value: int, bits: int, signed: bool) -> None:
    low, high = integer_range(bits, signed=signed)
    result = wrap(value, bits, signed=signed)
    assert low <= result <= high
    assert (result - value) % 2**bits == 0


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-2, 1, 2), (-3, 1, 3), (-8, 7, 4), (-8, 8, 5), (-9, 7, 5)],
)
def test_signed_widths_by_hand(low: int, high: int, bits: int) -> None:
    assert signed_width(low, high) == bits


@given(ends=st.tuples(integers, integers))
def test_a_signed_width_is_the_smallest_that_holds_both_ends(ends: tuple[int, int]) -> None:
    low, high = min(ends), max(ends)
    bits = signed_width(low, high)
    assert integer_range(bits)[0] <= low and high <= integer_range(bits)[1]
    if bits > 1:
        narrower = integer_range(bits - 1)
        assert low < narrower[0] or high > narrower[1]


@pytest.mark.parametrize(("high", "bits"), [(0, 1), (1, 1), (2, 2), (255, 8), (256, 9)])
def test_unsigned_widths(high: int, bits: int) -> None:
    assert unsigned_width(high) == bits


@pytest.mark.parametrize(
    ("value", "fraction_bits", "expected"),
    [
        (0, 0, 0),
        (1, 0, 1),  # 1.414
        (2, 0, 3),  # 2.828
        (3, 0, 4),  # 4.243
        (-2, 0, -3),
        (5, 1, 14),  # 14.142
        (1, 15, 46341),  # 46340.95
        (-1, 15, -46341),
    ],
)
def test_sqrt2_by_hand(value: int, fraction_bits: int, expected: int) -> None:
    assert sqrt2_times(value, fraction_bits) == expected


@given(value=st.integers(-(2**200), 2**200), fraction_bits=st.integers(0, 40))
def test_sqrt2_is_nearest_at_any_size(value: int, fraction_bits: int) -> None:
    # |r - x| < 1/2 with x**2 = 2 * v**2 * 4**f, decided by squares of integers, without a root.
    result = abs(sqrt2_times(value, fraction_bits))
    four_times_square = 8 * value * value * 4**fraction_bits
    if value == 0:
        assert result == 0
    else:
        assert (2 * result - 1) ** 2 < four_times_square < (2 * result + 1) ** 2
        assert (sqrt2_times(value, fraction_bits) > 0) == (value > 0)


def test_the_constant_of_the_datapath() -> None:
    assert SQRT2_MULTIPLIER == 46341
    assert abs(SQRT2_MULTIPLIER / 2**SQRT2_FRACTION_BITS - math.sqrt(2)) < 2**-16


@pytest.mark.parametrize(
    ("even", "odd", "fraction_bits", "expected"),
    [
        (24, 20, 4, 837),  # 384 + 452.55
        (24, -20, 4, -69),  # 384 - 452.55
        (3, 1, 15, 3 * 32768 + 46341),
        (0, 16384, 0, 23171),  # 23170.5, a tie of the 15-bit constant, goes up
        (0, -16384, 0, -23170),
    ],
)
def test_pairs_by_hand(even: int, odd: int, fraction_bits: int, expected: int) -> None:
    assert sqrt2_times_pair(even, odd, fraction_bits) == expected


@given(
    even=st.integers(-(2**40), 2**40),
    odd=st.integers(-(2**20), 2**20),
    fraction_bits=st.integers(0, SQRT2_FRACTION_BITS),
)
def test_a_pair_is_rounded_once(even: int, odd: int, fraction_bits: int) -> None:
    constant = Fraction(SQRT2_MULTIPLIER, 2**SQRT2_FRACTION_BITS)
    exact = (even + odd * constant) * 2**fraction_bits
    assert sqrt2_times_pair(even, odd, fraction_bits) == nearest_half_up(exact)


@pytest.mark.parametrize(
    ("value", "bits", "maximum_shift", "expected"),
    [
        (1, 4, 62, (8, 3)),
        (0.5, 4, 62, (8, 4)),
        (Fraction(1, 3), 4, 62, (11, 5)),  # 10.67 / 32
        (Fraction(63, 64), 4, 62, (8, 3)),  # 15.75 would round to 16
        (0.001, 4, 3, (0, 3)),
        (100, 4, 62, (13, -3)),  # 12.5 * 8
    ],
)
def test_multipliers_by_hand(
    value: float | Fraction, bits: int, maximum_shift: int, expected: tuple[int, int]
) -> None:
    assert quantize_multiplier(value, bits, maximum_shift=maximum_shift) == expected


@given(
    value=st.fractions(min_value=Fraction(1, 2**30), max_value=2**30),
    bits=st.integers(2, 20),
    maximum_shift=st.integers(0, 62),
)
def test_a_multiplier_is_as_precise_as_its_bits_allow(
    value: Fraction, bits: int, maximum_shift: int
) -> None:
    multiplier, shift = quantize_multiplier(value, bits, maximum_shift=maximum_shift)
    assert 0 <= multiplier < 2**bits and shift <= maximum_shift
    assert abs(value * Fraction(2) ** shift - multiplier) <= Fraction(1, 2)
    if shift < maximum_shift:
        assert multiplier >= 2 ** (bits - 1)


@pytest.mark.parametrize("value", [0, -1.5])
def test_a_multiplier_must_be_positive(value: float) -> None:
    with pytest.raises(ValueError, match="multiplier must be positive, not"):
        quantize_multiplier(value, 16, maximum_shift=62)


def test_powers_of_two_by_decimal_numbers() -> None:
    """Ninety digits, far more than any of the 256 powers is close to a half."""
    with localcontext(prec=90):
        expected = [
            int((Decimal(2) ** (15 + Decimal(f) / 256)).to_integral_value()) for f in range(256)
        ]
    assert list(exp2_table()) == expected


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        (0, 1),
        (149, 1),  # 1.497
        (150, 2),  # 1.501
        (256, 2),
        (2000, 225),  # 224.8
        (3839, 32680),  # 65359 / 2 = 32679.5: a tie of the shift, while the power is 32679.4
        (3840, 32768),
        (4095, 65359),
    ],
)
def test_exp2_by_hand(exponent: int, expected: int) -> None:
    assert exp2(exponent) == expected
