"""The network for digits, which holds every kind of layer that we have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.network.topologies import digits as plans
from asq_hw.train.models.blocks import convolution, initialize

__all__ = ["DigitsNet"]


class SeparableBlock(nn.Module):
    """Depthwise, then linear pointwise convolution, around a shortcut.

    Parameters
    ----------
    plan : asq_hw.network.topologies.digits.SeparableBlock
        Its convolutions.
    """

    def __init__(self, plan: plans.SeparableBlock) -> None:
        super().__init__()
        self.depthwise = convolution(plan.depthwise)
        self.bn1 = nn.BatchNorm2d(plan.channels)
        self.relu6 = nn.ReLU6()
        self.pointwise = convolution(plan.pointwise)
        self.bn2 = nn.BatchNorm2d(plan.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape; the result can be negative."""
        y = self.relu6(self.bn1(self.depthwise(x)))
        y = self.bn2(self.pointwise(y))
        return x + y  # type: ignore[no-any-return]  # nn.Module calls are Any


class DigitsNet(nn.Module):
    """Dense, depthwise and pointwise convolution, ReLU and ReLU6, maximum and average pooling.

    The sum of a linear bottleneck can be negative.

    Parameters
    ----------
    plan : asq_hw.network.topologies.digits.DigitsNet
        What it is made of.
    """

    def __init__(self, plan: plans.DigitsNet) -> None:
        super().__init__()
        self.conv1 = convolution(plan.conv1)
        self.bn1 = nn.BatchNorm2d(plan.conv1.out_channels)
        self.block1 = SeparableBlock(plan.block1)
        self.conv2 = convolution(plan.conv2)
        self.bn2 = nn.BatchNorm2d(plan.conv2.out_channels)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(plan.maxpool.kernel_size, stride=plan.maxpool.stride)
        self.block2 = SeparableBlock(plan.block2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(plan.classifier.in_channels, plan.classifier.num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.block1(self.relu(self.bn1(self.conv1(x))))
        x = self.maxpool(self.relu(self.bn2(self.conv2(x))))
        x = self.relu(self.block2(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]  # as above
