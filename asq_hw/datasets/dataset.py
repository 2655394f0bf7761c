"""Labelled images in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError

__all__ = ["Dataset", "Normalisation"]

Normalisation = float | tuple[float, ...]
"""One number, or one for each channel."""


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
        Names of the classes.
    mean, std : float, or tuple of C floats
        Mean and standard deviation of ``pixel / 255`` that the trainer normalises with.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    mean: Normalisation
    std: Normalisation

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
        """Return the number of images."""
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def first(self, count: int | None) -> Dataset:
        """Return the first `count` images; all of them for None."""
        if count is None or count >= len(self):
            return self
        labels = None if self.labels is None else self.labels[:count]
        return replace(self, images=self.images[:count], labels=labels)


def check_labels(name: str, labels: NDArray[np.int64], images: int, classes: int) -> None:
    """Refuse labels that do not fit their images or their classes."""
    if labels.dtype != np.int64 or labels.shape != (images,):
        raise InputError(
            f"{name} must have one int64 label for each of {images} images, "
            f"not {labels.dtype} {labels.shape}"
        )
    if images and not (labels.min() >= 0 and labels.max() < classes):
        raise InputError(f"{name} must have labels 0..{classes - 1}, not {int(labels.max())}")
