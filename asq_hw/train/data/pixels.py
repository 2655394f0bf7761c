"""From images as a network takes them back to the pixels that they were."""

from __future__ import annotations

import torch
from torch import Tensor

from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec

__all__ = ["pixels_of"]

_MOST_OFF = 0.05
"""Of a pixel's unit; float32 is off by a thousandth."""


def pixels_of(images: Tensor, spec: ImageSpec) -> Tensor:
    """The pixels, uint8 ``(N, C, H, W)``, of images ``(pixel / 255 - mean) / std``.

    Raises
    ------
    InputError
        If they are no such images: another mean or deviation than theirs gives no whole pixels.
    """
    mean, std = (
        torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (spec.mean, spec.std)
    )
    exact = (images.detach().cpu().double() * std + mean) * 255
    pixels = exact.round()
    off = (exact - pixels).abs()
    if not bool((off <= _MOST_OFF).all()) or bool((pixels < 0).any() or (pixels > 255).any()):
        outside = (pixels < 0) | (pixels > 255)
        worst = exact[outside][0] if bool(outside.any()) else exact.flatten()[off.argmax()]
        raise InputError(
            "images must be (pixel / 255 - mean) / std with whole pixels 0..255, and with mean "
            f"{_shown(spec.mean)} and std {_shown(spec.std)} one is {float(worst):.2f}: give the "
            "loader's own mean and std, and round its images to 8 bits"
        )
    return pixels.to(torch.uint8)


def _shown(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
