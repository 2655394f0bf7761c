"""DoReFa: nothing is learned (Zhou et al., arXiv:1606.06160)."""

from __future__ import annotations

import torch
from torch import Tensor

from asq_hw.errors import InputError
from asq_hw.numbers.grids import MAX_BITS, Grid
from asq_hw.numbers.schemes import UNIFORM
from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import OneStepActivationQuantizer
from asq_hw.train.quantizers.gradients import computed, straight_round
from asq_hw.train.quantizers.weights import IntegerWeightQuantizer, integer_codes

__all__ = [
    "DorefaActivationQuantizer",
    "DorefaWeightQuantizer",
    "activation_quantizer",
    "weight_quantizer",
]


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> DorefaWeightQuantizer:
    """Make the quantizer of a layer's weights; all of them, whatever they are, get the same."""
    del weight
    return DorefaWeightQuantizer(settings.bits)


def activation_quantizer(settings: ActivationSettings) -> DorefaActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return DorefaActivationQuantizer(bits=settings.bits, signed=settings.signed)


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
        super().__init__(Grid(scheme=UNIFORM, bits=bits + 1))
        self.largest: int = 2**bits - 1

    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weights, in the shape and type of `weight`."""
        return self._integers(weight) / self.largest

    def _integers(self, weight: Tensor) -> Tensor:
        squashed = torch.tanh(weight)
        limit = squashed.abs().amax().clamp_min(torch.finfo(weight.dtype).tiny)
        index = straight_round((squashed / (2 * limit) + 0.5) * self.largest)
        return 2 * index - self.largest

    def scale(self) -> Tensor:
        """The scale of the grid's levels, the same for every layer."""
        return torch.tensor(2.0 ** (self.grid.bits - 1) / self.largest)

    def level_codes(self, weight: Tensor) -> Tensor:
        """The grid's two's complement codes, int64, in the shape of `weight`."""
        with torch.no_grad():
            return integer_codes(self._integers(weight), self.grid)


class DorefaActivationQuantizer(OneStepActivationQuantizer):
    """DoReFa on activations (Zhou et al., arXiv:1606.06160, Eq. 11); nothing is learned.

    ``quantize_k(clip(x, 0, 1))`` with ``quantize_k(r) = round((2**k - 1) r) / (2**k - 1)``, whose
    gradient passes straight through. A signed input keeps the step ``1 / Qp`` down to ``Qn``.
    """

    def step(self) -> Tensor:
        """The step, ``1 / Qp``."""
        return torch.tensor(1 / self.grid.maximum, device=self.is_initialised.device)

    def _initialize(self, x: Tensor) -> None:
        """Nothing depends on data."""

    def _quantize(self, x: Tensor) -> Tensor:
        largest = self.grid.maximum
        scaled = (computed(x) * largest).clamp(self.grid.minimum, largest)
        return (straight_round(scaled) * self.step()).to(x.dtype)
