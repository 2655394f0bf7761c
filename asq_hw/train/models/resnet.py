"""Residual networks for images as large as ImageNet's, with torchvision's parameter names.

He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asq_hw.train.models.blocks import BasicBlock, initialise

__all__ = ["ResNet", "resnet18", "resnet34"]


class ResNet(nn.Module):
    """A stem that quarters the image, four stages of basic blocks, and a classifier.

    Parameters
    ----------
    blocks : sequence of int
        Blocks in each of the four stages.
    width : int
        Channels of the first stage; each further stage has twice as many.
    in_channels, num_classes : int
        Channels of the images, and how many classes they fall into.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        width: int = 64,
        in_channels: int = 3,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(width, width, blocks[0], stride=1)
        self.layer2 = _stage(width, 2 * width, blocks[1], stride=2)
        self.layer3 = _stage(2 * width, 4 * width, blocks[2], stride=2)
        self.layer4 = _stage(4 * width, 8 * width, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


def resnet18(*, width: int = 64, in_channels: int = 3, num_classes: int = 1000) -> ResNet:
    """Make ResNet-18."""
    return ResNet((2, 2, 2, 2), width=width, in_channels=in_channels, num_classes=num_classes)


def resnet34(*, width: int = 64, in_channels: int = 3, num_classes: int = 1000) -> ResNet:
    """Make ResNet-34."""
    return ResNet((3, 4, 6, 3), width=width, in_channels=in_channels, num_classes=num_classes)


def _stage(in_channels: int, out_channels: int, count: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(
        first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(count - 1))
    )
