"""A step size that is a power of two, taken from the sample's largest value.

As in the OCP's microscaling formats (MX, version 1.0, section 6.3), with the whole feature map as
one block (docs/arithmetic.md, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass

from asq_hw.errors import check_range
from asq_hw.numbers.widths import STEP_BITS

__all__ = ["SharedExponentStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedExponentStep:
    """A step size ``2**clamp(k + T - m, lowest, highest)`` for every sample.

    k is the exponent of the largest power of two that ``max|X|`` reaches (0 where all X are 0), m
    that of the largest code Qp, and T the quantizer's `step_fraction_bits`.
    """

    lowest: int
    highest: int

    def __post_init__(self) -> None:
        check_range("a shared exponent's minimum", self.lowest, 0, STEP_BITS - 1)
        check_range("a shared exponent's maximum", self.highest, self.lowest, STEP_BITS - 1)

    @property
    def maximum(self) -> int:
        """Largest step size that can occur."""
        return 1 << self.highest
