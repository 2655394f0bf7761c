"""Weight and activation quantizers with learned steps: LSQ, ASQ, and grids with a learned alpha.

Every step and alpha is positive by construction: what acts is the parameter where it lies
above a small floor fixed at its initialisation, and the floor where it does not.

Gradient scales. LSQ (arXiv:1902.08153) multiplies a step's gradient by ``1 / sqrt(N * Qp)``,
N the number of weights of the layer, or of elements of its input. For activations we count
the elements of one sample, since the loss is already a mean over samples. For ASQ the scale
is the step's alone (Eq. 8); beta's gradient (Eq. 9) is left as it is, so that the adapter learns
at the pace of a layer of its own. An alpha multiplies levels that end near 1, which stands in
the place of Qp: its scale is ``1 / sqrt(N)``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import lru_cache

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.grids import Grid, Scheme
from asq_hw.train.adapter import Adapter
from asq_hw.train.functions import (
    keep_positive,
    round_to_levels,
    round_uniform,
    scale_gradient,
)

__all__ = [
    "ActivationQuantizer",
    "GridWeightQuantizer",
    "UniformWeightQuantizer",
    "WeightQuantizer",
    "initial_alpha",
    "initial_step",
    "make_weight_quantizer",
]

FLOOR_FRACTION = 2.0**-10
"""Floor of a step or alpha, as a fraction of its initial value."""

_ALPHA_CANDIDATES = 64


def initial_step(x: Tensor, maximum: int) -> Tensor:
    """Return LSQ's first step, ``2 * mean|x| / sqrt(Qp)``, but no more than ``max|x| / Qp``.

    At 8 bits LSQ's formula reaches far beyond the data and would leave most codes unused;
    the bound is the step whose largest code is the largest value. All zero gives 1.
    """
    magnitude = x.detach().abs().to(torch.float32)
    step = torch.minimum(2 * magnitude.mean() / math.sqrt(maximum), magnitude.amax() / maximum)
    return torch.where(step > 0, step, torch.ones_like(step))


def initial_alpha(weight: Tensor, grid: Grid) -> Tensor:
    """Return the alpha, of 64 fractions of ``max|w|``, with the least squared error.

    All zero gives 1.
    """
    flat = weight.detach().flatten().to(torch.float32)
    largest = flat.abs().amax()
    if not largest > 0:
        return torch.ones_like(largest)
    levels, midpoints = _level_table(grid, flat.dtype)
    fractions = torch.arange(1, _ALPHA_CANDIDATES + 1) / _ALPHA_CANDIDATES
    candidates = fractions * largest / levels[-1]
    errors = [
        (levels[torch.bucketize(flat / alpha, midpoints)] * alpha - flat).square().sum()
        for alpha in candidates
    ]
    return candidates[torch.stack(errors).argmin()]


@lru_cache(maxsize=64)
def _level_table(grid: Grid, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Ascending values of a grid's levels, and the midpoints between them."""
    with torch.inference_mode(False):
        values = torch.tensor([level.value for level in grid.ordered_levels], dtype=torch.float64)
        return values.to(dtype), ((values[1:] + values[:-1]) / 2).to(dtype)


def _per_output_channel(weight: Tensor) -> tuple[int, ...]:
    return (len(weight), *(1 for _ in weight.shape[1:]))


class _PositiveParameter(nn.Module):
    """A learned positive number, or one for each output channel."""

    floor: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.ones(shape))
        self.register_buffer("floor", torch.full(shape, FLOOR_FRACTION))

    def initialise(self, value: Tensor) -> None:
        """Start from a value, and put the floor at a fraction of it."""
        with torch.no_grad():
            self.value.copy_(value)
            self.floor.copy_(value * FLOOR_FRACTION)

    def forward(self) -> Tensor:
        """Return what acts: always finite, and at least the floor."""
        return keep_positive(self.value, self.floor)


class WeightQuantizer(ABC, nn.Module):
    """Base of the weight quantizers.

    Parameters
    ----------
    grid : Grid
        The levels.
    weight : float tensor
        The layer's weights, output channels first, from which the scale starts.
    per_channel : bool
        Whether each output channel learns a scale of its own.

    Attributes
    ----------
    grid : Grid
        The levels.
    """

    def __init__(self, grid: Grid, weight: Tensor, *, per_channel: bool) -> None:
        super().__init__()
        self.grid = grid
        self.per_channel = per_channel
        shape = _per_output_channel(weight) if per_channel else ()
        self.learned = _PositiveParameter(shape)
        channels = list(weight) if per_channel else [weight]
        values = torch.stack([self._initial(channel) for channel in channels])
        self.learned.initialise(values.reshape(shape))

    @abstractmethod
    def _initial(self, weight: Tensor) -> Tensor:
        """Return the first scale of these weights."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""

    @abstractmethod
    def scale(self) -> Tensor:
        """Return alpha: a quantized weight is alpha times the value of a level of the grid.

        A tensor of shape ``()``, or ``(O, 1, ...)`` with one entry for each output channel.
        """

    @abstractmethod
    def level_codes(self, weight: Tensor) -> Tensor:
        """Return the grid's codes of the quantized weights, int64, in the shape of `weight`."""


