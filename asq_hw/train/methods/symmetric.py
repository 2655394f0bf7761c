"""LSQ on a symmetric grid: a learned step, and no level without its negative."""

from __future__ import annotations

from torch import Tensor

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import SYMMETRIC
from asq_hw.train.methods.method import WeightSettings
from asq_hw.train.quantizers.weights import UniformWeightQuantizer

__all__ = ["weight_quantizer"]


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> UniformWeightQuantizer:
    """Make the quantizer of a layer's weights."""
    return UniformWeightQuantizer(
        Grid(scheme=SYMMETRIC, bits=settings.bits),
        weight,
        per_channel=settings.per_channel,
        step_start=settings.step_start,
    )
