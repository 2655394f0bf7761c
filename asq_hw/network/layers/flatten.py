"""A feature map as a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.one_source import OneSource
from asq_hw.numbers.products import Product

__all__ = ["Flatten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(OneSource):
    """(C, H, W) to (C * H * W, 1, 1), in that order."""

    kind: ClassVar[str] = "flatten"

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """One channel for each element of its source."""
        return FeatureMap(shape=(sources[0].size, 1, 1), format=sources[0].format)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: features are only moved."""
