"""Networks of timm's, with random weights and the statistics of drawn images."""

from __future__ import annotations

import math
from types import ModuleType

import torch
from torch import Tensor, nn

__all__ = ["images", "network", "zoo"]

_MISSING = (
    "nms(Tensor a, Tensor b, float c) -> Tensor",
    "qnms(Tensor a, Tensor b, float c) -> Tensor",
)
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
"""Operators of torchvision's that its build for CUDA lacks beside a torch without; timm imports it,
and no network here calls them. They stay as long as this does."""


def zoo() -> ModuleType:
    """Timm."""
    for schema in _MISSING:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            _LIBRARY.define(schema)
    import timm

    return timm


def images(count: int, size: int, seed: int) -> Tensor:
    """Waves of any color, direction and length, as pixels: uint8 ``(count, 3, size, size)``."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(5, count, 3, 1, 1, generator=generator)
    y = torch.linspace(0, 1, size)[:, None]
    x = torch.linspace(0, 1, size)
    length, direction, start = 40 * drawn[0].square(), math.tau * drawn[1], math.tau * drawn[2]
    waves = torch.sin(length * (y * direction.cos() + x * direction.sin()) + start)
    values = drawn[3] + drawn[4] * waves / 2
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def network(name: str, seen: Tensor | None = None) -> nn.Module:
    """A network by timm's name; its batch norm has the statistics of the images that it saw."""
    torch.manual_seed(0)
    model: nn.Module = zoo().create_model(name, pretrained=False, num_classes=10)
    if seen is None:
        return model
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches, of which there is one
    with torch.no_grad():
        model.train()(seen)
    return model.eval()
