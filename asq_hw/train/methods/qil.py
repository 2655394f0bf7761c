"""QIL: a learned interval, below which everything is zero (Jung et al., arXiv:1808.05779)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asq_hw.numbers.grids import Grid
from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.gradients import computed, straight_round
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.quantizers.weights import (
    IntegerWeightQuantizer,
    integer_codes,
    per_output_channel,
)

__all__ = [
    "QilActivationQuantizer",
    "QilWeightQuantizer",
    "activation_quantizer",
    "interval_transform",
    "weight_quantizer",
]


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> QilWeightQuantizer:
    """Make the quantizer of a layer's weights."""
    return QilWeightQuantizer(settings.uniform_grid, weight, per_channel=settings.per_channel)


def activation_quantizer(settings: ActivationSettings) -> QilActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return QilActivationQuantizer(bits=settings.bits, signed=settings.signed)


class QilWeightQuantizer(IntegerWeightQuantizer):
    """QIL on weights (Jung et al., arXiv:1808.05779, Eq. 1-3): a learned interval.

    ``sign(w) * t**gamma`` with t the interval mapped onto 0 to 1, rounded to multiples of
    ``1 / (2**(b - 1) - 1)``. Center, radius and gamma are learned. The interval starts at 0 to
    ``max|w|``; gradients of what is learned have LSQ's scale (our choice).
    """

    def __init__(self, grid: Grid, weight: Tensor, *, per_channel: bool) -> None:
        super().__init__(grid)
        shape = per_output_channel(weight) if per_channel else ()
        largest = weight.detach().abs()
        largest = largest.flatten(1).amax(1).reshape(shape) if per_channel else largest.amax()
        half = torch.where(largest > 0, largest, torch.ones_like(largest)) / 2
        # Checkpoints hold the center in this spelling.
        self.centre, self.radius = PositiveParameter(shape), PositiveParameter(shape)
        self.gamma = PositiveParameter(shape)
        for parameter, value in (
            (self.centre, half),
            (self.radius, half),
            (self.gamma, torch.ones_like(half)),
        ):
            parameter.initialize(value)

    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weights, in the shape and type of `weight`."""
        return self._integers(weight) / self.grid.maximum

    def _integers(self, weight: Tensor) -> Tensor:
        count = weight.numel() // self.centre.value.numel()
        scale = 1 / math.sqrt(count * self.grid.maximum)
        inside = interval_transform(weight.abs(), self.centre(scale), self.radius(scale))
        # A power of exactly 0 has no gradient; such weights are pruned, and need none.
        curved = inside.clamp_min(1e-6) ** self.gamma(scale)
        curved = torch.where(inside > 0, curved, torch.zeros_like(curved))
        return straight_round(weight.detach().sign() * curved * self.grid.maximum)

    def scale(self) -> Tensor:
        """The scale of the grid's levels: the largest integer stands for 1."""
        return torch.tensor(2.0 ** (self.grid.bits - 1) / self.grid.maximum)

    def level_codes(self, weight: Tensor) -> Tensor:
        """The grid's two's complement codes, int64, in the shape of `weight`."""
        with torch.no_grad():
            return integer_codes(self._integers(weight), self.grid)


class QilActivationQuantizer(BaseActivationQuantizer):
    """QIL on activations (Jung et al., arXiv:1808.05779, Eq. 1-3): a learned interval.

    The interval, mapped onto 0 to 1 (gamma is 1 for activations), rounded to multiples of
    ``1 / (2**b - 1)``; for a signed input sign and magnitude apart, in multiples of
    ``1 / (2**(b - 1) - 1)``. It starts at 0 to the first batch's maximum; gradients have LSQ's
    scale (our choice). No integer form: the interval's start is an offset under the rounding.
    """

    def __init__(self, *, bits: int, signed: bool) -> None:
        super().__init__(bits=bits, signed=signed)
        # Checkpoints hold the center in this spelling.
        self.centre, self.radius = PositiveParameter(()), PositiveParameter(())

    def _initialize(self, x: Tensor) -> None:
        largest = x.float().abs().amax()
        half = torch.where(largest > 0, largest, torch.ones_like(largest)) / 2
        self.centre.initialize(half)
        self.radius.initialize(half)

    def _quantize(self, x: Tensor) -> Tensor:
        gradient_scale = self._gradient_scale(x)
        real = computed(x)
        magnitude = real.abs() if self.signed else real
        inside = interval_transform(
            magnitude, self.centre(gradient_scale), self.radius(gradient_scale)
        )
        signed = inside * real.detach().sign() if self.signed else inside
        return (straight_round(signed * self.grid.maximum) / self.grid.maximum).to(x.dtype)


def interval_transform(magnitude: Tensor, center: Tensor, radius: Tensor) -> Tensor:
    """Map QIL's interval onto 0 to 1 (Jung et al., arXiv:1808.05779, Eq. 3).

    ``alpha * |x| + beta`` with ``alpha = 1 / (2 d)`` and ``beta = -c / (2 d) + 1 / 2`` for center c
    and radius d; 0 below the interval (pruned), 1 above it (clipped).
    """
    return ((magnitude - center) / (2 * radius) + 0.5).clamp(0, 1)
