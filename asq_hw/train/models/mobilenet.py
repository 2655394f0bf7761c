"""MobileNet-V2 with torchvision's parameter names.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.train.models.blocks import initialise

__all__ = ["MobileNetV2"]

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, first stride (Table 2)."""

_STEM = 32
_HEAD = 1280


class InvertedResidual(nn.Module):
    """Expand by a 1 x 1 convolution, filter each channel, project without a ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn_relu6(in_channels, hidden, kernel_size=1))
        layers.append(_conv_bn_relu6(hidden, hidden, stride=stride, groups=hidden))
        layers.append(nn.Conv2d(hidden, out_channels, 1, bias=False))
        layers.append(nn.BatchNorm2d(out_channels))
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C', H / stride, W / stride)``, which can be negative."""
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


class MobileNetV2(nn.Module):
    """MobileNet-V2.

    Parameters
    ----------
    width : int
        Channels of the stem: 32 in the paper's network. All other layers scale with it, in steps
        of 8 channels.
    in_channels, num_classes : int
        Channels of the images, and how many classes they fall into.
    """

    def __init__(
        self, *, width: int = _STEM, in_channels: int = 3, num_classes: int = 1000
    ) -> None:
        super().__init__()
        channels = _scaled(_STEM, width)
        features: list[nn.Module] = [_conv_bn_relu6(in_channels, channels, stride=2)]
        for expansion, stage_channels, blocks, first_stride in _STAGES:
            for block in range(blocks):
                stride = first_stride if block == 0 else 1
                out_channels = _scaled(stage_channels, width)
                features.append(InvertedResidual(channels, out_channels, stride, expansion))
                channels = out_channels
        head = max(_scaled(_HEAD, width), _HEAD)
        features.append(_conv_bn_relu6(channels, head, kernel_size=1))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(head, num_classes))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]


def _conv_bn_relu6(
    in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


def _scaled(channels: int, width: int) -> int:
    """Channels of a layer where the stem has `width`: a multiple of 8, at most 10 % fewer."""
    exact = channels * width / _STEM
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8
