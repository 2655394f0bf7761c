"""Zeros around a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.kind import Form, Stored
from asq_hw.network.layers.one_source import OneSource
from asq_hw.network.layers.windows import MAX_PADDING
from asq_hw.numbers.products import Product
from asq_hw.numbers.validation import check_pair

__all__ = ["MAX_PADDED_CHANNELS", "Pad"]

MAX_PADDED_CHANNELS = 65536
"""Channels of zeros on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad(OneSource):
    """Zeros before and behind the channels, above and below the rows, beside the columns.

    A convolution pads its *codes*, alike on both sides; here the map itself grows, on each side by
    as much as is wanted.
    """

    kind: ClassVar[str] = "pad"
    since: ClassVar[int] = 4

    channels: Annotated[tuple[int, int], Stored("channels", Form.PAIR)] = (0, 0)
    rows: Annotated[tuple[int, int], Stored("rows", Form.PAIR)] = (0, 0)
    columns: Annotated[tuple[int, int], Stored("columns", Form.PAIR)] = (0, 0)

    def __post_init__(self) -> None:
        OneSource.__post_init__(self)
        limits = {"channels": MAX_PADDED_CHANNELS, "rows": MAX_PADDING, "columns": MAX_PADDING}
        for field, limit in limits.items():
            pair = check_pair(f"{self.name}: {field}", getattr(self, field), 0, limit)
            object.__setattr__(self, field, pair)
        if not any((*self.channels, *self.rows, *self.columns)):
            raise InputError(f"{self.name}: padding must add something, not nothing on every side")

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """Larger by the zeros, in its source's format."""
        channels, height, width = sources[0].shape
        shape = (
            channels + sum(self.channels),
            height + sum(self.rows),
            width + sum(self.columns),
        )
        return FeatureMap(shape=shape, format=sources[0].format)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: features are only moved."""
