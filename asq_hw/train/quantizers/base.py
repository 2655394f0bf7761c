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

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid, Scheme
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.quantizers.functions import (
    keep_positive,
    round_to_levels,
    round_uniform,
    with_channel_means,
)
from asq_hw.train.quantizers.initial_scales import initial_alpha, initial_step
from asq_hw.train.quantizers.levels import level_table
from asq_hw.train.quantizers.quantizer import Quantizer

__all__ = [
    "ActivationQuantizer",
    "BaseActivationQuantizer",
    "GridWeightQuantizer",
    "IntegerActivationQuantizer",
    "IntegerWeightQuantizer",
    "PositiveParameter",
    "ScaledWeightQuantizer",
    "UniformWeightQuantizer",
    "WeightQuantizer",
    "make_weight_quantizer",
    "per_output_channel",
    "uniform_codes",
]

FLOOR_FRACTION = 2.0**-10
"""Floor of a step or alpha, as a fraction of its initial value."""


def per_output_channel(weight: Tensor) -> tuple[int, ...]:
    """Shape of one number for each output channel, which broadcasts to that of `weight`."""
    return (len(weight), *(1 for _ in weight.shape[1:]))


class PositiveParameter(nn.Module):
    """A learned positive number, or one for each output channel.

    Parameters
    ----------
    shape : tuple of int
        ``()``, or one that broadcasts to that of the weights.
    decays : bool
        Whether weight decay acts on it.
    """

    floor: Tensor

    def __init__(self, shape: tuple[int, ...], *, decays: bool = False) -> None:
        super().__init__()
        self.decays = decays
        self.value = nn.Parameter(torch.ones(shape))
        self.register_buffer("floor", torch.full(shape, FLOOR_FRACTION))

    def initialise(self, value: Tensor) -> None:
        """Start from a value, and put the floor at a fraction of it."""
        with torch.no_grad():
            self.value.copy_(value)
            self.floor.copy_(value * FLOOR_FRACTION)

    def forward(self, gradient_scale: float = 1.0) -> Tensor:
        """Return what acts: always finite, and at least the floor."""
        return keep_positive(self.value, self.floor, gradient_scale)


class WeightQuantizer(ABC, Quantizer):
    """Base of all weight quantizers."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""


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
        """Return alpha: a quantized weight is alpha times the value of a level of the grid.

        A tensor of shape ``()``, or ``(O, 1, ...)`` with one entry for each output channel.
        """

    @abstractmethod
    def level_codes(self, weight: Tensor) -> Tensor:
        """Return the grid's codes of the quantized weights, int64, in the shape of `weight`."""


class ScaledWeightQuantizer(IntegerWeightQuantizer):
    """Base of those that learn their scale.

    Parameters
    ----------
    grid : Grid
        The levels.
    weight : float tensor
        The layer's weights, output channels first, from which the scale starts.
    per_channel : bool
        Whether each output channel learns a scale of its own.
    """

    def __init__(self, grid: Grid, weight: Tensor, *, per_channel: bool) -> None:
        super().__init__(grid)
        shape = per_output_channel(weight) if per_channel else ()
        self.learned = PositiveParameter(shape)
        channels = list(weight) if per_channel else [weight]
        values = torch.stack([self._initial(channel) for channel in channels])
        self.learned.initialise(values.reshape(shape))

    @abstractmethod
    def _initial(self, weight: Tensor) -> Tensor:
        """Return the first value of what is learned, for these weights."""

    def _gradient_scale(self, weight: Tensor) -> float:
        """LSQ's ``1 / sqrt(N * Qp)``, for N weights that share a step."""
        count = weight.numel() // self.learned.value.numel()
        return 1 / math.sqrt(count * self.grid.maximum)


class UniformWeightQuantizer(ScaledWeightQuantizer):
    """LSQ on weights: integers times a learned step (Eq. 1-2)."""

    def _initial(self, weight: Tensor) -> Tensor:
        return initial_step(weight, self.grid.maximum)

    def step(self) -> Tensor:
        """Return the step that acts."""
        step: Tensor = self.learned()
        return step

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""
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
        """Return ``step * 2**(bits - 1)``: a uniform grid's levels are ``q * 2**-(bits - 1)``."""
        return self.step().detach() * 2.0 ** (self.grid.bits - 1)

    def level_codes(self, weight: Tensor) -> Tensor:
        """Return the grid's two's complement codes, int64, in the shape of `weight`."""
        with torch.no_grad():
            return uniform_codes(torch.round(weight / self.step()), self.grid)


def uniform_codes(integers: Tensor, grid: Grid) -> Tensor:
    """Return the two's complement codes of integers, clipped to a uniform grid, as int64."""
    bounded = integers.clamp(grid.minimum, grid.maximum).to(torch.int64)
    return bounded.remainder(1 << grid.bits)


