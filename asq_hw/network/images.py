"""ImageSpec: which images a network takes, how it sees their pixels, and what its scores stand for.

What is no image is one here too: a vector of n values is one of shape (n, 1, 1), whose pixels are
integers of any `InputFormat`. All of it belongs to the network, not to the data that it happens to
be run on: a checkpoint and a model file carry it, and every data set is read as they say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.network.input_format import PIXELS, InputFormat

__all__ = ["MAX_CLASS_NAME", "MAX_MAGNITUDE", "ImageSpec", "by_channel", "check_classes"]

MAX_CLASS_NAME = 200
"""Most characters of a class's name."""

MAX_MAGNITUDE = 1e6
"""Largest mean and deviation of ``pixel * step``, and largest inverse of a deviation."""

_MOST_OFF = 0.05
"""Of a pixel's unit; float32 is off by a thousandth."""

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What a network takes its images for.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of an image.
    mean, std : tuple of float
        Mean and standard deviation of ``pixel * step`` for each channel; the network sees
        ``(pixel * step - mean) / std``.
    classes : tuple of str
        What each score stands for, in order; empty where that is not known.
    format : InputFormat
        Which integers its pixels are, and what they stand for: the step is known. By default bytes
        of 0 to 255 and the step 1 / 255.

    Raises
    ------
    InputError
        If a size is below 1, a mean or deviation is missing, not finite or out of range, or a
        class has no name or another class's.
    """

    shape: Shape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()
    format: InputFormat = PIXELS

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(
                f"an image's shape must be (C, H, W), each at least 1, not {self.shape}"
            )
        object.__setattr__(self, "mean", _channels("mean", self.mean, self.shape[0]))
        object.__setattr__(self, "std", _channels("std", self.std, self.shape[0]))
        for value in self.std:
            if value < 1 / MAX_MAGNITUDE:
                raise InputError(f"std must be at least {1 / MAX_MAGNITUDE:g}, not {value!r}")
        object.__setattr__(self, "classes", check_classes(self.classes))
        if self.format.step is None:
            raise InputError("an input's step must be known where its values are described")

    def integers_of(self, values: NDArray[np.floating[Any]]) -> NDArray[np.integer[Any]]:
        """The integers of values ``(integer * step - mean) / std``.

        Pixels must be whole; of other values the integer is the nearest, by
        `asq_hw.network.input_format.InputFormat.integers`.

        Parameters
        ----------
        values : floating-point array of shape (N, C, H, W), or (N, C) of vectors
            Taken in double precision.

        Returns
        -------
        integer array of shape (N, C, H, W)

        Raises
        ------
        InputError
            If pixels are not whole, for which another mean or deviation than theirs is the usual
            reason; if an integer is out of range, or the shape is another one.
        """
        shape = values.shape[1:]
        if self.shape not in (shape, (*shape, 1, 1)):
            raise InputError(f"images must be (N, {str(self.shape)[1:]}, not {values.shape}")
        mean, std = (np.array(numbers)[:, None, None] for numbers in (self.mean, self.std))
        exact = values.astype(np.float64).reshape(-1, *self.shape) * std + mean
        if self.format == PIXELS:
            return self._pixels(exact * 255)
        return self.format.integers(exact)

    def _pixels(self, exact: NDArray[np.float64]) -> NDArray[np.uint8]:
        pixels = np.round(exact)
        off, outside = np.abs(exact - pixels), ~((pixels >= 0) & (pixels <= PIXELS.high))
        if outside.any() or not (off <= _MOST_OFF).all():
            worst = exact[outside][0] if outside.any() else exact.flat[off.argmax()]
            mean, std = (", ".join(f"{one:g}" for one in many) for many in (self.mean, self.std))
            raise InputError(
                "images must be (pixel / 255 - mean) / std with whole pixels 0..255, and with mean "
                f"{mean} and std {std} one is {worst:.2f}: give the loader's own mean and std, and "
                "round its images to 8 bits; or give another input format"
            )
        return pixels.astype(np.uint8)


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of classes as a tuple.

    Raises
    ------
    InputError
        If a name is empty, too long, holds a control character or is used twice.
    """
    seen: set[str] = set()
    for name in classes:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_CLASS_NAME or not _is_text(name):
            raise InputError(
                f"a class's name must be 1..{MAX_CLASS_NAME} printable characters, "
                f"not {str(name)[:80]!r}"
            )
        if name in seen:
            raise InputError(f"a class's name must be used once, not twice: {name!r}")
        seen.add(name)
    return tuple(classes)


def _is_text(name: str) -> bool:
    return all(letter.isprintable() for letter in name)


def by_channel(key: str, value: object, channels: int) -> tuple[float, ...]:
    """Numbers by channel, of one for all or one for each: a number, sequence, array or tensor.

    Raises
    ------
    InputError
        If they are no numbers, or neither one nor as many as there are channels, or not finite.
    """
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{key} must be numbers, not {value!r}") from None
    if found.ndim > 1:
        raise InputError(f"{key} must be one row of numbers, not an array of {found.shape}")
    numbers = found.reshape(-1).tolist()
    return _channels(key, numbers * channels if len(numbers) == 1 else numbers, channels)


def _channels(key: str, values: Sequence[float], channels: int) -> tuple[float, ...]:
    """One finite number for each channel."""
    if len(values) != channels:
        raise InputError(
            f"{key} must hold one number for each of {channels} channels, not {len(values)}"
        )
    for value in values:
        if not math.isfinite(value) or abs(value) > MAX_MAGNITUDE:
            raise InputError(f"{key} must be finite and at most {MAX_MAGNITUDE:g}, not {value!r}")
    return tuple(float(value) for value in values)
