"""The product of two feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import InputError, check_range
from asq_hw.network.feature_map import FeatureFormat, FeatureMap
from asq_hw.network.layers.kind import Form, LayerKind, Stored
from asq_hw.network.names import check_name
from asq_hw.numbers.products import Product
from asq_hw.numbers.widths import MAX_SHIFT

__all__ = ["Multiply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiply(LayerKind):
    """``saturate(round(A * B * 2**-shift))`` of two feature maps, each with a format of its own.

    Each of the second map's channels, rows and columns is as many as the first's, or one that
    meets all of the first's: a gate for each channel is ``(C, 1, 1)``.
    """

    kind: ClassVar[str] = "multiply"
    since: ClassVar[int] = 5

    name: str
    sources: Annotated[tuple[str, str], Stored("sources", Form.SOURCES)]
    shift: Annotated[int, Stored("shift", Form.INTEGER)]
    output: Annotated[FeatureFormat, Stored("output", Form.FORMAT)]

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "sources", tuple(self.sources))
        if len(self.sources) != 2:
            raise InputError(
                f"{self.name}: a multiplication must have two sources, not {len(self.sources)}"
            )
        for source in self.sources:
            check_name(source)
        check_range(f"{self.name}: shift", self.shift, 0, MAX_SHIFT)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Both maps."""
        return self.sources

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """The first map's shape, in the layer's own format."""
        first, second = (source.shape for source in sources)
        if any(mine not in (1, size) for size, mine in zip(first, second, strict=True)):
            raise InputError(
                f"{self.name}: each size of the second source must be that of the first or 1, "
                f"not {second} beside {first}"
            )
        return FeatureMap(shape=first, format=self.output)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: two features of at most 24 bits, and half of 2**62."""
