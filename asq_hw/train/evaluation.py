"""What a network predicts, and how often it is right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.train.data.batches import EVALUATION_BATCH, evaluation_batches, normalize
from asq_hw.train.data.changes import ImageChange
from asq_hw.train.distributed import Processes

__all__ = ["Scores", "evaluate", "predict", "score"]

AnyDataset = Dataset | ImageFolder

_NO_CLASS = -1
"""What an image gets whose scores are not finite."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """What a network makes of labeled images.

    Parameters
    ----------
    right : bool array of shape (N,)
        Whether it classifies each image right.
    loss : float
        Mean cross entropy, in nats.
    """

    right: NDArray[np.bool_]
    loss: float

    @property
    def correct(self) -> int:
        """Images that are classified right."""
        return int(self.right.sum())

    @property
    def images(self) -> int:
        """All images."""
        return len(self.right)

    @property
    def top1(self) -> float:
        """Share of the images that are classified right."""
        return self.correct / self.images


@torch.inference_mode()
def predict(
    model: nn.Module,
    dataset: AnyDataset,
    batch_size: int = EVALUATION_BATCH,
    *,
    processes: Processes | None = None,
    workers: int = 0,
    change: ImageChange | None = None,
) -> NDArray[np.int64]:
    """The class that the network gives each image, as int64 of shape ``(N,)``.

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
    classes = torch.zeros(len(dataset), dtype=torch.int64)
    for start, logits in _logits(model, dataset, batch_size, processes, workers, change):
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


def _logits(
    model: nn.Module,
    dataset: AnyDataset,
    batch_size: int,
    processes: Processes,
    workers: int,
    change: ImageChange | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Yield this process' batches, each by its first image's place, with the network's scores."""
    model.eval()
    device = next(model.parameters()).device
    share = processes.share
    batches = evaluation_batches(dataset, batch_size=batch_size, share=share, workers=workers)
    for index, images in enumerate(batches):
        start = (index * share.processes + share.rank) * batch_size
        images = images if change is None else change(images)
        yield start, model(normalize(images.to(device), mean=dataset.mean, std=dataset.std))


@torch.inference_mode()
def score(
    model: nn.Module,
    dataset: AnyDataset,
    batch_size: int = EVALUATION_BATCH,
    *,
    workers: int = 0,
    change: ImageChange | None = None,
) -> Scores:
    """How often a network is right, and its loss, in one pass over labeled images.

    Parameters are those of `predict`.

    Raises
    ------
    InputError
        If the dataset has no labels, or the loss is not finite.
    """
    labels = torch.tensor(_labels(dataset))
    right, loss = torch.zeros(len(labels), dtype=torch.bool), 0.0
    for start, logits in _logits(model, dataset, batch_size, Processes(), workers, change):
        wanted = labels[start : start + len(logits)].to(logits.device)
        right[start : start + len(logits)] = (logits.argmax(dim=1) == wanted).cpu()
        loss += float(functional.cross_entropy(logits.double(), wanted, reduction="sum"))
    if not math.isfinite(loss):
        raise InputError(f"the network's loss on {dataset.name} must be finite, and is {loss}")
    return Scores(right=right.numpy(), loss=loss / len(labels))


def _labels(dataset: AnyDataset) -> NDArray[np.int64]:
    if dataset.labels is None:
        raise InputError(f"dataset {dataset.name} has no labels to evaluate with")
    return dataset.labels


def evaluate(
    model: nn.Module,
    dataset: AnyDataset,
    batch_size: int = EVALUATION_BATCH,
    *,
    processes: Processes | None = None,
    workers: int = 0,
    change: ImageChange | None = None,
) -> float:
    """The share of a labeled dataset that the network classifies right.

    Parameters are those of `predict`.

    Raises
    ------
    InputError
        If the dataset has no labels.
    """
    labels = _labels(dataset)
    found = predict(model, dataset, batch_size, processes=processes, workers=workers, change=change)
    return float(np.mean(found == labels))
