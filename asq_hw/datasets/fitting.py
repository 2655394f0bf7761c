"""A data set as a network takes it: images of its shape, labels by the names of its classes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asq_hw.datasets.dataset import Dataset, Normalization
from asq_hw.datasets.folders import ImageFolder
from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec

__all__ = ["DIGEST_LETTERS", "ContentDigest", "content_name", "fitted", "image_spec"]

Shape = tuple[int, int, int]
AnyDataset = Dataset | ImageFolder

DIGEST_LETTERS = 12
"""Of a content's digest, at the end of its name."""
_STEM_LETTERS = 40


def image_spec(dataset: AnyDataset, classes: int | None = None) -> ImageSpec:
    """The images that a network takes which is trained on a data set.

    Parameters
    ----------
    dataset : Dataset or ImageFolder
        What it is trained on.
    classes : int, optional
        How many classes there are, where the data set does not name them; they are then named
        ``0``, ``1`` and so on. By default as many as its labels show.
    """
    channels = dataset.image_shape[0]
    names = dataset.classes
    if not names and dataset.labels is not None:
        largest = int(dataset.labels.max(initial=0))
        names = tuple(str(label) for label in range(classes or largest + 1))
    return ImageSpec(
        shape=dataset.image_shape,
        mean=_by_channel(dataset.mean, channels),
        std=_by_channel(dataset.std, channels),
        classes=names,
    )


def _by_channel(value: Normalization, channels: int) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * channels


def fitted(dataset: AnyDataset, shape: Shape, classes: Sequence[str]) -> AnyDataset:
    """A data set whose labels are places in a network's classes.

    Parameters
    ----------
    dataset : Dataset or ImageFolder
        Any images. Where it names its classes, each is looked up by its name; where it does not,
        its labels are places already.
    shape : tuple of int
        Channels, height and width that the network takes.
    classes : sequence of str
        The network's classes; empty where they are not known, and labels stay as they are.

    Raises
    ------
    InputError
        If the images have another shape, a class is not among the network's, or a label is no
        place in them.
    """
    if dataset.image_shape != tuple(shape):
        raise InputError(
            f"{dataset.name} must have images of {_sizes(shape)}, as the network takes them, "
            f"not {_sizes(dataset.image_shape)}"
        )
    if not classes or dataset.labels is None:
        return dataset
    if not dataset.classes:
        largest = int(dataset.labels.max(initial=0))
        if largest >= len(classes):
            raise InputError(
                f"{dataset.name} must have labels 0..{len(classes) - 1}, as the network has "
                f"{len(classes)} classes, not {largest}"
            )
        return replace(dataset, classes=tuple(classes))
    places = np.array(_places(dataset, classes), dtype=np.int64)
    return replace(dataset, labels=places[dataset.labels], classes=tuple(classes))


def _places(dataset: AnyDataset, classes: Sequence[str]) -> list[int]:
    """Where each class of the data set stands among the network's."""
    known = {name: place for place, name in enumerate(classes)}
    unknown = [name for name in dataset.classes if name not in known]
    if unknown:
        shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
        raise InputError(
            f"{dataset.name} must have the classes that the network was trained on ({shown}), "
            f"not {unknown[0]!r}"
        )
    return [known[name] for name in dataset.classes]


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)


def content_name(dataset: AnyDataset) -> str:
    """A name for somebody's own data set: the end of its path, and a digest of its content.

    Arrays count with every pixel, images in folders with the names and sizes of their files. So a
    folder keeps its digest when it is moved, and another one of the same path has another.

    Raises
    ------
    InputError
        If a file cannot be looked at.
    """
    digest = ContentDigest(dataset.image_shape)
    for part in _content(dataset):
        digest.add(part)
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(dataset.name).resolve().name)
    return digest.name(stem.strip("_.-") or "images")


class ContentDigest:
    """The digest of images that come one batch after the other.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of each.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._digest = hashlib.sha256(repr(tuple(shape)).encode())

    def add(self, part: NDArray[np.generic]) -> None:
        """See what follows."""
        self._digest.update(np.ascontiguousarray(part).data)

    def name(self, stem: str) -> str:
        """A name that ends with the digest of all that was seen."""
        return f"{stem[:_STEM_LETTERS]}-{self._digest.hexdigest()[:DIGEST_LETTERS]}"


def _content(dataset: AnyDataset) -> tuple[NDArray[np.generic], ...]:
    if isinstance(dataset, Dataset):
        return (dataset.images,)
    return dataset.files.view(np.uint8), dataset.file_sizes()
