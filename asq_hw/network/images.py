"""ImageSpec: which images a network takes, how it sees their pixels, and what its scores stand for.

All three belong to the network, not to the data that it happens to be run on: a checkpoint and a
model file carry them, and every data set is read as they say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from asq_hw.errors import InputError

__all__ = ["MAX_CLASS_NAME", "MAX_MAGNITUDE", "ImageSpec", "check_classes"]

MAX_CLASS_NAME = 200
"""Most characters of a class's name."""

MAX_MAGNITUDE = 1e6
"""Largest mean and deviation of ``pixel / 255``, and largest inverse of a deviation."""

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What a network takes its images for.

    Parameters
    ----------
    shape : tuple of int
        Channels, height and width of an image.
    mean, std : tuple of float
        Mean and standard deviation of ``pixel / 255`` for each channel; the network sees
        ``(pixel / 255 - mean) / std``.
    classes : tuple of str
        What each score stands for, in order; empty where that is not known.

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
