"""Weights on grids that are not uniform, with a learned alpha: POT, POST and APoT."""

from __future__ import annotations

from torch import Tensor

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import APOT, POST, POT, Scheme
from asq_hw.train.methods.method import WeightSettings
from asq_hw.train.quantizers.weights import GridWeightQuantizer

__all__ = ["apot_weight_quantizer", "post_weight_quantizer", "pot_weight_quantizer"]


def pot_weight_quantizer(weight: Tensor, settings: WeightSettings) -> GridWeightQuantizer:
    """Make the quantizer whose levels are powers of two (paper, Eq. 3)."""
    return _exponential(POT, weight, settings)


def post_weight_quantizer(weight: Tensor, settings: WeightSettings) -> GridWeightQuantizer:
    """Make the quantizer whose levels are powers of the square root of two (paper, Eq. 17)."""
    return _exponential(POST, weight, settings)


def apot_weight_quantizer(weight: Tensor, settings: WeightSettings) -> GridWeightQuantizer:
    """Make the quantizer whose levels are sums of powers of two (Li et al., arXiv:1909.13144)."""
    grid = Grid(scheme=APOT, bits=settings.bits)
    return GridWeightQuantizer(grid, weight, per_channel=settings.per_channel)


def _exponential(scheme: Scheme, weight: Tensor, settings: WeightSettings) -> GridWeightQuantizer:
    grid = Grid(scheme=scheme, bits=settings.bits, encoding=settings.encoding)
    return GridWeightQuantizer(grid, weight, per_channel=settings.per_channel)
