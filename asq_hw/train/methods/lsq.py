"""LSQ: a learned step (Esser et al., arXiv:1902.08153)."""

from __future__ import annotations

from torch import Tensor

from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.weights import UniformWeightQuantizer

__all__ = ["activation_quantizer", "weight_quantizer"]


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> UniformWeightQuantizer:
    """Make LSQ's quantizer of a layer's weights."""
    return UniformWeightQuantizer(
        settings.uniform_grid,
        weight,
        per_channel=settings.per_channel,
        step_start=settings.step_start,
    )


def activation_quantizer(settings: ActivationSettings) -> ActivationQuantizer:
    """Make LSQ's quantizer of a layer's input."""
    return ActivationQuantizer(
        bits=settings.bits, signed=settings.signed, step_start=settings.step_start
    )
