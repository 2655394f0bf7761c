"""A grid's levels as tensors, and the search for the nearest one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from asq_hw.numbers.grids import Grid

__all__ = ["LevelTable", "level_table", "table_of"]

_FINEST_CELLS = 10
"""Binary digits, behind the point, of the narrowest cells that are tried."""


@dataclass(frozen=True, slots=True, eq=False)
class LevelTable:
    """Ascending levels and the midpoints between them, ready for looking up the nearest.

    A binary search costs a mispredicted branch or two for each weight. So the axis is cut into
    cells of one width, a power of two, that hold at most one midpoint each: a number's cell is
    one multiplication away and leaves a single comparison. Both give the same index, always.

    Parameters
    ----------
    values, midpoints : float tensors of shape (L,) and (L - 1,)
        The levels, and what lies halfway between neighbors.
    outermost : tuple of float
        The lowest and the highest level.
    digits : int or None
        A cell is ``2**-digits`` wide; None where midpoints lie too close for cells.
    first : int
        Number of the first cell, counted from zero.
    lower, threshold : int32 and float tensors of shape (cells,)
        Index of the level that a cell begins with, and the midpoint inside it, or infinity.
    """

    values: Tensor
    midpoints: Tensor
    outermost: tuple[float, float]
    digits: int | None
    first: int
    lower: Tensor
    threshold: Tensor

    def nearest(self, ratio: Tensor) -> Tensor:
        """The index of the nearest level, int32 or int64; a tie goes to the lower one."""
        if self.digits is None:
            return torch.bucketize(ratio.contiguous(), self.midpoints)
        flat = ratio.reshape(-1)
        last = self.first + len(self.lower) - 1
        cell = (flat * 2.0**self.digits).floor_().clamp_(self.first, last).sub_(self.first)
        # What is not a number has to stand somewhere; the loss will tell.
        cell = cell.to(torch.int32).clamp_(min=0)
        above = flat > self.threshold.index_select(0, cell)
        return self.lower.index_select(0, cell).add_(above).view(ratio.shape)

    def round(self, ratio: Tensor) -> Tensor:
        """The value of the nearest level, in the shape of `ratio` and laid out like it."""
        # Looking up is done on one row of numbers; in memory's order that is no copy.
        order = sorted(range(ratio.dim()), key=ratio.stride, reverse=True)
        dense = ratio.permute(order)
        rounded = self.values.index_select(0, self.nearest(dense).view(-1)).view(dense.shape)
        return rounded.permute(sorted(range(ratio.dim()), key=order.__getitem__))


def level_table(grid: Grid, like: Tensor) -> LevelTable:
    """The table of a grid's values (alpha = 1), of the type and on the device of `like`."""
    return _table(grid, like.dtype, like.device)


def table_of(values: Tensor) -> LevelTable:
    """Make the table of ascending values."""
    midpoints = (values[1:].double() + values[:-1].double()).div(2).to(values.dtype)
    outermost = float(values[0]), float(values[-1])
    digits = _cell_digits(midpoints)
    if digits is None:
        return LevelTable(values, midpoints, outermost, None, 0, midpoints, midpoints)
    cells = (midpoints * 2.0**digits).floor().long()
    # One cell more on either side stands for everything beyond.
    first, count = int(cells[0]) - 1, int(cells[-1] - cells[0]) + 3
    threshold = torch.full((count,), torch.inf, dtype=values.dtype, device=values.device)
    threshold[cells - first] = midpoints
    numbers = torch.arange(first, first + count, device=values.device)
    lower = torch.searchsorted(cells, numbers).to(torch.int32)
    return LevelTable(values, midpoints, outermost, digits, first, lower, threshold)


def _cell_digits(midpoints: Tensor) -> int | None:
    for digits in range(_FINEST_CELLS + 1):
        cells = (midpoints * 2.0**digits).floor()
        if bool((cells[1:] > cells[:-1]).all()):
            return digits
    return None


@lru_cache(maxsize=64)
def _table(grid: Grid, dtype: torch.dtype, device: torch.device) -> LevelTable:
    with torch.inference_mode(False):
        values = torch.tensor([level.value for level in grid.ordered_levels], dtype=torch.float64)
        return table_of(values.to(device=device, dtype=dtype))
