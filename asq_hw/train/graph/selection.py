"""Some channels, rows and columns of a map, as PyTorch's index takes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Selection"]

Pair = tuple[int, int]
Index = tuple[slice | list[int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Listed channels, and every n-th row and column of a rectangle.

    Parameters
    ----------
    channels : tuple of int
        In their new order.
    first, stride, size : (int, int)
        The rectangle's first row and column, the distance to the next ones, how many there are.
    """

    channels: tuple[int, ...]
    first: Pair
    stride: Pair
    size: Pair

    @classmethod
    def of_positions(cls, positions: Tensor, base: Sequence[int]) -> Selection | None:
        """What moves elements as these positions say, or None if no selection does.

        Parameters
        ----------
        positions : Tensor of shape (C', H', W'), or with less dimensions
            Of each element, where it stood among all those of the source. Dimensions that are
            missing are of one element.
        base : sequence of int
            The source's shape, (C, H, W) or (C).
        """
        if len(base) not in (1, 3) or not 1 <= positions.dim() <= 3:
            return None
        found = (cls._of_map(whole, base) for whole in _as_maps(positions))
        return next((selection for selection in found if selection is not None), None)

    @classmethod
    def _of_map(cls, whole: Tensor, base: Sequence[int]) -> Selection | None:
        _, height, width = (*base, 1, 1)[:3]
        channels = whole[:, 0, 0] // (height * width)
        rows = whole[0, :, 0] // width % height
        columns = whole[0, 0] % width
        expected = (channels[:, None, None] * height + rows[:, None]) * width + columns
        rectangle = _progression(rows), _progression(columns)
        if not torch.equal(expected, whole) or rectangle[0] is None or rectangle[1] is None:
            return None
        (row, down), (column, across) = rectangle[0], rectangle[1]
        return cls(
            channels=tuple(channels.tolist()),
            first=(row, column),
            stride=(down, across),
            size=(len(rows), len(columns)),
        )

    @classmethod
    def of_index(cls, index: object) -> Selection | None:
        """What an index takes that names all of it, as `index` does; None for others."""
        if not isinstance(index, tuple) or len(index) not in (2, 4) or index[0] != slice(None):
            return None
        channels, *rectangle = index[1:]
        if not isinstance(channels, list) or not all(type(channel) is int for channel in channels):
            return None
        ends = []
        for part in rectangle or [slice(0, 1, 1), slice(0, 1, 1)]:
            if not isinstance(part, slice):
                return None
            numbers = (part.start, part.stop, part.step)
            if not all(type(number) is int for number in numbers):
                return None
            ends.append((part.start, part.step, len(range(*numbers))))
        first, stride, size = ((ends[0][k], ends[1][k]) for k in range(3))
        return cls(channels=tuple(channels), first=first, stride=stride, size=size)

    def index(self, rank: int) -> Index:
        """What takes it from a tensor ``(N, C, H, W)`` or ``(N, C)`` of so many dimensions."""
        parts: list[slice | list[int]] = [slice(None), list(self.channels)]
        if rank == 4:
            parts += [
                slice(first, first + stride * (size - 1) + 1, stride)
                for first, stride, size in zip(self.first, self.stride, self.size, strict=True)
            ]
        return tuple(parts)

    def is_subsampling(self, base: Sequence[int]) -> bool:
        """Whether all channels are kept, and every n-th row and column from the first on."""
        counts = tuple(
            -(-extent // stride) for extent, stride in zip(base[1:], self.stride, strict=False)
        )
        return (self.channels, self.first, self.size) == (tuple(range(base[0])), (0, 0), counts)


def _as_maps(positions: Tensor) -> Iterator[Tensor]:
    """Every map of three dimensions that is the same but for dimensions of one element."""
    missing = 3 - positions.dim()
    for places in itertools.combinations(reversed(range(3)), missing):
        whole = positions
        for place in sorted(places):
            whole = whole.unsqueeze(place)
        yield whole


def _progression(values: Tensor) -> Pair | None:
    """Start and positive step of numbers at even distances, or None."""
    steps = values[1:] - values[:-1]
    step = int(steps[0]) if len(steps) else 1
    return None if step < 1 or bool((steps != step).any()) else (int(values[0]), step)
