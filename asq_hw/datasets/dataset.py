"""Labelled images in memory."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError

__all__ = ["Dataset", "Normalization", "check_labels", "even_places"]

Normalization = float | tuple[float, ...]
"""One number, or one for each channel."""

_SEED = 0
"""Of the places that samples are drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images with their labels.

    Parameters
    ----------
    name : str
        Short name, or the folder it was read from.
    images : uint8 array of shape (N, C, H, W)
        Pixels, 0 to 255.
    labels : int64 array of shape (N,), or None
        Index into `classes`, where labels are known.
    classes : tuple of str
        Names of the classes; empty where the data has none, and labels are places.
    mean, std : float, or tuple of C floats
        Mean and standard deviation of ``pixel / 255`` that the trainer normalizes with.
    places : int64 array of shape (N,), or None
        Where each image stands in the data set that `sample` drew it from; None for a whole one.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    mean: Normalization
    std: Normalization
    places: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            shape, dtype = self.images.shape, self.images.dtype
            raise InputError(f"images must be uint8 (N, C, H, W), not {dtype} {shape}")
        for key in ("mean", "std"):
            value = getattr(self, key)
            if isinstance(value, tuple) and len(value) != self.images.shape[1]:
                raise InputError(
                    f"{key} must be one number, or one for each of {self.images.shape[1]} "
                    f"channels, not {len(value)}"
                )
        if self.labels is not None:
            check_labels(self.name, self.labels, len(self.images), len(self.classes))
        # Views: the caller's own arrays stay as they are.
        for key in ("images", "labels"):
            if getattr(self, key) is not None:
                view = getattr(self, key).view()
                view.setflags(write=False)
                object.__setattr__(self, key, view)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def first(self, count: int | None) -> Dataset:
        """The first `count` images; all of them for None."""
        return self._chosen(None if count is None or count >= len(self) else np.arange(count))

    def sample(self, count: int | None) -> Dataset:
        """`count` images drawn evenly from all (`even_places`); all of them for None."""
        return self._chosen(even_places(len(self), count))

    def load(self) -> Dataset:
        """Itself: the counterpart of what reads images in folders into memory."""
        return self

    def _chosen(self, places: NDArray[np.int64] | None) -> Dataset:
        if places is None:
            return self
        return replace(
            self,
            images=self.images[places],
            labels=None if self.labels is None else self.labels[places],
            places=places if self.places is None else self.places[places],
        )


def even_places(total: int, count: int | None) -> NDArray[np.int64] | None:
    """Draw `count` of `total` places, evenly and always the same ones; None for all of them.

    The places are divided into `count` runs as long as each other, give or take one, and one
    place is drawn from each run. So a data set that is sorted by class gives every class its
    share, and so does one whose classes take turns, where equal distances would not.
    """
    if count is None or count >= total:
        return None
    draw = random.Random(_SEED)  # its random() is the same in every version of Python
    starts = [index * total // count for index in range(count + 1)]
    return np.array(
        [low + int(draw.random() * (high - low)) for low, high in pairwise(starts)],
        dtype=np.int64,
    )


def check_labels(name: str, labels: NDArray[np.int64], images: int, classes: int) -> None:
    """Refuse labels that do not fit their images or their classes.

    Parameters
    ----------
    name : str
        The data set, in messages.
    labels : int64 (N,)
        Numbers of classes.
    images : int
        How many there are.
    classes : int
        How many there are; 0 if that is not known.
    """
    if labels.dtype != np.int64 or labels.shape != (images,):
        raise InputError(
            f"{name} must have one int64 label for each of {images} images, "
            f"not {labels.dtype} {labels.shape}"
        )
    if not images:
        return
    if labels.min() < 0:
        raise InputError(f"{name} must have labels from 0 on, not {int(labels.min())}")
    if classes and labels.max() >= classes:
        raise InputError(f"{name} must have labels 0..{classes - 1}, not {int(labels.max())}")
