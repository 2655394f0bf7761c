"""How often a network is right, and what its adapters do meanwhile."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from torch import nn

from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.train.data.changes import ImageChange
from asq_hw.train.distributed import Processes
from asq_hw.train.evaluation import evaluate
from asq_hw.train.inspection import constant_beta, require_real_beta
from asq_hw.train.run.log import Statistics, watch_betas

__all__ = ["Measured", "measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A network on labeled images.

    Parameters
    ----------
    top1 : float
        Share of the images that it classifies right.
    beta : dict of str to dict
        By layer with an adapter, ``min``, ``mean``, ``max`` and ``variation`` of what the adapter
        gave, the last being the deviation over the mean.
    """

    top1: float
    beta: Statistics


def measure(
    model: nn.Module,
    dataset: Dataset | ImageFolder,
    *,
    workers: int = 0,
    change: ImageChange | None = None,
    hold_beta: bool = False,
) -> Measured:
    """Measure a network.

    Parameters
    ----------
    model : nn.Module
        The network.
    dataset : Dataset or ImageFolder
        Labeled images.
    workers : int
        Processes that read images in folders; 0 reads them here.
    change : ImageChange, optional
        What is done to every image first.
    hold_beta : bool
        Whether each adapter gives its mean over these images to all of them; the statistics are
        those of the betas that it is the mean of.

    Raises
    ------
    InputError
        If the data set has no labels, or beta is to be held in a network without adapters, or in
        one that computes in integers.
    """
    if hold_beta:
        require_real_beta(model)
    top1, beta = _run(model, dataset, workers, change)
    if not hold_beta:
        return Measured(top1=top1, beta=beta)
    if not beta:
        raise InputError("hold-beta needs a network with adapters; this one has none")
    held = constant_beta(model, {layer: values["mean"] for layer, values in beta.items()})
    top1, _ = _run(model, dataset, workers, change, held)
    return Measured(top1=top1, beta=beta)


def _run(
    model: nn.Module,
    dataset: Dataset | ImageFolder,
    workers: int,
    change: ImageChange | None,
    during: AbstractContextManager[None] | None = None,
) -> tuple[float, Statistics]:
    with during or nullcontext(), watch_betas(model) as betas:
        top1 = evaluate(model, dataset, workers=workers, change=change)
    return top1, betas.result(Processes())
