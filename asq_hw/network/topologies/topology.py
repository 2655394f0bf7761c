"""A network that is known by name, in every width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from asq_hw.network.topologies.layers import Plan

__all__ = ["Topology"]

P = TypeVar("P", bound=Plan, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology(Generic[P]):
    """How a network is laid out, and what it is usually used for.

    Parameters
    ----------
    name : str
        What recipes and commands call it.
    source : str or None
        Where it was published; None for one of our own.
    make_plan : callable
        Makes its plan for ``(width, in_channels, num_classes)``.
    width : int
        Channels of the first stage in the published network.
    image_size, in_channels, num_classes : int
        Height and width of the usual images in pixels, their channels, and how many classes they
        fall into.
    """

    name: str
    source: str | None
    make_plan: Callable[[int, int, int], P]
    width: int
    image_size: int
    in_channels: int = 3
    num_classes: int

    def plan(
        self,
        *,
        width: int | None = None,
        in_channels: int | None = None,
        num_classes: int | None = None,
    ) -> P:
        """The plan; what is not given is as usual."""
        return self.make_plan(
            self.width if width is None else width,
            self.in_channels if in_channels is None else in_channels,
            self.num_classes if num_classes is None else num_classes,
        )
