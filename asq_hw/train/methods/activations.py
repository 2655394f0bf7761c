"""Activation quantizers of the methods that the paper compares with.

Where a published method knows non-negative inputs only, a signed input gets the same formula on
two's complement codes, or on the magnitude; each class says which.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.train.methods.formulas import (
    DAQ_ACTIVATION_SIGMA,
    DSQ_ALPHA,
    distance_aware_round,
    interval_transform,
    soft_staircase_round,
    straight_round,
)
from asq_hw.train.quantizers.activations import (
    ActivationQuantizer,
    BaseActivationQuantizer,
    IntegerActivationQuantizer,
)
from asq_hw.train.quantizers.gradients import computed, scale_gradient, with_gradient_of
from asq_hw.train.quantizers.initial_scales import initial_clip
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.quantizers.rounding import round_uniform

__all__ = [
    "DaqActivationQuantizer",
    "DorefaActivationQuantizer",
    "DsqActivationQuantizer",
    "LsqPlusActivationQuantizer",
    "PactActivationQuantizer",
    "QilActivationQuantizer",
]


class LsqPlusActivationQuantizer(BaseActivationQuantizer):
    """LSQ+ on activations (Bhalgat et al., arXiv:2004.09576, Eq. 1-3): a learned offset.

    ``clip(round((x - o) / s), 0, 2**b - 1) * s + o``. The step's gradient is LSQ's; the offset's
    is 0 inside the range and 1 outside. Both start from the first batch's extremes. No integer
    form: the zeros that pad a convolution are no multiple of the step away from the offset, so
    it does not fold into the bias at the border.
    """

    def __init__(self, *, bits: int, signed: bool) -> None:
        super().__init__(bits=bits, signed=signed)
        self.learned = PositiveParameter(())
        self.offset = nn.Parameter(torch.zeros(()))
        self.largest_code = 2**bits - 1

    def _initialize(self, x: Tensor) -> None:
        lowest, highest = x.float().aminmax()
        step = (highest - lowest) / self.largest_code
        self.learned.initialize(torch.where(step > 0, step, torch.ones_like(step)))
        with torch.no_grad():
            self.offset.copy_(lowest)

    def _quantize(self, x: Tensor) -> Tensor:
        gradient_scale = self._gradient_scale(x)
        offset = scale_gradient(self.offset, gradient_scale)
        step = self.learned(gradient_scale)
        rounded = round_uniform(x - offset, step, 0, self.largest_code, loops=self.loops)
        return (rounded + offset).to(x.dtype)


class PactActivationQuantizer(IntegerActivationQuantizer):
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
        """Return the step, ``alpha / Qp``."""
        alpha: Tensor = self.alpha()
        return alpha / self.grid.maximum

    def _initialize(self, x: Tensor) -> None:
        self.alpha.initialize(initial_clip(x, self.grid.maximum))

    def _quantize(self, x: Tensor) -> Tensor:
        alpha: Tensor = self.alpha()
        clipped = computed(x).clamp(alpha * (self.grid.minimum / self.grid.maximum), alpha)
        step = self.step().detach()
        codes = (clipped.detach() / step).round_().clamp_(self.grid.minimum, self.grid.maximum)
        return with_gradient_of(clipped, codes.mul_(step)).to(x.dtype)


class DorefaActivationQuantizer(IntegerActivationQuantizer):
    """DoReFa on activations (Zhou et al., arXiv:1606.06160, Eq. 11); nothing is learned.

    ``quantize_k(clip(x, 0, 1))`` with ``quantize_k(r) = round((2**k - 1) r) / (2**k - 1)``, whose
    gradient passes straight through. A signed input keeps the step ``1 / Qp`` down to ``Qn``.
    """

    def step(self) -> Tensor:
        """Return the step, ``1 / Qp``."""
        return torch.tensor(1 / self.grid.maximum, device=self.is_initialised.device)

    def _initialize(self, x: Tensor) -> None:
        """Nothing depends on data."""

    def _quantize(self, x: Tensor) -> Tensor:
        largest = self.grid.maximum
        scaled = (computed(x) * largest).clamp(self.grid.minimum, largest)
        return (straight_round(scaled) * self.step()).to(x.dtype)


class QilActivationQuantizer(BaseActivationQuantizer):
    """QIL on activations (Jung et al., arXiv:1808.05779, Eq. 1-3): a learned interval.

    The interval, mapped onto 0 to 1 (gamma is 1 for activations), rounded to multiples of
    ``1 / (2**b - 1)``; for a signed input sign and magnitude apart, in multiples of
    ``1 / (2**(b - 1) - 1)``. It starts at 0 to the first batch's maximum; gradients have LSQ's
    scale (our choice). No integer form: the interval's start is an offset under the rounding.
    """

    def __init__(self, *, bits: int, signed: bool) -> None:
        super().__init__(bits=bits, signed=signed)
        # Checkpoints hold the center in this spelling.
        self.centre, self.radius = PositiveParameter(()), PositiveParameter(())

    def _initialize(self, x: Tensor) -> None:
        largest = x.float().abs().amax()
        half = torch.where(largest > 0, largest, torch.ones_like(largest)) / 2
        self.centre.initialize(half)
        self.radius.initialize(half)

    def _quantize(self, x: Tensor) -> Tensor:
        gradient_scale = self._gradient_scale(x)
        real = computed(x)
        magnitude = real.abs() if self.signed else real
        inside = interval_transform(
            magnitude, self.centre(gradient_scale), self.radius(gradient_scale)
        )
        signed = inside * real.detach().sign() if self.signed else inside
        return (straight_round(signed * self.grid.maximum) / self.grid.maximum).to(x.dtype)


class DsqActivationQuantizer(ActivationQuantizer):
    """DSQ on activations (Gong et al., arXiv:1908.05033); see `soft_staircase_round`.

    The interval and alpha are learned; the range is ``Qn`` to ``Qp`` intervals.
    """

    def __init__(self, *, bits: int, signed: bool) -> None:
        super().__init__(bits=bits, signed=signed)
        self.alpha = nn.Parameter(torch.tensor(DSQ_ALPHA))

    def _quantize(self, x: Tensor) -> Tensor:
        step: Tensor = self.learned(self._gradient_scale(x))
        ratio = (computed(x) / step).clamp(self.grid.minimum, self.grid.maximum)
        return (soft_staircase_round(ratio, self.alpha) * step).to(x.dtype)


class DaqActivationQuantizer(ActivationQuantizer):
    """DAQ on activations (Kim et al., arXiv:2108.06983); see `distance_aware_round`."""

    def _quantize(self, x: Tensor) -> Tensor:
        step: Tensor = self.learned(self._gradient_scale(x))
        ratio = (computed(x) / step).clamp(self.grid.minimum, self.grid.maximum)
        return (distance_aware_round(ratio, DAQ_ACTIVATION_SIGMA) * step).to(x.dtype)
