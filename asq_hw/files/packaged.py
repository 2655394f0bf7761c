"""Files that come with the package."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PACKAGED_MODEL"]

PACKAGED_MODEL = Path(__file__).parents[1] / "bundled" / "fashion-mnist-resnet20-w4a4.asq"
"""The packaged network: a ResNet-20 with 4-bit POST weights, trained on Fashion-MNIST."""
