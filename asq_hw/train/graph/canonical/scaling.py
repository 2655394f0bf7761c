"""Factors and offsets of channels, taken over by the layer that makes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.train.graph.pointwise import ChannelScale

__all__ = ["channels_of", "scale_outputs"]


def channels_of(maker: nn.Module) -> int:
    """How many channels a layer's outputs have."""
    if isinstance(maker, nn.BatchNorm2d):
        return maker.num_features
    if isinstance(maker, ChannelScale):
        return maker.factors.numel()
    assert isinstance(maker, nn.Conv2d | nn.Linear)
    return maker.weight.shape[0]


@torch.no_grad()
def scale_outputs(maker: nn.Module, factors: Tensor, offsets: Tensor) -> None:
    """Let a layer's outputs be multiplied by factors, and offsets be added, one a channel."""
    if isinstance(maker, ChannelScale):
        maker.factors.mul_(factors)
        maker.offsets.mul_(factors).add_(offsets)
        return
    assert isinstance(maker, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    weight = maker.weight
    weight.mul_(factors.reshape(-1, *[1] * (weight.dim() - 1)))
    if maker.bias is None:
        maker.bias = nn.Parameter(torch.zeros(weight.shape[0]))
    maker.bias.mul_(factors).add_(offsets)
