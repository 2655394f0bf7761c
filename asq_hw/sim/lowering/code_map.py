"""Where a layer's activation codes stand, with the padding around them."""

from __future__ import annotations

from dataclasses import dataclass

from asq_hw.numbers.validation import IntArray
from asq_hw.sim.program import ComputeType

__all__ = ["SLACK", "CodeMap"]

SLACK = 64
"""Codes behind a padded map that a last quad may read, with weights of zero."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodeMap:
    """A padded map of codes, (planes, height, width, channels), among those of its compute type."""

    compute_type: ComputeType
    start: int
    height: int
    width: int
    padding: tuple[int, int]
    channels: int
    values: IntArray
    """What the padding holds in each plane."""

    @property
    def pixel(self) -> int:
        """Codes of one pixel in a plane."""
        return self.channels

    @property
    def plane(self) -> int:
        """Codes of one plane, padding included."""
        return self.height * self.width * self.channels

    @property
    def geometry(self) -> tuple[object, ...]:
        """Everything but the place."""
        shape = (self.height, self.width, self.channels)
        return (self.compute_type, *shape, self.padding, tuple(self.values.tolist()))

    @property
    def size(self) -> int:
        """Codes, what may be read behind them included: a tile may reach a row too far."""
        return self.held + (self.width + 1) * self.pixel + SLACK

    @property
    def held(self) -> int:
        """Codes, padding included."""
        return self.values.size * self.plane
