"""From the name of a method to its quantizer."""

from __future__ import annotations

from torch import Tensor

from asq_hw.train.methods.catalog import ACTIVATION_METHODS, NONE, WEIGHT_METHODS
from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.weights import WeightQuantizer

__all__ = ["activation_quantizer", "weight_quantizer"]


def weight_quantizer(
    method: str, weight: Tensor, settings: WeightSettings
) -> WeightQuantizer | None:
    """Make a method's quantizer for a layer's weights; None leaves them real.

    Raises
    ------
    InputError
        If the method does not go with the width.
    """
    if method == NONE:
        return None
    made: WeightQuantizer = WEIGHT_METHODS[method].load()(weight, settings)
    return made


def activation_quantizer(
    method: str, settings: ActivationSettings
) -> BaseActivationQuantizer | None:
    """Make a method's quantizer for a layer's input; None leaves it real."""
    if method == NONE:
        return None
    made: BaseActivationQuantizer = ACTIVATION_METHODS[method].load()(settings)
    return made
