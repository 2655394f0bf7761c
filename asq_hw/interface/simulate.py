"""simulate: an integer network on images, bit-accurately, and how well it does."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asq_hw import sim
from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.datasets.fitting import DIGEST_LETTERS, ContentDigest, fitted
from asq_hw.errors import InputError
from asq_hw.interface.network import opened
from asq_hw.network.graph import IntegerNetwork
from asq_hw.sim.engine import check_images
from asq_hw.sim.results import SimulationResult
from asq_hw.train.data.loaders import Loader, float_batches
from asq_hw.train.data.pixels import integers_of

__all__ = ["Simulation", "simulate"]

Images = NDArray[Any] | Tensor | Dataset | ImageFolder | Loader


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulation(SimulationResult):
    """What an integer network computed.

    Attributes
    ----------
    top1 : float or None
        Share of the images that are classified right; None without labels or class scores.
    agreement : float or None
        Share that gets the class which the network before export gives; None where the integer
        network does not keep that of these very images.
    """

    top1: float | None
    agreement: float | None


def simulate(
    network: IntegerNetwork | str | os.PathLike[str],
    images: Images,
    labels: object = None,
    *,
    threads: int | None = None,
) -> Simulation:
    """Run images through an integer network; the result is the same bits everywhere.

    Parameters
    ----------
    network : IntegerNetwork, or path
        What `asq_hw.export` made, or a model file.
    images : array or tensor of shape (N, C, H, W) or (N, C), data set, or iterable
        Integers: pixels, uint8, or those of the network's input; or in floating point, or from a
        loader like that of `asq_hw.export`, what the network before export takes. That becomes
        integers in one way, in float32 (`asq_hw.InputFormat.integers`). A data set's classes are
        looked up by their names.
    labels : sequence of N integers, optional
        Of pixels: their classes. Data sets and loaders may have their own.
    threads : int, optional
        By default as many as there are processors.

    Returns
    -------
    Simulation
        Every output by name, scores and classes, accuracy, and what each layer counted.

    Raises
    ------
    InputError
        If images or labels do not fit the network, or a data set's classes are not its own.
    """
    chosen = opened(network)
    pixels, own = _pixels(chosen, images)
    if chosen.scores is None and labels is not None:
        raise InputError("labels are for class scores, and none of the network's outputs is")
    given = own if labels is None else labels
    wanted = _checked(given, len(pixels), chosen.score_count) if chosen.scores else None
    result = sim.simulate(chosen, pixels, threads=threads)
    reference = _reference(chosen, pixels)
    return Simulation(
        **{field.name: getattr(result, field.name) for field in fields(SimulationResult)},
        top1=None if wanted is None else float((result.predictions == wanted).mean()),
        agreement=None if reference is None else float((result.predictions == reference).mean()),
    )


def _pixels(network: IntegerNetwork, images: Images) -> tuple[NDArray[Any], object]:
    """Integers as the network takes them, and the labels that come with them."""
    if isinstance(images, Dataset | ImageFolder):
        return _of_dataset(network, images)
    if isinstance(images, Tensor) and not images.is_floating_point():
        images = images.detach().cpu().numpy()
    if isinstance(images, np.ndarray):
        if images.dtype.kind != "f":
            return check_images(network, images), None
        images = torch.from_numpy(images.astype(np.float32))
    if network.images is None:
        raise InputError("a network that does not tell its mean and std takes pixels alone")
    found, classes = [], []
    is_vector = network.image_shape[1:] == (1, 1)  # or maps of one position
    shape = None if is_vector else network.image_shape
    for batch in float_batches(images, shape=shape):
        found.append(integers_of(batch.images, network.images))
        classes.append(batch.labels)
    labels = [label.numpy() for label in classes if label is not None]
    return np.concatenate(found), np.concatenate(labels) if labels else None


def _of_dataset(
    network: IntegerNetwork, images: Dataset | ImageFolder
) -> tuple[NDArray[Any], object]:
    """A data set's pixels, and its labels as places in the network's classes."""
    if not network.input.takes_pixels:
        raise InputError(
            f"{network.name} takes integers of {network.input.bits} bits, which no data set holds"
        )
    own = fitted(images, network.image_shape, network.classes)
    is_known = network.classes or len(own.classes) in (0, network.score_count)
    if network.scores is not None and not is_known:
        raise InputError(
            f"{own.name} has {len(own.classes)} classes, and {network.name} does not name its own "
            f"{network.score_count}"
        )
    whole = own.load()
    return whole.images, whole.labels


def _checked(labels: object, count: int, scores: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    found = np.asarray(labels)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        raise InputError(
            f"labels must be one integer for each of {count} images, "
            f"not {found.dtype} {found.shape}"
        )
    classes = found.astype(np.int64)
    if count and not 0 <= classes.min() <= classes.max() < scores:
        wrong = next(label for label in classes.tolist() if not 0 <= label < scores)
        raise InputError(f"labels must be 0..{scores - 1} for {scores} scores, not {wrong}")
    return classes


def _reference(network: IntegerNetwork, pixels: NDArray[Any]) -> NDArray[np.uint16] | None:
    """What the network before export predicts for these very images."""
    if not network.references:
        return None
    digest = ContentDigest(network.image_shape)
    digest.add(pixels)
    end = digest.name("")[-DIGEST_LETTERS:]
    kept = (classes for key, classes in network.references.items() if key.endswith(f"-{end}"))
    return next((classes for classes in kept if len(classes) == len(pixels)), None)
