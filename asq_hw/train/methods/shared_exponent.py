"""A power-of-two step from each sample's largest value, as in microscaling (MX) formats."""

from __future__ import annotations

import torch
from torch import Tensor

from asq_hw.train.methods.method import ActivationSettings
from asq_hw.train.quantizers.activations import IntegerActivationQuantizer
from asq_hw.train.quantizers.rounding import round_uniform

__all__ = ["SharedExponentActivationQuantizer", "activation_quantizer"]


def activation_quantizer(settings: ActivationSettings) -> SharedExponentActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return SharedExponentActivationQuantizer(bits=settings.bits, signed=settings.signed)


class SharedExponentActivationQuantizer(IntegerActivationQuantizer):
    """The scale of the OCP's MX formats (version 1.0, section 6.3), one for each sample.

    The step is ``2**(floor(log2(max|x|)) - m)``, m the exponent of the largest power of two among
    the codes: ``b - 1`` for unsigned ones and ``b - 2`` for signed ones. A sample of zeros counts
    as one up to 1. Nothing is learned, and no gradient goes through the step; that to x passes
    inside the range.
    """

    @property
    def is_adaptive(self) -> bool:
        """Whether each sample has a step of its own: always."""
        return True

    def steps(self, x: Tensor) -> Tensor:
        """The step of each sample of an input, ``(N,)``."""
        with torch.no_grad():
            largest = x.abs().amax(tuple(range(1, x.dim()))).float()
            largest = torch.where(largest > 0, largest, torch.ones_like(largest))
            exponents = torch.frexp(largest).exponent - self.grid.maximum.bit_length()
            return torch.ldexp(torch.ones_like(largest), exponents)

    def _initialize(self, x: Tensor) -> None:
        """Nothing depends on the first batch."""

    def _quantize(self, x: Tensor) -> Tensor:
        steps = self.steps(x).view(-1, *(1 for _ in x.shape[1:]))
        return round_uniform(x, steps, self.grid.minimum, self.grid.maximum, loops=self.loops)
