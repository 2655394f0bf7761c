"""Average pooling over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import check_range
from asq_hw.network.bounds import check_fits
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.kind import Form, Stored
from asq_hw.network.layers.one_source import OneSource
from asq_hw.network.layers.windows import check_pool_window, output_size
from asq_hw.numbers.products import Product
from asq_hw.numbers.widths import MAX_SHIFT, MULTIPLIER_BITS

__all__ = ["AveragePool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool(OneSource):
    """``saturate(round(sum * multiplier * 2**-shift))`` of each window, padding counted as 0."""

    kind: ClassVar[str] = "average_pool"

    kernel_size: Annotated[tuple[int, int], Stored("kernel_size", Form.PAIR)]
    stride: Annotated[tuple[int, int], Stored("stride", Form.PAIR)]
    padding: Annotated[tuple[int, int], Stored("padding", Form.PAIR)] = (0, 0)
    multiplier: Annotated[int, Stored("multiplier", Form.INTEGER)]
    shift: Annotated[int, Stored("shift", Form.INTEGER)]

    def __post_init__(self) -> None:
        OneSource.__post_init__(self)
        check_pool_window(self)
        check_range(f"{self.name}: multiplier", self.multiplier, 1, (1 << MULTIPLIER_BITS) - 1)
        check_range(f"{self.name}: shift", self.shift, 0, MAX_SHIFT)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what a window spans."""
        return self.kernel_size

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """One feature for each window."""
        shape = (sources[0].shape[0], *output_size(self, sources[0].shape))
        return FeatureMap(shape=shape, format=sources[0].format)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Bound the scaled sum of a window."""
        window = self.kernel_size[0] * self.kernel_size[1]
        check_fits(self.name, "pooled sum", (window << sources[0].format.bits) * self.multiplier)
