"""Activation quantizers of an integer network: a step size, fixed or computed for every sample.

What each one computes, to the bit, is written in docs/arithmetic.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from asq_hw.errors import InputError, check_range
from asq_hw.network.bounds import check_fits
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM
from asq_hw.numbers.validation import IntArray, check_integers
from asq_hw.numbers.widths import (
    ADAPTER_BITS,
    BIAS_BITS,
    MAX_SHIFT,
    MAX_STEP_FRACTION_BITS,
    MULTIPLIER_BITS,
    STEP_BITS,
)

__all__ = [
    "ADAPTER_RATIO",
    "ActivationQuantizer",
    "AdapterStage",
    "AdaptiveStep",
    "FixedStep",
    "Step",
    "adapter_hidden_width",
]


ADAPTER_RATIO = 4
"""Channels for each hidden value of the paper's adapter."""


def adapter_hidden_width(channels: int, ratio: int = ADAPTER_RATIO) -> int:
    """Hidden width of an adapter: C / ratio, or 0 (one linear layer) where that is below 2.

    The paper's is C/4, and one linear layer below 8 channels.
    """
    return channels // ratio if channels >= 2 * ratio else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdapterStage:
    """One linear layer of an adapter, its ReLU or clamp included.

    ``out = clamp(round((weight @ in + bias) * multiplier * 2**-shift), minimum, maximum)``

    `weight` is (outputs, inputs), `bias` (outputs,).
    """

    weight: IntArray
    bias: IntArray
    multiplier: int
    shift: int
    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        weight = check_integers("an adapter's weights", self.weight, ADAPTER_BITS, 2)
        bias = check_integers("an adapter's biases", self.bias, BIAS_BITS, 1)
        if bias.shape[0] != weight.shape[0]:
            raise InputError(
                f"an adapter stage has {weight.shape[0]} outputs but {bias.shape[0]} biases"
            )
        check_range("an adapter's multiplier", self.multiplier, 0, (1 << MULTIPLIER_BITS) - 1)
        check_range("an adapter's shift", self.shift, 0, MAX_SHIFT)
        check_range("an adapter's minimum", self.minimum, 0, (1 << STEP_BITS) - 1)
        check_range("an adapter's maximum", self.maximum, self.minimum, (1 << STEP_BITS) - 1)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    def reach(self, inputs: int) -> int:
        """Bound on what the multiplier makes of inputs up to `inputs`, rounding included."""
        weights = int(np.abs(self.weight).sum(axis=1).max())
        total = weights * (inputs + 1) + int(np.abs(self.bias).max())
        return total * max(1, self.multiplier) + (1 << self.shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedStep:
    """A step size learned once for all inputs (LSQ)."""

    step: int

    def __post_init__(self) -> None:
        check_range("a step size", self.step, 1, (1 << STEP_BITS) - 1)

    @property
    def maximum(self) -> int:
        """Largest step size that can occur."""
        return self.step


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdaptiveStep:
    """A step size computed for every sample (ASQ): channel means through a small adapter.

    The mean of channel c is ``round(sum(X[c]) * pool_multiplier * 2**-pool_shift)``; the last
    stage's one output is the step size.
    """

    pool_multiplier: int
    pool_shift: int
    stages: tuple[AdapterStage, ...]

    def __post_init__(self) -> None:
        check_range("a pooling multiplier", self.pool_multiplier, 1, (1 << MULTIPLIER_BITS) - 1)
        check_range("a pooling shift", self.pool_shift, 0, MAX_SHIFT)
        object.__setattr__(self, "stages", tuple(self.stages))
        if not 1 <= len(self.stages) <= 2:
            raise InputError(f"an adapter must have 1 or 2 stages, not {len(self.stages)}")
        for first, second in zip(self.stages, self.stages[1:], strict=False):
            if second.weight.shape[1] != first.weight.shape[0]:
                raise InputError(
                    f"an adapter's second stage must take {first.weight.shape[0]} inputs, "
                    f"not {second.weight.shape[1]}",
                    rule="R-stage",
                )
        if self.stages[-1].weight.shape[0] != 1 or self.stages[-1].minimum < 1:
            raise InputError(
                "an adapter's last stage must have one output of at least 1", rule="R-stage"
            )

    @property
    def in_channels(self) -> int:
        """Number of channels of the feature map that is pooled."""
        return int(self.stages[0].weight.shape[1])

    @property
    def maximum(self) -> int:
        """Largest step size that can occur."""
        return self.stages[-1].maximum

    def check_widths(self, name: str, source: FeatureMap) -> None:
        """Raise InputError if the adapter of the layer `name` does not fit `source` or 64 bits."""
        channels, height, width = source.shape
        if self.in_channels != channels:
            raise InputError(
                f"{name}: the adapter takes {self.in_channels} channels, not {channels}",
                rule="R-stage",
            )
        largest = height * width << (source.format.bits - 1)
        pooled = largest * self.pool_multiplier + (1 << self.pool_shift)
        check_fits(name, "adapter's pooled sum", pooled)
        reach = pooled >> self.pool_shift
        for stage in self.stages:
            check_fits(name, "adapter's sum", stage.reach(reach))
            reach = stage.maximum


Step = FixedStep | AdaptiveStep | LogLinearStep | SharedExponentStep | SharedAdapterStep


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ActivationQuantizer:
    """Feature map to activation codes: ``clip(round(X * 2**step_fraction_bits / step), Qn, Qp)``.

    `grid` is uniform; Qn and Qp are its `minimum` and `maximum`. Ties go up.
    """

    grid: Grid
    step: Step
    step_fraction_bits: int

    def __post_init__(self) -> None:
        if self.grid.scheme is not UNIFORM:
            raise InputError(f"an activation's grid must be uniform, not {self.grid.scheme}")
        check_range("step fraction bits", self.step_fraction_bits, 0, MAX_STEP_FRACTION_BITS)

    @property
    def has_fixed_step(self) -> bool:
        """Whether all samples have one step."""
        return isinstance(self.step, FixedStep)

    @property
    def exponent_shift(self) -> int:
        """``T - m``: from the exponent of the largest value to that of a shared step."""
        return self.step_fraction_bits + 1 - self.grid.maximum.bit_length()

    def check_widths(self, name: str, source: FeatureMap) -> None:
        """Raise InputError if the step of `source` in the layer `name` could leave 64 bits."""
        bits = source.format.bits
        check_fits(name, "step comparison", 1 << (bits + self.step_fraction_bits + 1))
        match self.step:
            case FixedStep() | SharedExponentStep() | SharedAdapterStep():
                pass  # no sums of features; a step of 16 bits times 16 bits fits
            case AdaptiveStep() | LogLinearStep():
                self.step.check_widths(name, source)
            case _:
                assert_never(self.step)
