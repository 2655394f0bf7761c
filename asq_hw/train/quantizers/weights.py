"""Weight quantizers: their bases, LSQ's learned step, and grids with a learned alpha.

LSQ (arXiv:1902.08153) multiplies a step's gradient by ``1 / sqrt(N * Qp)``, N the number of
weights that share the step, so that step and weights learn at one pace. An alpha is ``k = Qp / h``
such steps long, h the highest level, near 1. Descending on ``alpha / k`` at LSQ's scale moves it as
its own gradient does, multiplied by ``k**2 / sqrt(N * Qp)``.

Neither is free to run away. Behind a batch norm the size of the weights means nothing, so that a
step's gradient grows as the step shrinks; near 0 a single update throws it far beyond the weights,
which then all round to 0. With 8 bits a clipped weight alone does that. In training a scale is
therefore held where the highest level lies between the mean magnitude of the weights and the
largest one: below, most of them would be clipped, and above, levels would be left unused.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from asq_hw.numbers.grids import Grid
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.quantizers.initial_scales import first_steps, initial_alphas
from asq_hw.train.quantizers.levels import level_table
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.quantizers.quantizer import Quantizer
from asq_hw.train.quantizers.rounding import round_to_levels, round_uniform

__all__ = [
    "GridWeightQuantizer",
    "IntegerWeightQuantizer",
    "ScaledWeightQuantizer",
    "UniformWeightQuantizer",
    "WeightQuantizer",
    "integer_codes",
    "make_weight_quantizer",
    "per_output_channel",
    "uniform_codes",
    "uniform_scale",
]


def per_output_channel(weight: Tensor) -> tuple[int, ...]:
    """The shape of one number for each output channel, as it broadcasts to `weight`'s."""
    return (len(weight), *(1 for _ in weight.shape[1:]))


class WeightQuantizer(ABC, Quantizer):
    """Base of all weight quantizers."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weights, in the shape and type of `weight`."""

    def start(self, weight: Tensor, how: StepStart) -> None:
        """Choose a scale for weights anew; a method without one keeps what it has."""


class IntegerWeightQuantizer(WeightQuantizer):
    """Base of those whose quantized weights are a scale times the levels of a grid.

    Parameters
    ----------
    grid : Grid
        The levels.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    @abstractmethod
    def scale(self) -> Tensor:
        """Alpha: a quantized weight is alpha times the value of a level of the grid.

        A tensor of shape ``()``, or ``(O, 1, ...)`` with one entry for each output channel.
        """

    @abstractmethod
    def level_codes(self, weight: Tensor) -> Tensor:
        """The grid's codes of the quantized weights, int64, in the shape of `weight`."""

    def are_odd(self, weight: Tensor) -> Tensor:
        """Which quantized weights have a factor of the square root of two, bool."""
        odd = torch.zeros(1 << self.grid.stored_bits, dtype=torch.bool, device=weight.device)
        odd[[level.code for level in self.grid.levels if level.odd]] = True
        return odd[self.level_codes(weight)]


