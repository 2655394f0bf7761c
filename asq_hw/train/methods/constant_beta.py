"""ASQ's control: a learned constant in the adapter's place."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.methods.method import ActivationSettings
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.observation import Observation
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.quantizers.rounding import round_uniform

__all__ = ["ConstantBetaActivationQuantizer", "activation_quantizer"]


def activation_quantizer(settings: ActivationSettings) -> ConstantBetaActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return ConstantBetaActivationQuantizer(
        bits=settings.bits, signed=settings.signed, step_start=settings.step_start
    )


class ConstantBetaActivationQuantizer(ActivationQuantizer):
    """ASQ with one learned beta for all samples: it learns a step as ASQ does, and adapts nothing.

    The step ``beta * s`` has the gradients of Eq. 8 and 9: that of s is multiplied by LSQ's scale,
    that of beta is left as it is, as it is for the constant part of an adapter's beta. Exported, it
    is one fixed step.
    """

    def __init__(self, *, bits: int, signed: bool, step_start: StepStart = StepStart.LSQ) -> None:
        super().__init__(bits=bits, signed=signed, step_start=step_start)
        self.beta = PositiveParameter(())

    def _start(self, seen: Observation, how: StepStart) -> None:
        super()._start(seen, how)
        self.beta.initialize(torch.ones(()))

    def step(self) -> Tensor:
        """The step that acts, beta included, of shape ``()``."""
        step: Tensor = super().step() * self.beta()
        return step

    def factor_parameters(self) -> Iterator[nn.Parameter]:
        """Beta, which is learned in an adapter's place."""
        yield from self.beta.parameters()

    def _round(self, x: Tensor, ends: tuple[int, int], beta: Tensor | None) -> Tensor:
        step: Tensor = self.learned(self._gradient_scale(x)) * self.beta()
        return round_uniform(x, step, *ends, loops=self.loops)
