"""A step from the largest weights: nothing is learned (Jacob et al., arXiv:1712.05877)."""

from __future__ import annotations

import torch
from torch import Tensor

from asq_hw.numbers.grids import Grid
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.methods.method import WeightSettings
from asq_hw.train.quantizers.initial_scales import min_max_step
from asq_hw.train.quantizers.rounding import round_uniform
from asq_hw.train.quantizers.weights import (
    IntegerWeightQuantizer,
    per_output_channel,
    uniform_codes,
    uniform_scale,
)

__all__ = ["MinMaxWeightQuantizer", "weight_quantizer"]


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> MinMaxWeightQuantizer:
    """Make the quantizer of a layer's weights."""
    return MinMaxWeightQuantizer(settings.uniform_grid, weight, per_channel=settings.per_channel)


class MinMaxWeightQuantizer(IntegerWeightQuantizer):
    """Integers times the least step that clips no weight, found anew in each step of training.

    The gradient passes straight through. In evaluation the last step acts, which is also what is
    exported.

    Parameters
    ----------
    grid : Grid
        Integers.
    weight : float tensor
        The layer's weights, output channels first.
    per_channel : bool
        Whether each output channel has a step of its own.
    """

    steps: Tensor

    def __init__(self, grid: Grid, weight: Tensor, *, per_channel: bool) -> None:
        super().__init__(grid)
        shape = per_output_channel(weight) if per_channel else ()
        self.register_buffer("steps", torch.ones(shape))
        self.start(weight, StepStart.MIN_MAX)

    def start(self, weight: Tensor, how: StepStart) -> None:
        """Find the step anew, of these weights, whatever is asked for."""
        del how
        self.steps.copy_(self._least(weight))

    def _least(self, weight: Tensor) -> Tensor:
        rows = weight.detach().float().reshape(self.steps.numel(), -1)
        low, high = rows.aminmax(dim=1)
        return min_max_step(low, high, self.grid).reshape(self.steps.shape)

    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weights, in the shape and type of `weight`."""
        steps = self.steps
        if self.training:
            # A tensor of its own: an earlier pass of this step may still need its gradient.
            steps = self._least(weight)
            self.steps.copy_(steps)
        return round_uniform(weight, steps, self.grid.minimum, self.grid.maximum, loops=self.loops)

    def scale(self) -> Tensor:
        """``step * 2**(bits - 1)``: the grid's levels are ``q * 2**-(bits - 1)``."""
        return uniform_scale(self.steps, self.grid)

    def level_codes(self, weight: Tensor) -> Tensor:
        """The grid's codes of the quantized weights, int64, in the shape of `weight`."""
        return uniform_codes(weight, self.steps, self.grid)
