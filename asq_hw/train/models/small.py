"""Networks for small images: the CIFAR family's ResNet-20, and one for digits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.train.models.blocks import BasicBlock, InvertedBlock, conv3x3, initialise

__all__ = ["DigitsNet", "ResNet20"]


class ResNet20(nn.Module):
    """ResNet-20 of the CIFAR family, with 1 x 1 convolutions where a shortcut changes shape.

    Parameters
    ----------
    width : int
        Channels of the first stage; the stages have ``width``, ``2 * width``, ``4 * width``.
    in_channels, num_classes : int
        Channels of the images, and how many classes they fall into.
    """

    def __init__(self, *, width: int = 16, in_channels: int = 3, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(width, width, stride=1)
        self.layer2 = self._stage(width, 2 * width, stride=2)
        self.layer3 = self._stage(2 * width, 4 * width, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, num_classes)
        initialise(self)

    @staticmethod
    def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        first = BasicBlock(in_channels, out_channels, stride)
        others = (BasicBlock(out_channels, out_channels, 1) for _ in range(2))
        return nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]  # as above


class DigitsNet(nn.Module):
    """A net for 8 x 8 digits that trains in seconds and holds every kind of layer we have.

    Dense, depthwise and pointwise convolution, ReLU and ReLU6, a linear bottleneck whose sum
    can be negative, maximum and average pooling.
    """

    def __init__(self, *, width: int = 16, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.block1 = InvertedBlock(width)
        self.conv2 = conv3x3(width, 2 * width)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(2)
        self.block2 = InvertedBlock(2 * width)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.block1(self.relu(self.bn1(self.conv1(x))))
        x = self.maxpool(self.relu(self.bn2(self.conv2(x))))
        x = self.relu(self.block2(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]  # as above
