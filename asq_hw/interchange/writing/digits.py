"""Integer weights as sums of narrower ones, whose products a narrower sum holds exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.validation import IntArray

__all__ = ["digits", "dot_reach", "fewest_digits"]


def digits(weights: IntArray, bits: int) -> list[IntArray]:
    """Signed digits of weights, the lowest first: ``weights = sum(digit[k] << (bits * k))``.

    Parameters
    ----------
    weights : int64 array
    bits : int
        Width of a digit, which is ``-2**(bits - 1) .. 2**(bits - 1) - 1``.

    Examples
    --------
    >>> [digit.tolist() for digit in digits(np.array([300, -1, 128]), 8)]
    [[44, -1, -128], [1, 0, 1]]
    """
    half, left = 1 << (bits - 1), weights
    found: list[IntArray] = []
    while not found or left.any():
        digit = ((left + half) & ((1 << bits) - 1)) - half
        found.append(digit)
        left = (left - digit) >> bits
    return found


def fewest_digits(
    weights: IntArray, fits: Callable[[IntArray], bool]
) -> tuple[int, list[IntArray]] | None:
    """The widest digits that all fit, with their width; None where no digits do.

    Parameters
    ----------
    weights : int64 array
    fits : callable
        Whether a digit of every weight can be summed up.
    """
    for bits in (33, 16, 11, 8, 6, 4, 3, 2):
        found = digits(weights, bits)
        if all(fits(digit) for digit in found):
            return bits, found
    return None


def dot_reach(weights: IntArray, codes: Grid) -> int:
    """Largest magnitude of any partial sum of products of weights (O, ...) and codes.

    Examples
    --------
    >>> from asq_hw.numbers.schemes import UNIFORM
    >>> dot_reach(np.array([[3, -1, 4]]), Grid(scheme=UNIFORM, bits=2, signed=False))
    21
    """
    ends = [weights.reshape(len(weights), -1) * end for end in (codes.minimum, codes.maximum)]
    high = np.maximum(*ends).clip(min=0).sum(axis=1).max()
    low = np.minimum(*ends).clip(max=0).sum(axis=1).min()
    return int(max(high, -low))
