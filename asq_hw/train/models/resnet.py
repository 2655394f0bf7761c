"""Residual networks, with torchvision's parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.network.topologies import resnet as plans
from asq_hw.train.models.blocks import convolution, initialize

__all__ = ["BasicBlock", "PaddedShortcut", "ResNet"]


class PaddedShortcut(nn.Module):
    """Each stride-th pixel, between channels of zeros: He et al.'s option A.

    Parameters
    ----------
    stride : int
        Of height and of width.
    before, behind : int
        Channels of zeros that are added.
    """

    def __init__(self, stride: int, before: int, behind: int) -> None:
        super().__init__()
        self.stride, self.before, self.behind = stride, before, behind

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, before + C + behind, H / stride, W / stride)``."""
        kept = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(kept, (0, 0, 0, 0, self.before, self.behind))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut.

    Parameters
    ----------
    plan : asq_hw.network.topologies.resnet.BasicBlock
        Its convolutions.
    """

    def __init__(self, plan: plans.BasicBlock) -> None:
        super().__init__()
        self.conv1 = convolution(plan.conv1)
        self.bn1 = nn.BatchNorm2d(plan.out_channels)
        self.relu = nn.ReLU()
        self.conv2 = convolution(plan.conv2)
        self.bn2 = nn.BatchNorm2d(plan.out_channels)
        self.downsample: nn.Module | None = None
        if plan.padding is not None:
            self.downsample = PaddedShortcut(plan.stride, *plan.padding)
        if plan.downsample is not None:
            self.downsample = nn.Sequential(
                convolution(plan.downsample), nn.BatchNorm2d(plan.out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C', H / stride, W / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + shortcut)  # type: ignore[no-any-return]  # nn.Module calls are Any


class ResNet(nn.Module):
    """A stem, stages of basic blocks, and a classifier.

    Parameters
    ----------
    plan : asq_hw.network.topologies.resnet.ResNet
        What it is made of.

    Attributes
    ----------
    layer1, layer2, ... : nn.Sequential
        The stages.
    """

    def __init__(self, plan: plans.ResNet) -> None:
        super().__init__()
        self.conv1 = convolution(plan.conv1)
        self.bn1 = nn.BatchNorm2d(plan.conv1.out_channels)
        self.relu = nn.ReLU()
        self.maxpool: nn.Module | None = None
        if plan.maxpool is not None:
            pool = plan.maxpool
            self.maxpool = nn.MaxPool2d(pool.kernel_size, stride=pool.stride, padding=pool.padding)
        self.stages = [f"layer{number}" for number in range(1, len(plan.stages) + 1)]
        for name, stage in zip(self.stages, plan.stages, strict=True):
            self.add_module(name, nn.Sequential(*(BasicBlock(block) for block in stage)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(plan.classifier.in_channels, plan.classifier.num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]
