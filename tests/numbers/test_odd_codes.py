"""Second activation codes: their step and their range."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.odd_codes import odd_code_range, odd_step
from asq_hw.numbers.schemes import UNIFORM


@pytest.mark.parametrize(
    ("step", "expected"),
    [(1, 1), (2, 1), (3, 2), (5, 4), (10, 7), (100, 71), (65535, 46340)],  # 0.71, 1.41, 2.12, ...
)
def test_odd_steps_by_hand(step: int, expected: int) -> None:
    assert odd_step(step) == expected


@given(st.integers(1, 65535))
def test_an_odd_step_is_near_the_real_one(step: int) -> None:
    """Half a unit off at most, and what 46341 is above the square root of two times 2**15."""
    with localcontext(prec=40):
        assert abs(odd_step(step) - step / Decimal(2).sqrt()) < Decimal("0.5") + step / Decimal(
            10**6
        )


def test_an_odd_step_lies_between_half_the_step_and_the_step() -> None:
    """What bounds the difference of the two codes."""
    assert all(step <= 2 * odd_step(step) <= 2 * step for step in range(1, 65536))


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [
        (4, False, (0, 21)),  # 21.2
        (4, True, (-11, 10)),  # -11.3, 9.9
        (2, False, (0, 4)),  # 4.2
        (2, True, (-3, 1)),  # -2.8, 1.4
        (8, False, (0, 361)),  # 360.6
        (8, True, (-181, 180)),  # -181.02, 179.6
    ],
)
def test_ranges_by_hand(bits: int, signed: bool, expected: tuple[int, int]) -> None:
    assert odd_code_range(Grid(scheme=UNIFORM, bits=bits, signed=signed)) == expected
