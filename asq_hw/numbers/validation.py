"""Checks that every part of an integer network is made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asq_hw.errors import InputError, check_range
from asq_hw.numbers.fixedpoint import integer_range
from asq_hw.numbers.widths import CODE_BITS

__all__ = ["IntArray", "check_codes", "check_integers", "check_pair"]

IntArray = NDArray[np.int64]


def check_integers(
    what: str, values: ArrayLike, bits: int, ndim: int, *, signed: bool = True
) -> IntArray:
    """A read-only int64 copy of `values`, checked for kind, rank and width.

    Parameters
    ----------
    what : str
        Their name in messages.
    values : array_like
        Integers.
    bits : int
        Width that they must fit.
    ndim : int
        Axes that they must have.
    signed : bool
        Whether they may be negative.
    """
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
    """`values` as a pair of integers in ``low .. high``.

    Parameters
    ----------
    what : str
        Their name in messages.
    values : sequence of int
        Height and width.
    low, high : int
        Both ends are allowed.
    """
    pair = tuple(values)
    if len(pair) != 2:
        raise InputError(f"{what} must be two integers (height, width), not {pair!r}")
    for value in pair:
        check_range(what, value, low, high)
    return pair[0], pair[1]
