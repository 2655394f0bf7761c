"""Checks that every part of an integer network is made with, and the widths they hold it to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asq_hw.errors import InputError, check_range
from asq_hw.numbers.fixedpoint import integer_range

__all__ = [
    "ADAPTER_BITS",
    "BIAS_BITS",
    "CODE_BITS",
    "FEATURE_BITS",
    "MAX_NAME_LENGTH",
    "MAX_SHIFT",
    "MAX_WEIGHT_SHIFT",
    "MULTIPLIER_BITS",
    "STEP_BITS",
    "IntArray",
    "check_codes",
    "check_integers",
    "check_name",
    "check_pair",
    "check_range",
]

FEATURE_BITS = 16
"""Usual width of a feature map's integers; a format can have 4 to 24."""
STEP_BITS = 16
"""Width of an unsigned step size and of an adapter's unsigned hidden values."""
MULTIPLIER_BITS = 16
"""Width of a signed requantization multiplier and of an unsigned pooling multiplier."""
BIAS_BITS = 32
"""Width of every signed bias and offset."""
ADAPTER_BITS = 8
"""Width of the adapter's signed weights."""
CODE_BITS = 16
"""Width that codes are held in; those of the grids that weights can have fit 8 bits."""
MAX_SHIFT = 62
"""Largest right shift."""
MAX_WEIGHT_SHIFT = 31
"""Largest common shift of a grid whose weights still fit the executors' 64-bit arithmetic."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
MAX_NAME_LENGTH = 64
"""Most characters of a layer's or a network's name."""

IntArray = NDArray[np.int64]


def check_name(name: str) -> str:
    """Return `name` if it is letters, digits, ``_`` and inner dots, at most 64 characters."""
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InputError(
            f"a layer's name must be letters, digits, '_' and inner dots, at most "
            f"{MAX_NAME_LENGTH} characters, not {str(name)[:80]!r}",
            rule="R-name",
        )
    return name


def check_integers(
    what: str, values: ArrayLike, bits: int, ndim: int, *, signed: bool = True
) -> IntArray:
    """A read-only int64 copy of `values`, checked for kind, rank and width."""
    array = _integers(what, values, bits, ndim, signed=signed)
    copy = np.array(array, dtype=np.int64, order="C")
    copy.flags.writeable = False
    return copy


def check_codes(what: str, values: ArrayLike, ndim: int) -> NDArray[np.uint16]:
    """The same for codes; they are many, so they are never widened to 64 bits on the way."""
    array = _integers(what, values, CODE_BITS, ndim, signed=False)
    copy = np.array(array, dtype=np.uint16, order="C")
    copy.flags.writeable = False
    return copy


def _integers(
    what: str, values: ArrayLike, bits: int, ndim: int, *, signed: bool
) -> NDArray[np.integer[Any]]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise InputError(f"{what} must be integers, not {array.dtype}")
    if array.ndim != ndim or array.size == 0:
        raise InputError(f"{what} must have {ndim} dimensions and not be empty, not {array.shape}")
    low, high = integer_range(bits, signed=signed)
    if int(array.min()) < low or int(array.max()) > high:
        raise InputError(
            f"{what} must be in {low}..{high}, not {int(array.min())}..{int(array.max())}"
        )
    return array


def check_pair(what: str, values: Sequence[int], low: int, high: int) -> tuple[int, int]:
    """Return `values` as a pair of integers in ``low .. high``."""
    pair = tuple(values)
    if len(pair) != 2:
        raise InputError(f"{what} must be two integers (height, width), not {pair!r}")
    for value in pair:
        check_range(what, value, low, high)
    return pair[0], pair[1]
