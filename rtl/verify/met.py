"""What a layer's unit meets in its network: operations, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asq_hw.numbers.fixedpoint import shift_right_half_up
from rtl.quantizer.of_layer import LayerUnits

__all__ = ["IMAGES", "Extent", "Integers", "Meets", "Met", "Traced", "rounded"]

IMAGES = 100
"""Images that are traced, unless another number is asked for."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of a network's tensors is met.

    Parameters
    ----------
    images : int
        That are run through it.
    whole : bool
        Whether every element of a layer's tensors is met, and not a drawn part.
    """

    images: int = IMAGES
    whole: bool = False

    def of(self, elements: int, most: int) -> int:
        """How many of so many elements are met, where a drawn part has `most`."""
        return elements if self.whole else min(elements, most)


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
    extent : Extent
        How much of them is to be met.
    """

    features: Integers
    steps: Integers
    codes: Integers
    sums: tuple[Integers, ...]
    outputs: Integers
    odd_codes: Integers | None = None
    extent: Extent = field(default_factory=Extent)


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
