"""POST: powers of the square root of two (paper, Eq. 17)."""

from __future__ import annotations

from asq_hw.numbers.levels import Level
from asq_hw.numbers.schemes.exponential import ENCODINGS, exponential_levels
from asq_hw.numbers.schemes.scheme import GridShape, Scheme

__all__ = ["POST"]


def _power(n: int) -> tuple[int, int, int]:
    """``sqrt(2)**-n``, which is ``sqrt(2) * 2**-((n + 1) / 2)`` for odd n."""
    return (1, 0, n // 2) if n % 2 == 0 else (0, 1, (n + 1) // 2)


def _levels(shape: GridShape) -> list[Level]:
    return exponential_levels(shape, _power)


POST = Scheme(name="post", title="POST", color="#0072B2", make_levels=_levels, encodings=ENCODINGS)
