"""Weights on a scheme's grid that is not uniform, with a learned alpha."""

from __future__ import annotations

from torch import Tensor

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import Scheme
from asq_hw.train.methods.method import WeightSettings
from asq_hw.train.quantizers.weights import GridWeightQuantizer

__all__ = ["weight_quantizer"]


def weight_quantizer(
    scheme: Scheme, weight: Tensor, settings: WeightSettings
) -> GridWeightQuantizer:
    """Make the quantizer of a layer's weights to a scheme's levels (paper, Eq. 3 and 17)."""
    encoding = settings.encoding if scheme.is_exponential else scheme.encodings[0]
    grid = Grid(scheme=scheme, bits=settings.bits, encoding=encoding)
    return GridWeightQuantizer(grid, weight, per_channel=settings.per_channel)
