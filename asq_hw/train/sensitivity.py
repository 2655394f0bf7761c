"""What a network predicts in double precision, and when its images are moved by next to nothing.

A step of a quantizer's staircase turns a difference of any size into one of a whole code, and
the layers behind it make more of it. These are the measures of how many classes that changes
before any integer comes in.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asq_hw.datasets import Dataset
from asq_hw.train.data.batches import evaluation_batches, normalize

__all__ = ["predict_in_double"]

_BATCH = 100


def predict_in_double(
    model: nn.Module, dataset: Dataset, *, nudge: float = 0.0, seed: int = 0
) -> NDArray[np.int64]:
    """The class of each image, computed in float64, as int64 of shape ``(N,)``.

    Parameters
    ----------
    model : nn.Module
        A network on the CPU; it is left as it is.
    dataset : Dataset
        The images.
    nudge : float
        Every pixel is moved at random by up to so many gray levels, up or down.
    seed : int
        Of the drawing.
    """
    double = copy.deepcopy(model).double().eval()
    generator = torch.Generator().manual_seed(seed)
    classes = []
    with torch.inference_mode():
        for pixels in evaluation_batches(dataset, batch_size=_BATCH):
            moved = torch.rand(pixels.shape, generator=generator, dtype=torch.float64)
            moved = pixels + nudge * (2 * moved - 1)
            x = normalize(moved, mean=dataset.mean, std=dataset.std)
            classes.append(double(x).argmax(dim=1))
    found: NDArray[np.int64] = torch.cat(classes).numpy()
    return found
