"""PACT: a learned clip (Choi et al., arXiv:1805.06085)."""

from __future__ import annotations

from torch import Tensor

from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.methods.method import ActivationSettings
from asq_hw.train.quantizers.activations import OneStepActivationQuantizer
from asq_hw.train.quantizers.gradients import computed, with_gradient_of
from asq_hw.train.quantizers.initial_scales import initial_clip
from asq_hw.train.quantizers.observation import Observation
from asq_hw.train.quantizers.positive import PositiveParameter

__all__ = ["PactActivationQuantizer", "activation_quantizer"]


def activation_quantizer(settings: ActivationSettings) -> PactActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return PactActivationQuantizer(bits=settings.bits, signed=settings.signed)


class PactActivationQuantizer(OneStepActivationQuantizer):
    """PACT (Choi et al., arXiv:1805.06085, Eq. 1-3): a learned clip alpha.

    ``y = clip(x, 0, alpha)``, then ``round(y * (2**b - 1) / alpha) * alpha / (2**b - 1)``. The
    gradient to alpha is 1 where ``x >= alpha`` and 0 below; that to x passes inside. Alpha decays
    with the weights, as published. It starts where the first batch's squared error is least: from
    a large value, as published, it takes many epochs to come down. A signed input is clipped at
    ``Qn / Qp * alpha`` below.
    """

    def __init__(self, *, bits: int, signed: bool) -> None:
        super().__init__(bits=bits, signed=signed)
        self.alpha = PositiveParameter((), decays=True)

    def step(self) -> Tensor:
        """The step, ``alpha / Qp``."""
        alpha: Tensor = self.alpha()
        return alpha / self.grid.maximum

    def _start(self, seen: Observation, how: StepStart) -> None:
        self.alpha.initialize(seen.step(self.grid, how) * self.grid.maximum)

    def _initialize(self, x: Tensor) -> None:
        self.alpha.initialize(initial_clip(x, self.grid.maximum))

    def _quantize(self, x: Tensor) -> Tensor:
        alpha: Tensor = self.alpha()
        clipped = computed(x).clamp(alpha * (self.grid.minimum / self.grid.maximum), alpha)
        step = self.step().detach()
        codes = (clipped.detach() / step).round_().clamp_(self.grid.minimum, self.grid.maximum)
        return with_gradient_of(clipped, codes.mul_(step)).to(x.dtype)
