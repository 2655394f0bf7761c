"""The adapter: how much wider or narrower than usual a sample's activations are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.activation import adapter_hidden_width
from asq_hw.checks import ADAPTER_BITS

__all__ = ["BETA_FLOOR", "Adapter", "fake_quantize_weight"]

BETA_FLOOR = 1 / 64
"""Smallest factor the adapter can give."""

_LARGEST_CODE = 2 ** (ADAPTER_BITS - 1) - 1


def weight_scale(weight: Tensor) -> Tensor:
    """Return the step of a symmetric signed 8-bit code: ``max|w| / 127``, or 1 if all is zero."""
    scale = weight.detach().abs().amax() / _LARGEST_CODE
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def fake_quantize_weight(weight: Tensor) -> Tensor:
    """Round a weight tensor to 8 bits; the gradient passes straight through."""
    rounded: Tensor = _RoundToCodes.apply(weight)  # type: ignore[no-untyped-call]  # torch's is
    return rounded


class _RoundToCodes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        scale = weight_scale(weight)
        return (weight / scale).round_().clamp_(-_LARGEST_CODE, _LARGEST_CODE).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Adapter(nn.Module):
    """Map a feature map to one positive factor for each sample, ``beta`` (paper, Eq. 4).

    Global average pooling, then Linear(C, C / 4), ReLU, Linear(C / 4, 1), ReLU, and a floor.
    Fewer than 8 channels get a single Linear(C, 1). The weights act as their 8-bit codes
    already during training, so an exported adapter is the trained one; biases stay real.

    Parameters
    ----------
    channels : int
        Channels C of the feature map.

    Attributes
    ----------
    hidden : nn.Linear or None
        The first linear layer, where there are two.
    output : nn.Linear
        The last one. It starts at beta = 1 for every input, but for small random weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = adapter_hidden_width(channels) or None
        self.hidden = None if reduced is None else nn.Linear(channels, reduced)
        self.output = nn.Linear(channels if reduced is None else reduced, 1)
        nn.init.normal_(self.output.weight, std=1e-3)
        nn.init.ones_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` or ``(N, C)`` to beta of shape ``(N,)``, at least `BETA_FLOOR`."""
        with torch.autocast(device_type=x.device.type, enabled=False):
            y = x.mean(dim=(2, 3), dtype=torch.float32) if x.dim() == 4 else x
            y = y.to(self.output.weight.dtype)
            if self.hidden is not None:
                weight = fake_quantize_weight(self.hidden.weight)
                y = functional.relu(functional.linear(y, weight, self.hidden.bias))
            y = functional.linear(y, fake_quantize_weight(self.output.weight), self.output.bias)
            return functional.relu(y).clamp(min=BETA_FLOOR).squeeze(1)

    def linear_layers(self) -> list[nn.Linear]:
        """Return the linear layers in the order they act."""
        return [self.output] if self.hidden is None else [self.hidden, self.output]
