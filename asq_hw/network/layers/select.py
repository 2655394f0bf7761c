"""Some channels, rows and columns of a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.kind import Form, Stored
from asq_hw.network.layers.one_source import OneSource
from asq_hw.network.layers.windows import MAX_STRIDE
from asq_hw.numbers.products import Product
from asq_hw.numbers.validation import IntArray, check_integers, check_pair

__all__ = ["MAX_EXTENT", "Select"]

MAX_EXTENT = 65536
"""Largest height and width that can be named."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Select(OneSource):
    """Listed channels in the order of the list, and every n-th row and column of a rectangle.

    So channels are split and shuffled, and maps are cropped and thinned out.

    Parameters
    ----------
    channels : array of shape (C,)
        The source's channel that each channel is; one can stand there several times.
    first : (int, int)
        The rectangle's first row and column.
    stride : (int, int)
        From one row to the next, and from one column to the next.
    size : (int, int)
        Height and width of the output.
    """

    kind: ClassVar[str] = "select"
    since: ClassVar[int] = 5

    channels: Annotated[IntArray, Stored("channels", Form.VECTOR32)]
    first: Annotated[tuple[int, int], Stored("first", Form.PAIR)]
    stride: Annotated[tuple[int, int], Stored("stride", Form.PAIR)]
    size: Annotated[tuple[int, int], Stored("size", Form.PAIR)]

    def __post_init__(self) -> None:
        OneSource.__post_init__(self)
        channels = check_integers(f"{self.name}: channels", self.channels, 31, 1, signed=False)
        object.__setattr__(self, "channels", channels)
        limits = {"first": (0, MAX_EXTENT - 1), "stride": (1, MAX_STRIDE), "size": (1, MAX_EXTENT)}
        for field, (low, high) in limits.items():
            pair = check_pair(f"{self.name}: {field}", getattr(self, field), low, high)
            object.__setattr__(self, field, pair)

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """What is selected, in its source's format; all of it must be there."""
        channels, *extents = sources[0].shape
        last = int(self.channels.max())
        if last >= channels:
            raise InputError(f"{self.name}: channel {last} must be one of {channels}")
        ends = [
            first + stride * (size - 1)
            for first, stride, size in zip(self.first, self.stride, self.size, strict=True)
        ]
        for axis, end, extent in zip(("row", "column"), ends, extents, strict=True):
            if end >= extent:
                raise InputError(f"{self.name}: {axis} {end} must be one of {extent}")
        shape = (len(self.channels), *self.size)
        return FeatureMap(shape=shape, format=sources[0].format)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: features are only moved."""