class ScaledWeightQuantizer(IntegerWeightQuantizer):
    """Base of those that learn their scale, which training holds within reach of the weights.

    A scale that does not require a gradient is left as it is.

    Parameters
    ----------
    grid : Grid
        The levels.
    weight : float tensor
        The layer's weights, output channels first, from which the scale starts.
    per_channel : bool
        Whether each output channel learns a scale of its own.
    step_start : StepStart
        Where LSQ's step starts; an alpha starts at the least squared error.
    """

    def __init__(
        self,
        grid: Grid,
        weight: Tensor,
        *,
        per_channel: bool,
        step_start: StepStart = StepStart.LSQ,
    ) -> None:
        super().__init__(grid)
        self.step_start = step_start
        self.learned = PositiveParameter(per_output_channel(weight) if per_channel else ())
        self._start(self._initial(self._rows(weight)))

    def start(self, weight: Tensor, how: StepStart) -> None:
        """Let the scale start anew, from these weights."""
        self._start(self._scales(self._rows(weight), how))

    def _start(self, scales: Tensor) -> None:
        self.learned.initialize(scales.reshape(self.learned.value.shape))

    def _rows(self, weight: Tensor) -> Tensor:
        """The weights that share a scale, ``(R, K)``."""
        return weight.detach().reshape(self.learned.value.numel(), -1)

    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weights, in the shape and type of `weight`."""
        if self.training and self.learned.value.requires_grad:
            self._hold(self._rows(weight).float().abs())
        return self._quantize(weight)

    def _hold(self, magnitudes: Tensor) -> None:
        """Bring the scale back to where weights of magnitudes ``(R, K)`` need it."""
        self.learned.hold(magnitudes.mean(1) / self._highest, magnitudes.amax(1) / self._highest)

    @property
    @abstractmethod
    def _highest(self) -> float:
        """The highest level, in units of what is learned."""

    @abstractmethod
    def _quantize(self, weight: Tensor) -> Tensor:
        """The quantized weights, in the shape and type of `weight`."""

    @abstractmethod
    def _initial(self, rows: Tensor) -> Tensor:
        """The first values ``(R,)`` of what is learned, for rows of weights ``(R, K)``."""

    @abstractmethod
    def _scales(self, rows: Tensor, how: StepStart) -> Tensor:
        """The values ``(R,)`` that are chosen so for rows of weights ``(R, K)``."""

    def _gradient_scale(self, weight: Tensor) -> float:
        """``k**2 / sqrt(N * Qp)`` for N weights that share a scale k steps long; a step is one."""
        count = weight.numel() // self.learned.value.numel()
        largest = float(2 ** (self.grid.bits - 1) - 1)
        return (largest / self._highest) ** 2 / math.sqrt(count * largest)


class UniformWeightQuantizer(ScaledWeightQuantizer):
    """LSQ on weights: integers times a learned step (Eq. 1-2)."""

    def _initial(self, rows: Tensor) -> Tensor:
        return self._scales(rows, self.step_start)

    def _scales(self, rows: Tensor, how: StepStart) -> Tensor:
        return first_steps(rows, self.grid, how)

    def step(self) -> Tensor:
        """The step that acts."""
        step: Tensor = self.learned()
        return step

    @property
    def _highest(self) -> float:
        return self.grid.maximum

    def _quantize(self, weight: Tensor) -> Tensor:
        return round_uniform(
            weight,
            self.learned.value,
            self.grid.minimum,
            self.grid.maximum,
            floor=self.learned.floor,
            gradient_factor=self._gradient_scale(weight),
            loops=self.loops,
        )

    def scale(self) -> Tensor:
        """``step * 2**(bits - 1)``: the grid's levels are ``q * 2**-(bits - 1)``."""
        return uniform_scale(self.step().detach(), self.grid)

    def level_codes(self, weight: Tensor) -> Tensor:
        """The grid's codes of the quantized weights, int64, in the shape of `weight`."""
        return uniform_codes(weight, self.step(), self.grid)


def uniform_scale(step: Tensor, grid: Grid) -> Tensor:
    """What the levels of a grid of integers, ``q * 2**-(bits - 1)``, are multiplied by."""
    return step * 2.0 ** (grid.bits - 1)


@torch.no_grad()
def uniform_codes(weight: Tensor, step: Tensor, grid: Grid) -> Tensor:
    """The codes of the nearest integers times a step, clipped to a grid of integers, as int64."""
    return integer_codes(torch.round(weight / step), grid)


def integer_codes(integers: Tensor, grid: Grid) -> Tensor:
    """The codes of integers, clipped to a grid of integers, as int64."""
    places = integers.clamp(grid.minimum, grid.maximum).to(torch.int64) - grid.minimum
    codes = [level.code for level in grid.ordered_levels]
    return torch.tensor(codes, device=integers.device)[places]


class GridWeightQuantizer(ScaledWeightQuantizer):
    """Weights on a grid that is not uniform: ``alpha * nearest level of w / alpha`` (Eq. 3, 17)."""

    def _initial(self, rows: Tensor) -> Tensor:
        return self._scales(rows, StepStart.LEAST_SQUARES)

    def _scales(self, rows: Tensor, how: StepStart) -> Tensor:
        return initial_alphas(rows, self.grid, how)

    @property
    def _highest(self) -> float:
        return level_table(self.grid, self.learned.value).outermost[1]

    def _quantize(self, weight: Tensor) -> Tensor:
        alpha = self.learned.value
        return round_to_levels(
            weight,
            alpha,
            level_table(self.grid, alpha),
            floor=self.learned.floor,
            gradient_factor=self._gradient_scale(weight),
            loops=self.loops,
        )

    def scale(self) -> Tensor:
        """The alpha that acts."""
        alpha: Tensor = self.learned()
        return alpha.detach()

    def level_codes(self, weight: Tensor) -> Tensor:
        """The grid's codes of the quantized weights, int64, in the shape of `weight`."""
        with torch.no_grad():
            alpha = self.scale()
            codes = [level.code for level in self.grid.ordered_levels]
            nearest = level_table(self.grid, alpha).nearest(weight / alpha)
            return torch.tensor(codes, device=alpha.device)[nearest]


def make_weight_quantizer(
    grid: Grid, weight: Tensor, *, per_channel: bool
) -> ScaledWeightQuantizer:
    """Make the quantizer that fits a signed grid: LSQ's, or the nearest level's."""
    kind = GridWeightQuantizer if grid.scheme.integer_range is None else UniformWeightQuantizer
    return kind(grid, weight, per_channel=per_channel)
