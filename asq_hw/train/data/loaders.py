"""Batches from anybody's loader: floating-point images as a network takes them, and labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from asq_hw.errors import InputError

__all__ = ["EvenSample", "FloatBatch", "Loader", "check_labels", "float_batches", "images_at_once"]

Loader = Iterable[object] | Tensor
"""Batches of images, or pairs (or more) that begin with images and labels; or one tensor."""

_AT_ONCE = 64
"""Images that a network gets together; larger batches are divided,"""
_PIXELS_AT_ONCE = 16 * 224 * 224
"""and so are those with more pixels: the maps behind them are larger."""


class FloatBatch(NamedTuple):
    """Images as the network sees them, float32 ``(N, C, H, W)``, and int64 labels ``(N,)``.

    Vectors are ``(N, C)``.
    """

    images: Tensor
    labels: Tensor | None


def float_batches(
    loader: Loader,
    *,
    shape: tuple[int, ...] | None = None,
    labeled: bool = False,
    limit: int | None = None,
    divided: bool = True,
) -> Iterator[FloatBatch]:
    """Yield what a loader does, checked, in batches that are not large.

    Parameters
    ----------
    loader : iterable of batches, or float tensor of shape (N, C, H, W), or (N, C) of vectors
        Nothing of it is changed.
    shape : tuple of int, optional
        ``(C, H, W)``, or ``(C,)`` of vectors, that the images must have; otherwise all must have
        that of the first.
    labeled : bool
        Whether labels are needed.
    limit : int, optional
        Stop after so many images.
    divided : bool
        Whether large batches are divided; else they are left as they come.

    Raises
    ------
    InputError
        If it is no iterable, yields nothing, or yields what is no batch of floating-point images;
        if images hold NaN or infinity, or have different shapes; if labels do not fit, or only
        some batches have them.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(f"limit must be an integer of at least 1, not {limit!r}")
    given: Iterable[object] = [loader] if isinstance(loader, Tensor) else loader
    if isinstance(given, str | bytes | dict) or not isinstance(given, Iterable):
        raise InputError(f"a loader must be an iterable of batches, not {type(given).__name__}")
    seen, first_labeled = 0, labeled
    for number, item in enumerate(given):
        images, labels = _read(item, number, labeled=labeled)
        first_labeled = labels is not None if number == 0 else first_labeled
        if (labels is not None) != first_labeled:
            wanted = "labels, as the first has" if first_labeled else "no labels, as the first"
            raise InputError(f"batch {number} of the loader must have {wanted}")
        shape = tuple(images.shape[1:]) if shape is None else shape
        if tuple(shape) != tuple(images.shape[1:]):
            raise InputError(
                f"batch {number} of the loader must hold images of shape {tuple(shape)}, "
                f"not {tuple(images.shape[1:])}"
            )
        room = len(images) if limit is None else min(len(images), limit - seen)
        step = images_at_once(images) if divided else max(room, 1)
        for start in range(0, room, step):
            part = slice(start, min(start + step, room))
            yield FloatBatch(images[part], None if labels is None else labels[part])
        seen += room
        if seen == limit:
            return
    if not seen:
        raise InputError("the loader yields nothing; it must yield batches of images")


def images_at_once(images: Tensor) -> int:
    """How many of images ``(N, C, H, W)``, or vectors ``(N, C)``, a network gets together."""
    return max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // math.prod(images.shape[2:])))


def _read(item: object, number: int, *, labeled: bool) -> FloatBatch:
    where = f"batch {number} of the loader"
    parts = list(item) if isinstance(item, tuple | list) else [item]
    images = _tensor(parts[0]) if parts else None
    if images is None or images.dim() not in (2, 4):
        found = type(parts[0] if parts else item).__name__
        found = found if images is None else f"a tensor of shape {tuple(images.shape)}"
        raise InputError(
            f"{where} must begin with images (N, C, H, W) or vectors (N, C), not {found}"
        )
    if not images.is_floating_point():
        raise InputError(
            f"{where} must hold images as the network takes them, in floating point, "
            f"not {str(images.dtype).removeprefix('torch.')}"
        )
    if not images.numel():
        raise InputError(f"{where} must hold images, not a tensor of shape {tuple(images.shape)}")
    images = images.detach().to(torch.float32)
    if not bool(torch.isfinite(images).all()):
        raise InputError(f"{where} must be finite, and holds NaN or infinity")
    labels = _labels(parts[1], where, len(images)) if len(parts) > 1 else None
    if labeled and labels is None:
        raise InputError(f"{where} must be a pair of images and labels, not images alone")
    return FloatBatch(images, labels)


def _tensor(value: object) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(value.copy())  # torch takes no read-only arrays
    return value if isinstance(value, Tensor) else None


def _labels(value: object, where: str, count: int) -> Tensor:
    labels = _tensor(value)
    if labels is None and isinstance(value, list | tuple) and all(type(v) is int for v in value):
        labels = torch.tensor(value)
    if labels is None or labels.is_floating_point() or labels.is_complex():
        found = type(value).__name__ if labels is None else str(labels.dtype)
        raise InputError(f"{where} must have integers for labels, not {found}")
    if tuple(labels.shape) != (count,):
        raise InputError(
            f"{where} must have one label for each of {count} images, not {tuple(labels.shape)}"
        )
    if labels.numel() and int(labels.min()) < 0:
        raise InputError(f"{where} must have labels from 0 on, not {int(labels.min())}")
    return labels.detach().to(torch.int64)


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise InputError unless labels are classes of a network of so many scores."""
    largest = int(labels.max())
    if largest >= classes:
        raise InputError(f"labels must be 0..{classes - 1} for {classes} scores, not {largest}")


class EvenSample:
    """A few of many images that come one after the other, at even distances.

    Parameters
    ----------
    most : int
        How many are kept, or up to half as many fewer.
    """

    def __init__(self, most: int) -> None:
        self.reach = 0.0
        """Largest magnitude of all of them."""
        self.most, self._every, self._seen = most, 1, 0
        self._kept: list[Tensor] = []

    def add(self, images: Tensor) -> None:
        """See images ``(N, C, H, W)``."""
        self.reach = max(self.reach, float(images.abs().max()))
        for image in images:
            if self._seen % self._every == 0:
                if len(self._kept) == self.most:
                    self._kept, self._every = self._kept[::2], 2 * self._every
                if self._seen % self._every == 0:
                    self._kept.append(image.detach().cpu().clone())
            self._seen += 1

    def images(self) -> Tensor:
        """What was kept, ``(M, C, H, W)``."""
        return torch.stack(self._kept)
