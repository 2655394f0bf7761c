"""What layers that read one feature map, and keep its format, have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from asq_hw.network.layers.kind import Form, LayerKind, Stored
from asq_hw.network.names import check_name

__all__ = ["OneSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneSource(LayerKind):
    """A layer that reads one feature map and keeps its format."""

    name: str
    source: Annotated[str, Stored("sources", Form.SOURCE)]

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.source)

    @property
    def source_names(self) -> tuple[str, ...]:
        """The one map."""
        return (self.source,)
