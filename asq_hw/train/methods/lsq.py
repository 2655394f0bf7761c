"""LSQ: a learned step (Esser et al., arXiv:1902.08153), and ASQ, which adapts it to each sample."""

from __future__ import annotations

from torch import Tensor

from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.quantizers.weights import UniformWeightQuantizer

__all__ = ["activation_quantizer", "adaptive_activation_quantizer", "weight_quantizer"]


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> UniformWeightQuantizer:
    """Make LSQ's quantizer of a layer's weights."""
    return UniformWeightQuantizer(settings.uniform_grid, weight, per_channel=settings.per_channel)


def activation_quantizer(settings: ActivationSettings) -> ActivationQuantizer:
    """Make LSQ's quantizer of a layer's input."""
    return ActivationQuantizer(bits=settings.bits, signed=settings.signed)


def adaptive_activation_quantizer(settings: ActivationSettings) -> ActivationQuantizer:
    """Make ASQ's quantizer of a layer's input (paper, Eq. 4-6)."""
    adapter = Adapter(settings.channels)
    return ActivationQuantizer(bits=settings.bits, signed=settings.signed, adapter=adapter)
