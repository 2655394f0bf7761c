"""Feature maps behind one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers.kind import Form, LayerKind, Stored
from asq_hw.network.names import check_name
from asq_hw.numbers.products import Product

__all__ = ["MAX_SOURCES", "Concat"]

MAX_SOURCES = 256
"""Of one concatenation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(LayerKind):
    """The channels of the first source, then those of the second, and so on."""

    kind: ClassVar[str] = "concat"
    since: ClassVar[int] = 4

    name: str
    sources: Annotated[tuple[str, ...], Stored("sources", Form.SOURCES)]

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "sources", tuple(self.sources))
        if not 2 <= len(self.sources) <= MAX_SOURCES:
            raise InputError(
                f"{self.name}: a concatenation must have 2 to {MAX_SOURCES} sources, "
                f"not {len(self.sources)}"
            )
        for source in self.sources:
            check_name(source)

    @property
    def source_names(self) -> tuple[str, ...]:
        """All maps, in order."""
        return self.sources

    def output_map(self, sources: Sequence[FeatureMap]) -> FeatureMap:
        """As many channels as all sources have; their height, width and format must be one."""
        first, *others = sources
        for name, other in zip(self.sources[1:], others, strict=True):
            if (other.shape[1:], other.format) != (first.shape[1:], first.format):
                raise InputError(
                    f"{self.name}: all sources must have one height, width and format, not "
                    f"{first.shape} {first.format} and, of {name}, {other.shape} {other.format}"
                )
        channels = sum(source.shape[0] for source in sources)
        return FeatureMap(shape=(channels, *first.shape[1:]), format=first.format)

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Nothing can overflow: features are only moved."""
