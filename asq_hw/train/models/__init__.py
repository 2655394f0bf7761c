"""The floating-point networks that can be trained.

Layers carry torchvision's names, activations are modules, and every network can be traced by
`torch.fx`, which is how conversion and export read it.
"""

from __future__ import annotations

from typing import assert_never

from torch import nn

from asq_hw.errors import InputError
from asq_hw.network import topologies
from asq_hw.network.topologies import TOPOLOGIES
from asq_hw.train.models.digits import DigitsNet
from asq_hw.train.models.mobilenet import MobileNetV2
from asq_hw.train.models.resnet import ResNet

__all__ = ["build", "names"]


def names() -> list[str]:
    """The networks that `build` knows."""
    return sorted(TOPOLOGIES)


def build(name: str, *, width: int, in_channels: int, num_classes: int) -> nn.Module:
    """Make a network with fresh weights from torch's global generator.

    Parameters
    ----------
    name : str
        One of `names`.
    width : int
        Channels of the first stage.
    in_channels, num_classes : int
        Channels of the images, and how many classes they fall into.

    Raises
    ------
    InputError
        If the name is unknown.

    Examples
    --------
    >>> import torch
    >>> model = build("resnet20", width=16, in_channels=3, num_classes=10)
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if name not in TOPOLOGIES:
        raise InputError(f"model must be one of {', '.join(names())}, not {name!r}")
    plan = TOPOLOGIES[name].plan(width=width, in_channels=in_channels, num_classes=num_classes)
    match plan:
        case topologies.resnet.ResNet():
            return ResNet(plan)
        case topologies.mobilenet.MobileNetV2():
            return MobileNetV2(plan)
        case topologies.digits.DigitsNet():
            return DigitsNet(plan)
    assert_never(plan)
