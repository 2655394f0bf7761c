"""POT: powers of two (paper, Eq. 3)."""

from __future__ import annotations

from asq_hw.numbers.levels import Level
from asq_hw.numbers.schemes.exponential import ENCODINGS, exponential_levels
from asq_hw.numbers.schemes.scheme import GridShape, Scheme

__all__ = ["POT"]


def _power(n: int) -> tuple[int, int, int]:
    return 1, 0, n


def _levels(shape: GridShape) -> list[Level]:
    return exponential_levels(shape, _power)


POT = Scheme(name="pot", title="POT", color="#D55E00", make_levels=_levels, encodings=ENCODINGS)
