"""A step size from the adapter of another layer (docs/arithmetic.md, section 4).

Layers of a block share one adapter: the first computes its step, and each other one has that times
a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

from asq_hw.errors import check_range
from asq_hw.network.names import check_name
from asq_hw.numbers.widths import MAX_SHIFT, MULTIPLIER_BITS, STEP_BITS

__all__ = ["SharedAdapterStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAdapterStep:
    """A step size ``clamp(round(D * multiplier * 2**-shift), minimum, maximum)``.

    D is the sample's step in the earlier layer that is named, which has an adapter of its own.
    """

    layer: str
    multiplier: int
    shift: int
    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        check_name(self.layer)
        check_range("a shared step's multiplier", self.multiplier, 1, (1 << MULTIPLIER_BITS) - 1)
        check_range("a shared step's shift", self.shift, 0, MAX_SHIFT)
        check_range("a shared step's minimum", self.minimum, 1, (1 << STEP_BITS) - 1)
        check_range("a shared step's maximum", self.maximum, self.minimum, (1 << STEP_BITS) - 1)
