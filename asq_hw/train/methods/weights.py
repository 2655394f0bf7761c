"""Weight quantizers of the methods that the paper compares with."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.numbers.grids import MAX_BITS, Grid, Scheme
from asq_hw.train.methods.formulas import (
    DAQ_WEIGHT_SIGMA,
    DSQ_ALPHA,
    distance_aware_round,
    interval_transform,
    soft_staircase_round,
    straight_round,
)
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.quantizers.weights import (
    IntegerWeightQuantizer,
    UniformWeightQuantizer,
    per_output_channel,
    uniform_codes,
)

__all__ = [
    "DaqWeightQuantizer",
    "DorefaWeightQuantizer",
    "DsqWeightQuantizer",
    "LsqPlusWeightQuantizer",
    "QilWeightQuantizer",
]


class LsqPlusWeightQuantizer(UniformWeightQuantizer):
    """LSQ+ on weights (Bhalgat et al., arXiv:2004.09576): LSQ, symmetric, from another start.

    The step starts at ``max(|mu - 3 sigma|, |mu + 3 sigma|) / 2**(b - 1)`` (its Eq. 4), mu and
    sigma the mean and the deviation of the weights.
    """

    def _initial(self, weight: Tensor) -> Tensor:
        weight = weight.detach()
        deviation, mean = torch.std_mean(weight, correction=0)
        step = (mean.abs() + 3 * deviation) / 2 ** (self.grid.bits - 1)
        return torch.where(step > 0, step, torch.ones_like(step))


class DorefaWeightQuantizer(IntegerWeightQuantizer):
    """DoReFa on weights (Zhou et al., arXiv:1606.06160, Eq. 9); nothing is learned.

    ``w' = 2 * quantize_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1`` with ``quantize_k(r) =
    round((2**k - 1) r) / (2**k - 1)``, whose gradient passes straight through. The ``2**k`` levels
    are odd multiples of ``1 / (2**k - 1)``, without a zero; so their integers are stored in one
    bit more.
    """

    def __init__(self, bits: int) -> None:
        if bits >= MAX_BITS:
            raise InputError(f"dorefa weights must have 2..{MAX_BITS - 1} bits, not {bits}")
        super().__init__(Grid(scheme=Scheme.UNIFORM, bits=bits + 1))
        self.largest: int = 2**bits - 1

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""
        return self._integers(weight) / self.largest

    def _integers(self, weight: Tensor) -> Tensor:
        squashed = torch.tanh(weight)
        limit = squashed.abs().amax().clamp_min(torch.finfo(weight.dtype).tiny)
        index = straight_round((squashed / (2 * limit) + 0.5) * self.largest)
        return 2 * index - self.largest

    def scale(self) -> Tensor:
        """Return the scale of the grid's levels, the same for every layer."""
        return torch.tensor(2.0 ** (self.grid.bits - 1) / self.largest)

    def level_codes(self, weight: Tensor) -> Tensor:
        """Return the grid's two's complement codes, int64, in the shape of `weight`."""
        with torch.no_grad():
            return uniform_codes(self._integers(weight), self.grid)


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
        """Return the quantized weights, in the shape and type of `weight`."""
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
        """Return the scale of the grid's levels: the largest integer stands for 1."""
        return torch.tensor(2.0 ** (self.grid.bits - 1) / self.grid.maximum)

    def level_codes(self, weight: Tensor) -> Tensor:
        """Return the grid's two's complement codes, int64, in the shape of `weight`."""
        with torch.no_grad():
            return uniform_codes(self._integers(weight), self.grid)


class DsqWeightQuantizer(UniformWeightQuantizer):
    """DSQ on weights (Gong et al., arXiv:1908.05033); see `soft_staircase_round`.

    The interval Delta and alpha are learned. The paper learns both ends of the range; here it is
    ``Qn * Delta`` to ``Qp * Delta``, so that zero is a level and the codes fit their bits.
    """

    def __init__(self, grid: Grid, weight: Tensor, *, per_channel: bool) -> None:
        super().__init__(grid, weight, per_channel=per_channel)
        self.alpha = nn.Parameter(torch.tensor(DSQ_ALPHA))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""
        step: Tensor = self.learned(self._gradient_scale(weight))
        ratio = (weight / step).clamp(self.grid.minimum, self.grid.maximum)
        return soft_staircase_round(ratio, self.alpha) * step


class DaqWeightQuantizer(UniformWeightQuantizer):
    """DAQ on weights (Kim et al., arXiv:2108.06983); see `distance_aware_round`.

    The step is learned; the range is ``Qn`` to ``Qp`` steps.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""
        step: Tensor = self.learned(self._gradient_scale(weight))
        ratio = (weight / step).clamp(self.grid.minimum, self.grid.maximum)
        return distance_aware_round(ratio, DAQ_WEIGHT_SIGMA) * step
