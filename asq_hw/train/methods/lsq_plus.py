"""LSQ+: another start, and for activations an offset (Bhalgat et al., arXiv:2004.09576)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.gradients import scale_gradient
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.quantizers.rounding import round_uniform
from asq_hw.train.quantizers.weights import UniformWeightQuantizer

__all__ = [
    "LsqPlusActivationQuantizer",
    "LsqPlusWeightQuantizer",
    "activation_quantizer",
    "weight_quantizer",
]


def weight_quantizer(weight: Tensor, settings: WeightSettings) -> LsqPlusWeightQuantizer:
    """Make the quantizer of a layer's weights."""
    return LsqPlusWeightQuantizer(settings.uniform_grid, weight, per_channel=settings.per_channel)


def activation_quantizer(settings: ActivationSettings) -> LsqPlusActivationQuantizer:
    """Make the quantizer of a layer's input."""
    return LsqPlusActivationQuantizer(bits=settings.bits, signed=settings.signed)


class LsqPlusWeightQuantizer(UniformWeightQuantizer):
    """LSQ+ on weights (Bhalgat et al., arXiv:2004.09576): LSQ, symmetric, from another start.

    The step starts at ``max(|mu - 3 sigma|, |mu + 3 sigma|) / 2**(b - 1)`` (its Eq. 4), mu and
    sigma the mean and the deviation of the weights.
    """

    def _initial(self, rows: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(rows, dim=1, correction=0)
        step = (mean.abs() + 3 * deviation) / 2 ** (self.grid.bits - 1)
        return torch.where(step > 0, step, torch.ones_like(step))


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
