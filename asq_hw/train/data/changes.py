"""Test images that are brighter or of less contrast than those that a network was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from asq_hw.errors import InputError
from asq_hw.network.input_format import PIXELS

__all__ = ["ImageChange"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageChange:
    """Pixels times `brightness`; then their distance from the image's mean times `contrast`.

    Parameters
    ----------
    brightness, contrast : float
        Factors; 1 changes nothing.
    """

    brightness: float = 1.0
    contrast: float = 1.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise InputError(f"{name} must be a finite number of at least 0, not {value}")

    def __call__(self, images: Tensor) -> Tensor:
        """Changed images, uint8 ``(N, C, H, W)`` again: rounded, and clipped to 0..255."""
        if (self.brightness, self.contrast) == (1, 1):
            return images
        pixels = images.float() * self.brightness
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        pixels = (pixels - mean) * self.contrast + mean
        return pixels.round_().clamp_(0, PIXELS.high).to(images.dtype)
