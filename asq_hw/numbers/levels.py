"""Levels: codes and the exact values that they stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Level"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One code and its exact value, ``(even + odd * sqrt(2)) * 2**-shift``."""

    code: int
    even: int
    odd: int
    shift: int

    @property
    def value(self) -> float:
        """The value, rounded to double precision."""
        return math.ldexp(self.even, -self.shift) + math.ldexp(self.odd, -self.shift) * math.sqrt(2)
