"""A quantization grid as a table, code by code."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from asq_hw.numbers.grids import Grid

__all__ = ["LevelRow", "level_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelRow:
    """One code of a grid; ``value = (even + odd * sqrt(2)) * 2**-shift`` at alpha = 1."""

    code: int
    value: float
    even: int
    odd: int
    shift: int

    def as_dict(self) -> dict[str, int | float]:
        """Column names and values, for JSON and tables."""
        return asdict(self)


def level_rows(grid: Grid) -> list[LevelRow]:
    """Every valid code of a grid in order of the code."""
    return [
        LevelRow(code=lv.code, value=lv.value, even=lv.even, odd=lv.odd, shift=lv.shift)
        for lv in grid.levels
    ]
