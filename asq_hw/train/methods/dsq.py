"""DSQ: gradients of a staircase of tanh (Gong et al., arXiv:1908.05033)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.numbers.grids import Grid
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.gradients import computed, with_gradient_of
from asq_hw.train.quantizers.weights import UniformWeightQuantizer

__all__ = [
    "DsqActivationQuantizer",
    "DsqWeightQuantizer",
    "activation_quantizer",
    "soft_staircase_round",
    "weight_quantizer",
]

_ALPHA = 0.2
"""DSQ's first characteristic variable."""
_ALPHA_RANGE = (0.01, 0.49)
"""Beyond, the staircase is as steep as the hard one, or no staircase any more."""


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> DsqWeightQuantizer:
    """Make the quantizer of a layer's weights."""
    return DsqWeightQuantizer(
        settings.uniform_grid,
        weight,
        per_channel=settings.per_channel,
        step_start=settings.step_start,
    )


def activation_quantizer(settings: ActivationSettings) -> DsqActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return DsqActivationQuantizer(
        bits=settings.bits, signed=settings.signed, step_start=settings.step_start
    )


class DsqWeightQuantizer(UniformWeightQuantizer):
    """DSQ on weights (Gong et al., arXiv:1908.05033); see `soft_staircase_round`.

    The interval Delta and alpha are learned. The paper learns both ends of the range; here it is
    ``Qn * Delta`` to ``Qp * Delta``, so that zero is a level and the codes fit their bits.

    Parameters are those of `UniformWeightQuantizer`.
    """

    def __init__(
        self,
        grid: Grid,
        weight: Tensor,
        *,
        per_channel: bool,
        step_start: StepStart = StepStart.LSQ,
    ) -> None:
        super().__init__(grid, weight, per_channel=per_channel, step_start=step_start)
        self.alpha = nn.Parameter(torch.tensor(_ALPHA))

    def _quantize(self, weight: Tensor) -> Tensor:
        step: Tensor = self.learned(self._gradient_scale(weight))
        ratio = (weight / step).clamp(self.grid.minimum, self.grid.maximum)
        return soft_staircase_round(ratio, self.alpha) * step


class DsqActivationQuantizer(ActivationQuantizer):
    """DSQ on activations (Gong et al., arXiv:1908.05033); see `soft_staircase_round`.

    The interval and alpha are learned; the range is ``Qn`` to ``Qp`` intervals.
    """

    has_odd_codes = False

    def __init__(self, *, bits: int, signed: bool, step_start: StepStart = StepStart.LSQ) -> None:
        super().__init__(bits=bits, signed=signed, step_start=step_start)
        self.alpha = nn.Parameter(torch.tensor(_ALPHA))

    def _quantize(self, x: Tensor) -> Tensor:
        step: Tensor = self.learned(self._gradient_scale(x))
        ratio = (computed(x) / step).clamp(self.grid.minimum, self.grid.maximum)
        return (soft_staircase_round(ratio, self.alpha) * step).to(x.dtype)


def soft_staircase_round(ratio: Tensor, alpha: Tensor) -> Tensor:
    """Round as DSQ does (Gong et al., arXiv:1908.05033, Eq. 3-8).

    Between the integers i and i + 1 the asymptotic function is
    ``phi = s * tanh(k * (r - i - 1/2))`` with ``s = 1 / (1 - alpha)`` and
    ``k = ln(2 / alpha - 1)`` in units of the interval, so that the pieces meet at the integers.
    Forward its sign counts, ``i + (sgn(phi) + 1) / 2``, which is rounding; backward the soft
    staircase ``i + (phi + 1) / 2`` stands in its place, for the input and for alpha.

    Parameters
    ----------
    ratio : float tensor
        The input in units of the interval, clipped.
    alpha : float tensor of shape ``()``
        The characteristic variable; smaller is steeper.
    """
    steep = alpha.clamp(*_ALPHA_RANGE)
    lower = ratio.detach().floor()
    slope = torch.log(2 / steep - 1)
    phi = torch.tanh(slope * (ratio - lower - 0.5)) / (1 - steep)
    return with_gradient_of(lower + (phi + 1) / 2, ratio.detach().round())
