"""InputFormat: the integers that a network is given, and the real values that they stand for.

The host makes integers of real values by one rule, `InputFormat.integers`; everything behind that
is the network's, in integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError, check_range

__all__ = ["MAX_INPUT_BITS", "MIN_INPUT_BITS", "PIXELS", "InputFormat"]

MIN_INPUT_BITS, MAX_INPUT_BITS = 2, 16
"""Widths of the integers that a network can be given."""

_SMALLEST_STEP, _LARGEST_STEP = Fraction(1, 10**12), Fraction(10**12)
_MOST_IN_RATIO = 10**28
"""So that neither number of the ratio has more than 40 digits."""
_BYTE = 8
_HEADROOM = 1.5
"""There is room for values this much larger than those that a step is found for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFormat:
    """Integers of `bits` bits, each of which stands for `step` times itself.

    Parameters
    ----------
    bits : int
        2 to 16.
    signed : bool
        Whether they are two's complement.
    step : Fraction, or float, int or str, or None
        A float is taken for the number that it is exactly. None where it is still to be found, of
        values that the network is calibrated with.

    Raises
    ------
    InputError
        If the width or the step is out of range.

    Examples
    --------
    >>> InputFormat(bits=12, step=Fraction(1, 4095)).high
    4095
    >>> InputFormat(bits=4, signed=True, step=0.5).integers(np.array([-4.0, 1.25, 3.6])).tolist()
    [-8, 3, 7]
    """

    bits: int
    signed: bool = False
    step: Fraction | None = None

    def __post_init__(self) -> None:
        check_range("an input's bits", self.bits, MIN_INPUT_BITS, MAX_INPUT_BITS)
        if not isinstance(self.signed, bool):
            raise InputError(f"an input's signed must be True or False, not {self.signed!r}")
        if self.step is not None:
            object.__setattr__(self, "step", _exact(self.step))

    @property
    def low(self) -> int:
        """The smallest integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The largest integer."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def dtype(self) -> np.dtype[np.integer[Any]]:
        """The narrowest type of whole bytes that holds them, little endian."""
        return np.dtype(f"{'<i' if self.signed else '<u'}{1 if self.bits <= _BYTE else 2}")

    def checked(self, values: NDArray[Any]) -> NDArray[np.integer[Any]]:
        """Integers as an array of `dtype`.

        Raises
        ------
        InputError
            If it is no array of integers, or one of them is out of range.
        """
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
            kind = getattr(values, "dtype", type(values).__name__)
            raise InputError(f"an input's values must be an array of integers, not {kind}")
        beyond = (values < self.low) | (values > self.high)
        if beyond.any():
            place, value = _first(beyond, values)
            raise InputError(
                f"an input's values must be {self.low}..{self.high}, not {value} at {place}"
            )
        return values.astype(self.dtype, copy=False)

    def integers(self, values: NDArray[np.floating[Any]]) -> NDArray[np.integer[Any]]:
        """The integers that stand for real values: ``floor(value / step + 1/2)`` in float64.

        Raises
        ------
        InputError
            If a value is not finite, or its integer is out of range: what the network was never
            meant for is not clipped without a word.
        """
        step = self.real_step
        found = np.floor(np.asarray(values, dtype=np.float64) / step + 0.5)
        beyond = ~((found >= self.low) & (found <= self.high))
        if beyond.any():
            place, value = _first(beyond, values)
            lowest, highest = (end * step for end in (self.low, self.high))
            raise InputError(
                f"an input's values must be {lowest:g}..{highest:g}, that is "
                f"{self.low}..{self.high} steps of {step:g}, not {value} at {place}"
            )
        return found.astype(self.dtype)

    def with_step_for(self, reach: float) -> InputFormat:
        """The same format; where it has no step, with one for values of a magnitude `reach`.

        That is the smallest power of two with which there is half as much room again.

        Raises
        ------
        InputError
            If the step is to be found, and `reach` is not positive and finite.
        """
        if self.step is not None:
            return self
        if not 0 < reach < math.inf:
            raise InputError(f"values must be finite, and not all 0, to find a step, not {reach}")
        exponent = math.ceil(math.log2(reach * _HEADROOM / self.high))
        return replace(self, step=Fraction(2) ** exponent)

    @property
    def real_step(self) -> float:
        """The step as the nearest float.

        Raises
        ------
        InputError
            If it is not known.
        """
        if self.step is None:
            raise InputError("an input's step must be known before values become integers")
        return float(self.step)


def _exact(step: Any) -> Fraction:
    try:
        exact = Fraction(step)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        raise InputError(f"an input's step must be a finite number, not {step!r}") from None
    if not _SMALLEST_STEP <= exact <= _LARGEST_STEP or exact.denominator > _MOST_IN_RATIO:
        raise InputError(
            f"an input's step must be {float(_SMALLEST_STEP):g}..{float(_LARGEST_STEP):g}, and a "
            f"ratio of numbers of 40 digits, not {step!r}"
        )
    return exact


def _first(where: NDArray[np.bool_], values: NDArray[Any]) -> tuple[list[int], Any]:
    """Place and value of the first element that `where` marks."""
    place = tuple(int(i) for i in np.argwhere(where)[0])
    return list(place), values[place].item()


PIXELS = InputFormat(bits=8, step=Fraction(1, 255))
"""Bytes of 0 to 255, which stand for 0 to 1: what a network takes if nothing else is said."""
