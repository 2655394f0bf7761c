"""MobileNet-V2 with torchvision's parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asq_hw.network.topologies import mobilenet as plans
from asq_hw.network.topologies.layers import Convolution
from asq_hw.train.models.blocks import convolution, initialize

__all__ = ["MobileNetV2"]

_DROPOUT = 0.2


class InvertedResidual(nn.Module):
    """Expand by a 1 x 1 convolution, filter each channel, project without a ReLU.

    Parameters
    ----------
    plan : asq_hw.network.topologies.mobilenet.InvertedResidual
        Its convolutions.
    """

    def __init__(self, plan: plans.InvertedResidual) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if plan.expand is not None:
            layers.append(_conv_bn_relu6(plan.expand))
        layers.append(_conv_bn_relu6(plan.depthwise))
        layers.append(convolution(plan.project))
        layers.append(nn.BatchNorm2d(plan.out_channels))
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = plan.has_shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C', H / stride, W / stride)``, which can be negative."""
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


class MobileNetV2(nn.Module):
    """MobileNet-V2.

    Parameters
    ----------
    plan : asq_hw.network.topologies.mobilenet.MobileNetV2
        What it is made of.
    """

    def __init__(self, plan: plans.MobileNetV2) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv_bn_relu6(plan.conv1),
            *(InvertedResidual(block) for block in plan.blocks),
            _conv_bn_relu6(plan.conv2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last = nn.Linear(plan.classifier.in_channels, plan.classifier.num_classes)
        self.classifier = nn.Sequential(nn.Dropout(_DROPOUT), last)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized images ``(N, C, H, W)`` to logits ``(N, num_classes)``."""
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]


def _conv_bn_relu6(plan: Convolution) -> nn.Sequential:
    return nn.Sequential(convolution(plan), nn.BatchNorm2d(plan.out_channels), nn.ReLU6())
