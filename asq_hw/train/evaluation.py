"""What a network predicts, and how often it is right."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.train.data.batches import EVALUATION_BATCH, evaluation_batches, normalize
from asq_hw.train.data.changes import ImageChange
from asq_hw.train.distributed import Processes

__all__ = ["evaluate", "predict"]

_NO_CLASS = -1
"""What an image gets whose scores are not finite."""


@torch.inference_mode()
def predict(
    model: nn.Module,
    dataset: Dataset | ImageFolder,
    batch_size: int = EVALUATION_BATCH,
    *,
    processes: Processes | None = None,
    workers: int = 0,
    change: ImageChange | None = None,
) -> NDArray[np.int64]:
    """Return the class that the network gives each image, as int64 of shape ``(N,)``.

    The network runs in float32 and in evaluation mode, and is left in that mode.

    Parameters
    ----------
    model : nn.Module
        The network.
    dataset : Dataset or ImageFolder
        Images, labeled or not.
    batch_size : int
        Images at once.
    processes : Processes, optional
        Those that share the work; each gets all predictions.
    workers : int
        Processes that read images in folders; 0 reads them here.
    change : ImageChange, optional
        What is done to every image first.

    Raises
    ------
    InputError
        If a score is NaN or infinite.
    """
    processes = processes or Processes()
    model.eval()
    device = next(model.parameters()).device
    classes = torch.zeros(len(dataset), dtype=torch.int64)
    share = processes.share
    batches = evaluation_batches(dataset, batch_size=batch_size, share=share, workers=workers)
    for index, images in enumerate(batches):
        start = (index * share.processes + share.rank) * batch_size
        images = images if change is None else change(images)
        x = normalize(images.to(device), mean=dataset.mean, std=dataset.std)
        logits: Tensor = model(x)
        sound = logits.isfinite().all(dim=1)
        classes[start : start + batch_size] = logits.argmax(dim=1).where(sound, _NO_CLASS).cpu()
    # Every process learns of it, so that none waits for another that has stopped.
    found: NDArray[np.int64] = processes.reduce(classes).numpy()
    if (found < 0).any():
        raise InputError(
            f"the network's scores must be finite, and are not on {(found < 0).sum():,} of "
            f"{len(found):,} images of {dataset.name}"
        )
    return found


def evaluate(
    model: nn.Module,
    dataset: Dataset | ImageFolder,
    batch_size: int = EVALUATION_BATCH,
    *,
    processes: Processes | None = None,
    workers: int = 0,
    change: ImageChange | None = None,
) -> float:
    """Return the share of a labeled dataset that the network classifies right.

    Parameters are those of `predict`.

    Raises
    ------
    InputError
        If the dataset has no labels.
    """
    if dataset.labels is None:
        raise InputError(f"dataset {dataset.name} has no labels to evaluate with")
    found = predict(model, dataset, batch_size, processes=processes, workers=workers, change=change)
    return float(np.mean(found == dataset.labels))
