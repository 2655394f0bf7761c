"""Max pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.kind import Form, Stored
from asq_hw.network.layers.one_source import OneSource
from asq_hw.network.layers.windows import check_pool_window, output_size
from asq_hw.numbers.products import Product

__all__ = ["MaxPool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(OneSource):
    """The largest value of each window; padding never wins."""

    kind: ClassVar[str] = "max_pool"

    kernel_size: Annotated[tuple[int, int], Stored("kernel_size", Form.PAIR)]
    stride: Annotated[tuple[int, int], Stored("stride", Form.PAIR)]
    padding: Annotated[tuple[int, int], Stored("padding", Form.PAIR)] = (0, 0)

    def __post_init__(self) -> None:
        OneSource.__post_init__(self)
        check_pool_window(self)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what a window spans."""
        return self.kernel_size

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """One feature for each window."""
        shape = (sources[0].shape[0], *output_size(self, sources[0].shape))
        return FeatureMap(shape=shape, format=sources[0].format)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: features are only compared."""
