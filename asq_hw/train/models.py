"""The floating-point networks that can be trained.

Layers carry torchvision's names, activations are modules, and every network can be traced by
`torch.fx`, which is how conversion and export read it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError

__all__ = ["DigitsNet", "ResNet20", "build", "names"]


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=1, groups=groups, bias=False
    )


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al., arXiv:1512.03385)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.conv2 = _conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C', H / stride, W / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + shortcut)  # type: ignore[no-any-return]  # nn.Module calls are Any


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
        self.conv1 = _conv3x3(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(width, width, stride=1)
        self.layer2 = self._stage(width, 2 * width, stride=2)
        self.layer3 = self._stage(2 * width, 4 * width, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, num_classes)
        _initialise(self)

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


class InvertedBlock(nn.Module):
    """Depthwise then linear pointwise convolution around a shortcut, MobileNet-V2's shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = _conv3x3(channels, channels, groups=channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu6 = nn.ReLU6()
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape; the result can be negative."""
        y = self.relu6(self.bn1(self.depthwise(x)))
        y = self.bn2(self.pointwise(y))
        return x + y  # type: ignore[no-any-return]  # nn.Module calls are Any


class DigitsNet(nn.Module):
    """A net for 8 x 8 digits that trains in seconds and holds every kind of layer we have.

    Dense, depthwise and pointwise convolution, ReLU and ReLU6, a linear bottleneck whose sum
    can be negative, maximum and average pooling.
    """

    def __init__(self, *, width: int = 16, in_channels: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.block1 = InvertedBlock(width)
        self.conv2 = _conv3x3(width, 2 * width)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(2)
        self.block2 = InvertedBlock(2 * width)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * width, num_classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.block1(self.relu(self.bn1(self.conv1(x))))
        x = self.maxpool(self.relu(self.bn2(self.conv2(x))))
        x = self.relu(self.block2(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]  # as above


_MODELS: dict[str, Callable[..., nn.Module]] = {"resnet20": ResNet20, "digits": DigitsNet}


def names() -> list[str]:
    """Return the networks that `build` knows."""
    return sorted(_MODELS)


def build(name: str, *, width: int, in_channels: int, num_classes: int) -> nn.Module:
    """Make a network with fresh weights from torch's global generator.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if name not in _MODELS:
        raise InputError(f"model must be one of {', '.join(names())}, not {name!r}")
    return _MODELS[name](width=width, in_channels=in_channels, num_classes=num_classes)


def _initialise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
