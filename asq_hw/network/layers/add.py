"""The sum of two feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.kind import Form, LayerKind, Stored
from asq_hw.network.names import check_name
from asq_hw.numbers.products import Product

__all__ = ["Add"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(LayerKind):
    """The saturated sum of two feature maps of one shape and format."""

    kind: ClassVar[str] = "add"

    name: str
    sources: Annotated[tuple[str, str], Stored("sources", Form.SOURCES)]

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "sources", tuple(self.sources))
        if len(self.sources) != 2:
            raise InputError(
                f"{self.name}: an addition must have two sources, not {len(self.sources)}"
            )
        for source in self.sources:
            check_name(source)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Both maps."""
        return self.sources

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """The shape and format that both sources have."""
        first, second = sources
        if first != second:
            raise InputError(
                f"{self.name}: the two sources must have one shape and format, not "
                f"{first.shape} {first.format} and {second.shape} {second.format}"
            )
        return first

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: two features of at most 24 bits are added."""
