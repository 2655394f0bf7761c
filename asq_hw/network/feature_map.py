"""Feature maps: what stands between two layers of an integer network.

A feature map is a signed fixed-point tensor of shape (N, C, H, W): the integer ``X`` stands for
``X * 2**-fraction_bits`` (docs/arithmetic.md, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from asq_hw.errors import check_range
from asq_hw.numbers.widths import FEATURE_BITS, MAX_FEATURE_BITS, MIN_FEATURE_BITS

__all__ = ["FeatureFormat", "FeatureMap", "Shape"]

Shape = tuple[int, int, int]
"""Channels, height and width of one sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFormat:
    """Signed X of `bits` bits that stands for ``X * 2**-fraction_bits``."""

    bits: int = FEATURE_BITS
    fraction_bits: int

    def __post_init__(self) -> None:
        check_range("feature bits", self.bits, MIN_FEATURE_BITS, MAX_FEATURE_BITS)
        check_range("fraction bits", self.fraction_bits, -32, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMap:
    """Shape (C, H, W) of one sample and number format of a layer's output."""

    shape: Shape
    format: FeatureFormat

    @property
    def size(self) -> int:
        """Number of elements."""
        channels, height, width = self.shape
        return channels * height * width
