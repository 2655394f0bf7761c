"""What a layer's unit meets in its network: operations, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.numbers.fixedpoint import shift_right_half_up
from rtl.quantizer.of_layer import LayerUnits

__all__ = ["Integers", "Meets", "Met", "Traced", "rounded"]

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traced:
    """A layer's tensors on some images, the sample first.

    Attributes
    ----------
    features : int64 (N, C, H, W)
        The feature map that the layer reads.
    steps : int64 (N,)
        The activations' steps.
    codes : int64 (N, C, H, W)
        The activations' codes.
    sums : tuple of int64 (N, ...) arrays
        Dot products: one accumulator, or even and odd sums.
    outputs : int64 (N, ...)
        The feature map that the layer writes.
    odd_codes : int64 (N, C, H, W), optional
        The activations' odd codes, where they have such.
    """

    features: Integers
    steps: Integers
    codes: Integers
    sums: tuple[Integers, ...]
    outputs: Integers
    odd_codes: Integers | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Met:
    """Operations for one unit, and what they must give.

    Attributes
    ----------
    rows : mapping of int64 (N,) arrays
        A value of each data input.
    expected : int64 (N,)
        The output; it counts where `known`.
    known : bool (N,)
        Where the simulator's tensors say what comes out.
    """

    rows: Mapping[str, Integers]
    expected: Integers
    known: NDArray[np.bool_]

    @property
    def traced(self) -> int:
        """Results that the simulator's tensors know."""
        return int(self.known.sum())


Meets = Callable[[LayerUnits, Traced, np.random.Generator], Met]
"""What a kind of unit meets of a layer that was traced; the generator draws what else can come."""


def rounded(values: Integers, multiplier: int, shift: int) -> Integers:
    """``rshift(multiplier * values, shift)`` on unbounded integers."""
    flat = values.reshape(-1).tolist()
    exact = [shift_right_half_up(value * multiplier, shift) for value in flat]
    return np.array(exact, dtype=np.int64).reshape(values.shape)
