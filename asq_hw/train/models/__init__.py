"""The floating-point networks that can be trained.

Layers carry torchvision's names, activations are modules, and every network can be traced by
`torch.fx`, which is how conversion and export read it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from asq_hw.errors import InputError
from asq_hw.train.models.mobilenet import MobileNetV2
from asq_hw.train.models.resnet import resnet18, resnet34
from asq_hw.train.models.small import DigitsNet, ResNet20

__all__ = ["build", "names"]

_MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet20": ResNet20,
    "mobilenetv2": MobileNetV2,
    "digits": DigitsNet,
}


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
