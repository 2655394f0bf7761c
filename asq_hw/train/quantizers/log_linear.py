"""An adapter of C + 1 numbers: beta is 2 to a linear function of standardized channel means."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from asq_hw.train.methods.adapting import ADAPTER_START
from asq_hw.train.quantizers.adapter import BETA_FLOOR, Adapter, quantize_weight
from asq_hw.train.quantizers.gradients import bound_between, with_gradient_of

__all__ = ["LARGEST_EXPONENT", "LogLinearAdapter"]

LARGEST_EXPONENT = -math.log2(BETA_FLOOR)
"""Of beta, as a power of two; its negative is the smallest."""
_SHARE = 0.1
"""Of the way to a batch's means and deviations; batch norm's own."""
_LEAST_DEVIATION = 0.1
"""Smallest deviation that means are divided by, over the root mean square of all deviations."""


class LogLinearAdapter(Adapter):
    """``beta = 2 ** (b + sum over c of w_c * (m_c - mean_c) / deviation_c)``: C + 1 numbers.

    The mean of each channel's mean m_c, and its deviation times the root of C, start from the first
    batch and follow the others in training, as batch norm's running statistics do. They only set
    the pace at which the weights learn: a linear function of standardized means is a linear
    function of the means. With the root all weights together move beta as far in a step as b alone
    does. What acts in the place of ``w / deviation`` are
    signed 8-bit codes, already during training. Beta lies between `BETA_FLOOR` and its inverse;
    from these ends it can come back.

    Parameters
    ----------
    channels : int
        Channels C of the feature map.
    start : float
        Deviation of the weights at first.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int, *, start: float = ADAPTER_START) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.zeros(()))
        nn.init.normal_(self.weight, std=start)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def start(self, means: Tensor) -> None:
        """Take means and deviations from the first batch's channel means ``(N, C)``."""
        self._follow(means, 1.0)

    def _follow(self, means: Tensor, share: float) -> None:
        """Move means and deviations a share of the way to those of a batch."""
        deviation, mean = torch.std_mean(means.detach(), dim=0, correction=0)
        least = _LEAST_DEVIATION * deviation.square().mean().sqrt()
        deviation = torch.maximum(deviation, least)
        deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        self.mean.lerp_(mean.to(self.mean), share)
        self.deviation.lerp_((deviation * math.sqrt(len(deviation))).to(self.deviation), share)

    def slopes(self) -> Tensor:
        """What beta's logarithm changes by for each channel's mean, ``(C,)``, unrounded."""
        return self.weight / self.deviation.clone()  # the next batch changes it in place

    def _beta(self, means: Tensor) -> Tensor:
        if self.training:
            self._follow(means, _SHARE)
        slopes = self.slopes()
        acting = with_gradient_of(slopes, quantize_weight(slopes))
        exponent = (means.to(slopes.dtype) - self.mean) @ acting + self.bias
        return torch.exp2(bound_between(exponent, -LARGEST_EXPONENT, LARGEST_EXPONENT))
