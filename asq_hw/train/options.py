"""Choices and defaults of training and export that the command line shows; none needs torch."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["CALIBRATION_IMAGES", "Device"]

CALIBRATION_IMAGES = 1024
"""Training images that export chooses number formats from, unless told otherwise."""


class Device(StrEnum):
    """Where a network can be trained."""

    AUTO = "auto"
    """A GPU if there is one."""
    CPU = "cpu"
    CUDA = "cuda"