class UniformWeightQuantizer(WeightQuantizer):
    """LSQ on weights: integers times a learned step (Eq. 1-2)."""

    def _initial(self, weight: Tensor) -> Tensor:
        return initial_step(weight, self.grid.maximum)

    def step(self) -> Tensor:
        """Return the step that acts."""
        step: Tensor = self.learned()
        return step

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""
        step = self.step()
        count = weight.numel() // step.numel()
        scaled = scale_gradient(step, 1 / math.sqrt(count * self.grid.maximum))
        return round_uniform(weight, scaled, self.grid.minimum, self.grid.maximum)

    def scale(self) -> Tensor:
        """Return ``step * 2**(bits - 1)``: a uniform grid's levels are ``q * 2**-(bits - 1)``."""
        return self.step().detach() * 2.0 ** (self.grid.bits - 1)

    def level_codes(self, weight: Tensor) -> Tensor:
        """Return the grid's two's complement codes, int64, in the shape of `weight`."""
        with torch.no_grad():
            integers = torch.round(weight / self.step())
            integers = integers.clamp(self.grid.minimum, self.grid.maximum).to(torch.int64)
            return integers.remainder(1 << self.grid.bits)


class GridWeightQuantizer(WeightQuantizer):
    """Weights on a grid that is not uniform: ``alpha * nearest level of w / alpha`` (Eq. 3, 17)."""

    def _initial(self, weight: Tensor) -> Tensor:
        return initial_alpha(weight, self.grid)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""
        alpha: Tensor = self.learned()
        levels, midpoints = _level_table(self.grid, alpha.dtype)
        scaled = scale_gradient(alpha, 1 / math.sqrt(weight.numel() // alpha.numel()))
        return round_to_levels(weight, scaled, levels, midpoints)

    def scale(self) -> Tensor:
        """Return the alpha that acts."""
        alpha: Tensor = self.learned()
        return alpha.detach()

    def level_codes(self, weight: Tensor) -> Tensor:
        """Return the grid's codes of the quantized weights, int64, in the shape of `weight`."""
        with torch.no_grad():
            alpha = self.scale()
            _, midpoints = _level_table(self.grid, alpha.dtype)
            codes = torch.tensor([level.code for level in self.grid.ordered_levels])
            return codes[torch.bucketize((weight / alpha).contiguous(), midpoints)]


def make_weight_quantizer(grid: Grid, weight: Tensor, *, per_channel: bool) -> WeightQuantizer:
    """Make the quantizer that fits a signed grid."""
    uniform = grid.scheme is Scheme.UNIFORM
    kind = UniformWeightQuantizer if uniform else GridWeightQuantizer
    return kind(grid, weight, per_channel=per_channel)


class ActivationQuantizer(nn.Module):
    """LSQ on activations, or with an adapter ASQ: one step for each sample (Eq. 4-6).

    The step starts from the first batch that is seen in training mode.

    Parameters
    ----------
    bits : int
        Width of the codes.
    signed : bool
        Whether the input can be negative.
    adapter : Adapter, optional
        Gives each sample's factor on the step.

    Attributes
    ----------
    grid : Grid
        The uniform grid of the codes.
    adapter : Adapter or None
        As given.
    """

    is_initialised: Tensor

    def __init__(self, *, bits: int, signed: bool, adapter: Adapter | None = None) -> None:
        super().__init__()
        self.grid = Grid(scheme=Scheme.UNIFORM, bits=bits, signed=signed)
        self.adapter = adapter
        self.learned = _PositiveParameter(())
        self.register_buffer("is_initialised", torch.tensor(False))

    @property
    def bits(self) -> int:
        """Width of the codes."""
        return self.grid.bits

    @property
    def signed(self) -> bool:
        """Whether the codes can be negative."""
        return self.grid.signed

    def step(self) -> Tensor:
        """Return the step s that acts, of shape ``()``; with an adapter, before beta."""
        step: Tensor = self.learned()
        return step

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantized input, in its own shape and type.

        Raises
        ------
        InputError
            If the network is evaluated before any training batch has set the step.
        """
        if not self.is_initialised:
            self._initialise(x)
        gradient_scale = 1 / math.sqrt(x[0].numel() * self.grid.maximum)
        step = scale_gradient(self.step(), gradient_scale)
        if self.adapter is not None:
            beta: Tensor = self.adapter(x)
            step = beta.reshape(-1, *(1 for _ in x.shape[1:])) * step
        return round_uniform(x, step, self.grid.minimum, self.grid.maximum)

    def _initialise(self, x: Tensor) -> None:
        if not self.training:
            raise InputError("a quantized network must see a training batch before it is evaluated")
        self.learned.initialise(initial_step(x, self.grid.maximum))
        self.is_initialised.fill_(True)
