"""A step size that is 2 to a linear function of channel means (docs/arithmetic.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asq_hw.errors import InputError, check_range
from asq_hw.network.bounds import check_fits
from asq_hw.network.feature_map import FeatureMap
from asq_hw.numbers.fixedpoint import EXP2_FRACTION_BITS, EXP2_INTEGER_BITS, exp2
from asq_hw.numbers.validation import IntArray, check_integers
from asq_hw.numbers.widths import ADAPTER_BITS, BIAS_BITS, MAX_SHIFT, MULTIPLIER_BITS

__all__ = ["MAX_EXPONENT", "LogLinearStep"]

MAX_EXPONENT = (1 << (EXP2_INTEGER_BITS + EXP2_FRACTION_BITS)) - 1
"""Largest exponent that `exp2` takes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogLinearStep:
    """A step size computed for every sample: ``exp2`` of a linear function of channel means.

    The mean of channel c is ``round(sum(X[c]) * pool_multiplier * 2**-pool_shift)``, and the
    exponent ``clamp(round(weight @ means * multiplier * 2**-shift) + offset, lowest, highest)``,
    in units of 1/256.

    `weight` is (channels,).
    """

    pool_multiplier: int
    pool_shift: int
    weight: IntArray
    multiplier: int
    shift: int
    offset: int
    lowest: int
    highest: int

    def __post_init__(self) -> None:
        check_range("a pooling multiplier", self.pool_multiplier, 1, (1 << MULTIPLIER_BITS) - 1)
        check_range("a pooling shift", self.pool_shift, 0, MAX_SHIFT)
        weight = check_integers("a log-linear step's weights", self.weight, ADAPTER_BITS, 1)
        check_range(
            "a log-linear step's multiplier", self.multiplier, 0, (1 << MULTIPLIER_BITS) - 1
        )
        check_range("a log-linear step's shift", self.shift, 0, MAX_SHIFT)
        half = 1 << (BIAS_BITS - 1)
        check_range("a log-linear step's offset", self.offset, -half, half - 1)
        check_range("a log-linear step's minimum", self.lowest, 0, MAX_EXPONENT)
        check_range("a log-linear step's maximum", self.highest, self.lowest, MAX_EXPONENT)
        object.__setattr__(self, "weight", weight)

    @property
    def in_channels(self) -> int:
        """Number of channels of the feature map that is pooled."""
        return int(self.weight.size)

    @property
    def maximum(self) -> int:
        """Largest step size that can occur."""
        return exp2(self.highest)

    def check_widths(self, name: str, source: FeatureMap) -> None:
        """Raise InputError if the step of the layer `name` does not fit `source` or 64 bits."""
        channels, height, width = source.shape
        if self.in_channels != channels:
            raise InputError(
                f"{name}: the log-linear step takes {self.in_channels} channels, not {channels}",
                rule="R-log-linear",
            )
        largest = height * width << (source.format.bits - 1)
        pooled = largest * self.pool_multiplier + (1 << self.pool_shift)
        check_fits(name, "adapter's pooled sum", pooled)
        total = int(np.abs(self.weight).sum()) * ((pooled >> self.pool_shift) + 1)
        reach = total * max(1, self.multiplier) + (1 << self.shift) + (1 << BIAS_BITS)
        check_fits(name, "exponent", reach)
