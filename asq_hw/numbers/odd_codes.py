"""Second activation codes, of ``post-dual``: what the odd powers of POST weights are multiplied by.

An activation that is ``q`` steps is ``sqrt(2) * q`` times the step divided by the square root of
two. So its odd code is made by the rule of `q` with that step, rounded to an integer, and a sum of
products with both codes needs no square root behind it (docs/arithmetic.md, section 4).
"""

from __future__ import annotations

from asq_hw.numbers.fixedpoint import (
    SQRT2_FRACTION_BITS,
    SQRT2_MULTIPLIER,
    shift_right_half_up,
    sqrt2_times,
)
from asq_hw.numbers.grids import Grid

__all__ = ["ODD_STEP_SHIFT", "odd_code_range", "odd_step"]

ODD_STEP_SHIFT = SQRT2_FRACTION_BITS + 1
"""Bits that a step loses after the product with the square root of two: one more halves it."""


def odd_step(step: int) -> int:
    """``step / sqrt(2)`` by the contract's constant, rounded half up: the step of odd codes.

    It is at least 1.

    Examples
    --------
    >>> odd_step(1), odd_step(100), odd_step(65535)  # 0.7, 70.7 and 46340.2
    (1, 71, 46340)
    """
    return shift_right_half_up(step * SQRT2_MULTIPLIER, ODD_STEP_SHIFT)


def odd_code_range(grid: Grid) -> tuple[int, int]:
    """Smallest and largest odd code of an activation grid: ``sqrt(2)`` times its ends, rounded.

    Examples
    --------
    >>> from asq_hw.numbers.schemes import UNIFORM
    >>> odd_code_range(Grid(scheme=UNIFORM, bits=4, signed=False))
    (0, 21)
    """
    return sqrt2_times(grid.minimum, 0), sqrt2_times(grid.maximum, 0)
