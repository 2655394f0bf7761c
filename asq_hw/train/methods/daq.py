"""DAQ: gradients of a soft argmax of distances (Kim et al., arXiv:2108.06983)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.gradients import computed, with_gradient_of
from asq_hw.train.quantizers.weights import UniformWeightQuantizer

__all__ = [
    "DaqActivationQuantizer",
    "DaqWeightQuantizer",
    "activation_quantizer",
    "distance_aware_round",
    "weight_quantizer",
]

_GAMMA = 2.0
"""DAQ's gamma: the soft assignment that the temperature keeps, before it is stretched."""
_WEIGHT_SIGMA, _ACTIVATION_SIGMA = 1.0, 2.0
"""Widths of DAQ's kernels, in levels, as its authors' code sets them."""


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> DaqWeightQuantizer:
    """Make the quantizer of a layer's weights."""
    return DaqWeightQuantizer(
        settings.uniform_grid,
        weight,
        per_channel=settings.per_channel,
        step_start=settings.step_start,
    )


def activation_quantizer(settings: ActivationSettings) -> DaqActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return DaqActivationQuantizer(
        bits=settings.bits, signed=settings.signed, step_start=settings.step_start
    )


class DaqWeightQuantizer(UniformWeightQuantizer):
    """DAQ on weights (Kim et al., arXiv:2108.06983); see `distance_aware_round`.

    The step is learned; the range is ``Qn`` to ``Qp`` steps.
    """

    def _quantize(self, weight: Tensor) -> Tensor:
        step: Tensor = self.learned(self._gradient_scale(weight))
        ratio = (weight / step).clamp(self.grid.minimum, self.grid.maximum)
        return distance_aware_round(ratio, _WEIGHT_SIGMA) * step


class DaqActivationQuantizer(ActivationQuantizer):
    """DAQ on activations (Kim et al., arXiv:2108.06983); see `distance_aware_round`."""

    has_odd_codes = False

    def _quantize(self, x: Tensor) -> Tensor:
        step: Tensor = self.learned(self._gradient_scale(x))
        ratio = (computed(x) / step).clamp(self.grid.minimum, self.grid.maximum)
        return (distance_aware_round(ratio, _ACTIVATION_SIGMA) * step).to(x.dtype)


def distance_aware_round(ratio: Tensor, sigma: float) -> Tensor:
    """Round as DAQ does (Kim et al., arXiv:2108.06983, distance-aware soft rounding).

    The two neighboring integers score ``exp(-distance)``, the farther one also times the kernel
    ``exp(-1 / sigma**2)``, and a soft argmax with temperature shares the input among them:
    ``i + sigmoid(beta * (upper - lower))``. The temperature follows the distance,
    ``beta = gamma / |upper - lower|``, so that the share is always ``sigmoid(+-gamma)``;
    stretched to 0 and 1 that is rounding. Backward beta and the kernel are constants and the soft
    argmax of the scores gives the gradient: largest where the neighbors are equally far.

    Parameters
    ----------
    ratio : float tensor
        The input in units of the step, clipped.
    sigma : float
        Width of the kernel, in levels.
    """
    lower = ratio.detach().floor()
    fraction = ratio - lower
    nearer_upper = fraction.detach() > 0.5
    kernel = math.exp(-1 / sigma**2)
    upper_score = torch.exp(fraction - 1) * torch.where(nearer_upper, 1.0, kernel)
    lower_score = torch.exp(-fraction) * torch.where(nearer_upper, kernel, 1.0)
    gap = upper_score - lower_score
    beta = _GAMMA / gap.detach().abs()
    share = torch.sigmoid(beta * gap) - 0.5
    stretched = 0.5 + share / math.tanh(_GAMMA / 2)  # 2 * sigmoid(g) - 1 = tanh(g / 2)
    return with_gradient_of(lower + stretched, ratio.detach().round())
