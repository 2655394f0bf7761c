"""LQ-Net: levels that are sums of a learned basis (Zhang et al., arXiv:1807.10029).

A b-bit code e gives the level ``v . e`` for a basis v of b real numbers. Weights take e from
{-1, 1}; activations from {0, 1}, so that zero is a level (a signed input from {-1, 1}). The basis
is not trained by gradients: each training step, one round of quantization error minimization
(its algorithm 1) assigns every value the nearest level, solves the least squares problem for v,
and moves the basis a tenth of the way. The gradient passes straight through. The levels are no
multiples of one step, so there is no integer form.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.gradients import with_gradient_of
from asq_hw.train.quantizers.initial_scales import initial_step
from asq_hw.train.quantizers.weights import WeightQuantizer, per_output_channel

__all__ = [
    "LearnedBasis",
    "LqNetActivationQuantizer",
    "LqNetWeightQuantizer",
    "activation_quantizer",
    "weight_quantizer",
]

_MOVING_AVERAGE = 0.9
_FIRST_ROUNDS = 10


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> LqNetWeightQuantizer:
    """Make the quantizer of a layer's weights."""
    return LqNetWeightQuantizer(settings.bits, weight, per_channel=settings.per_channel)


def activation_quantizer(settings: ActivationSettings) -> LqNetActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return LqNetActivationQuantizer(bits=settings.bits, signed=settings.signed)


class LearnedBasis(nn.Module):
    """Bases, one for each group of values, and their levels.

    Parameters
    ----------
    bits : int
        Numbers in a basis.
    signed : bool
        Whether codes are of -1 and 1, or of 0 and 1.
    groups : int
        How many bases there are.
    """

    basis: Tensor
    codes: Tensor

    def __init__(self, *, bits: int, signed: bool, groups: int) -> None:
        super().__init__()
        alphabet = (-1.0, 1.0) if signed else (0.0, 1.0)
        codes = torch.tensor(list(product(alphabet, repeat=bits)))
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("basis", torch.ones(groups, bits))

    def start(self, values: Tensor, step: Tensor) -> None:
        """Start from powers of two times a step, and fit them to values ``(groups, N)``."""
        powers = 2.0 ** torch.arange(self.basis.shape[1], device=values.device)
        self.basis.copy_(step.reshape(-1, 1) * powers)
        for _ in range(_FIRST_ROUNDS):
            self.basis.copy_(self._fitted(values))

    def follow(self, values: Tensor) -> None:
        """Move a tenth of the way to the basis that fits values ``(groups, N)``."""
        self.basis.lerp_(self._fitted(values), 1 - _MOVING_AVERAGE)

    def round(self, values: Tensor) -> Tensor:
        """The nearest level of each of values ``(groups, N)``."""
        levels, _ = self._levels()
        return levels.gather(1, self._nearest(values, levels))

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The lowest and the highest levels, each of shape ``(groups, 1)``."""
        levels, _ = self._levels()
        return levels[:, :1], levels[:, -1:]

    def _levels(self) -> tuple[Tensor, Tensor]:
        """Levels in ascending order, ``(groups, 2**bits)``, and the codes they come from."""
        levels, order = (self.basis @ self.codes.T).sort(dim=1)
        return levels, self.codes[order]

    @staticmethod
    def _nearest(values: Tensor, levels: Tensor) -> Tensor:
        return torch.searchsorted((levels[:, 1:] + levels[:, :-1]) / 2, values.contiguous())

    def _fitted(self, values: Tensor) -> Tensor:
        """The least squares basis for the values' present codes.

        Both sides of the normal equations need only how many values a level has, and their sum.
        """
        levels, codes = self._levels()
        nearest = self._nearest(values, levels)
        count = torch.zeros_like(levels).scatter_add_(1, nearest, torch.ones_like(values))
        total = torch.zeros_like(levels).scatter_add_(1, nearest, values)
        gram = torch.einsum("glk,gl,glm->gkm", codes, count, codes)
        right = torch.einsum("glk,gl->gk", codes, total)
        # The pseudoinverse, since a code that no value has can leave a direction open.
        inverse: Tensor = torch.linalg.pinv(gram.double(), hermitian=True)
        fitted = inverse @ right.double()[:, :, None]
        return fitted[:, :, 0].to(self.basis.dtype)


class LqNetWeightQuantizer(WeightQuantizer):
    """LQ-Net on weights, one basis for all or for each output channel."""

    def __init__(self, bits: int, weight: Tensor, *, per_channel: bool) -> None:
        super().__init__()
        self.groups = per_output_channel(weight)[0] if per_channel else 1
        self.basis = LearnedBasis(bits=bits, signed=True, groups=self.groups)
        values = weight.detach().reshape(self.groups, -1)
        steps = [initial_step(group, 2 ** (bits - 1)) / 2 for group in values]
        self.basis.start(values, torch.stack(steps))

    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weights, in the shape and type of `weight`."""
        values = weight.detach().reshape(self.groups, -1)
        rounded = self.basis.round(values)
        if self.training:
            self.basis.follow(values)
        return with_gradient_of(weight, rounded.reshape(weight.shape))


class LqNetActivationQuantizer(BaseActivationQuantizer):
    """LQ-Net on activations; the gradient stops outside the outermost levels."""

    def __init__(self, *, bits: int, signed: bool) -> None:
        super().__init__(bits=bits, signed=signed)
        self.basis = LearnedBasis(bits=bits, signed=signed, groups=1)

    def _initialize(self, x: Tensor) -> None:
        values = x.float().reshape(1, -1)
        step = initial_step(values, self.grid.maximum)
        self.basis.start(values, step / 2 if self.signed else step)

    def _quantize(self, x: Tensor) -> Tensor:
        values = x.detach().float().reshape(1, -1)
        rounded = self.basis.round(values).reshape(x.shape)
        low, high = (float(bound) for bound in self.basis.bounds())
        if self.training:
            self.basis.follow(values)
        return with_gradient_of(x.clamp(low, high), rounded.to(x.dtype))
