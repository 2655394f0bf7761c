"""Files that come with the package, and what they are called where a file's path is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["PACKAGED_CHECKPOINTS", "PACKAGED_MODEL", "PACKAGED_MODELS", "checkpoint_path"]

_FOLDER: Final = Path(__file__).parents[1] / "bundled"

PACKAGED_MODEL: Final = _FOLDER / "fashion-mnist-resnet20-w4a4.asq"
"""A ResNet-20 with 4-bit POST weights and ASQ activations, trained on Fashion-MNIST."""

PACKAGED_MODELS: Final = {
    "bundled": PACKAGED_MODEL,
    "fashion-mnist": PACKAGED_MODEL,
    "cifar10": _FOLDER / "cifar10-resnet20-w4a4.asq",
}
"""Integer networks by name. CIFAR-10's is a full-width ResNet-20, quantized likewise."""

PACKAGED_CHECKPOINTS: Final = {"cifar10-resnet20-float": _FOLDER / "cifar10-resnet20-float.pt"}
"""Trained networks in full precision by the name of their recipe, for training to start from."""


def checkpoint_path(path: str | Path) -> Path:
    """Where the checkpoint is that a path, or the name of a packaged one, stands for.

    A file of that name is taken before the packaged one.
    """
    found = Path(path)
    return found if found.exists() else PACKAGED_CHECKPOINTS.get(str(path), found)
