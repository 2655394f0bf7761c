"""What networks are built of: convolutions from their plans, and first weights."""

from __future__ import annotations

from torch import nn

from asq_hw.network.topologies.layers import Convolution

__all__ = ["convolution", "initialize"]


def convolution(plan: Convolution) -> nn.Conv2d:
    """The convolution of a plan, without the batch norm behind it."""
    return nn.Conv2d(
        plan.in_channels,
        plan.out_channels,
        plan.kernel_size,
        stride=plan.stride,
        padding=plan.padding,
        groups=plan.groups,
        bias=False,
    )


def initialize(model: nn.Module) -> None:
    """Draw the weights of convolutions as He et al. do (arXiv:1502.01852), by outputs."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