class GridWeightQuantizer(ScaledWeightQuantizer):
    """Weights on a grid that is not uniform: ``alpha * nearest level of w / alpha`` (Eq. 3, 17)."""

    def _initial(self, weight: Tensor) -> Tensor:
        return initial_alpha(weight, self.grid)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized weights, in the shape and type of `weight`."""
        alpha, floor = self.learned.value, self.learned.floor
        return round_to_levels(
            weight,
            alpha,
            level_table(self.grid, alpha),
            floor=floor,
            gradient_factor=1 / math.sqrt(weight.numel() // alpha.numel()),
            loops=self.loops,
        )

    def scale(self) -> Tensor:
        """Return the alpha that acts."""
        alpha: Tensor = self.learned()
        return alpha.detach()

    def level_codes(self, weight: Tensor) -> Tensor:
        """Return the grid's codes of the quantized weights, int64, in the shape of `weight`."""
        with torch.no_grad():
            alpha = self.scale()
            codes = [level.code for level in self.grid.ordered_levels]
            nearest = level_table(self.grid, alpha).nearest(weight / alpha)
            return torch.tensor(codes, device=alpha.device)[nearest]


def make_weight_quantizer(
    grid: Grid, weight: Tensor, *, per_channel: bool
) -> ScaledWeightQuantizer:
    """Make the quantizer that fits a signed grid: LSQ's, or the nearest level's."""
    uniform = grid.scheme is Scheme.UNIFORM
    kind = UniformWeightQuantizer if uniform else GridWeightQuantizer
    return kind(grid, weight, per_channel=per_channel)


class BaseActivationQuantizer(ABC, Quantizer):
    """Base of all activation quantizers; they start from the first training batch.

    Parameters
    ----------
    bits : int
        Width of the codes.
    signed : bool
        Whether the input can be negative.

    Attributes
    ----------
    grid : Grid
        The uniform grid of the codes.
    adapter : Adapter or None
        What adapts the step to each sample; ASQ has one.
    """

    is_initialised: Tensor
    adapter: Adapter | None

    def __init__(self, *, bits: int, signed: bool) -> None:
        super().__init__()
        self.grid = Grid(scheme=Scheme.UNIFORM, bits=bits, signed=signed)
        self.adapter = None
        self.register_buffer("is_initialised", torch.tensor(False))

    @property
    def bits(self) -> int:
        """Width of the codes."""
        return self.grid.bits

    @property
    def signed(self) -> bool:
        """Whether the codes can be negative."""
        return self.grid.signed

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantized input, in its own shape and type.

        Raises
        ------
        InputError
            If the network is evaluated before any training batch has been seen.
        """
        if not self.is_initialised:
            if not self.training:
                raise InputError(
                    "a quantized network must see a training batch before it is evaluated"
                )
            self._initialise(x.detach())
            self.is_initialised.fill_(True)
        return self._quantize(x)

    @abstractmethod
    def _initialise(self, x: Tensor) -> None:
        """Set what is learned from the first batch."""

    @abstractmethod
    def _quantize(self, x: Tensor) -> Tensor:
        """Return the quantized input."""

    def _gradient_scale(self, x: Tensor) -> float:
        """LSQ's ``1 / sqrt(N * Qp)``, for the N elements of a sample."""
        return 1 / math.sqrt(x.numel() // len(x) * self.grid.maximum)


class IntegerActivationQuantizer(BaseActivationQuantizer):
    """Base of those whose quantized activations are an integer code times a step."""

    @abstractmethod
    def step(self) -> Tensor:
        """Return the step that acts, of shape ``()``; with an adapter, before beta."""


class ActivationQuantizer(IntegerActivationQuantizer):
    """LSQ on activations, or with an adapter ASQ: one step for each sample (Eq. 4-6).

    Parameters
    ----------
    bits : int
        Width of the codes.
    signed : bool
        Whether the input can be negative.
    adapter : Adapter, optional
        Gives each sample's factor on the step.
    """

    def __init__(self, *, bits: int, signed: bool, adapter: Adapter | None = None) -> None:
        super().__init__(bits=bits, signed=signed)
        self.adapter = adapter
        self.learned = PositiveParameter(())

    def step(self) -> Tensor:
        """Return the step s that acts, of shape ``()``; with an adapter, before beta."""
        step: Tensor = self.learned()
        return step

    def _initialise(self, x: Tensor) -> None:
        self.learned.initialise(initial_step(x, self.grid.maximum))

    def _quantize(self, x: Tensor) -> Tensor:
        beta: Tensor | None = None
        if self.adapter is not None:
            x, means = with_channel_means(x) if x.dim() == 4 else (x, x)
            beta = self.adapter(means)
        return round_uniform(
            x,
            self.learned.value,
            self.grid.minimum,
            self.grid.maximum,
            beta=beta,
            floor=self.learned.floor,
            gradient_factor=self._gradient_scale(x),
            loops=self.loops,
        )
