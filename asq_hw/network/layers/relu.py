"""Rectified linear units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import check_range
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.kind import Form, Stored
from asq_hw.network.layers.one_source import OneSource
from asq_hw.numbers.products import Product
from asq_hw.numbers.widths import MAX_FEATURE_BITS

__all__ = ["Relu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relu(OneSource):
    """``max(X, 0)``, and for ReLU6 ``min`` of that and `maximum`, in units of X."""

    kind: ClassVar[str] = "relu"

    maximum: Annotated[int | None, Stored("maximum", Form.OPTIONAL_INTEGER)] = None

    def __post_init__(self) -> None:
        # Zero-argument super() does not see through the class that slots=True makes anew.
        OneSource.__post_init__(self)
        if self.maximum is not None:
            check_range(f"{self.name}: maximum", self.maximum, 1, (1 << MAX_FEATURE_BITS) - 1)

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """That of its source."""
        return sources[0]

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: features are only compared."""
