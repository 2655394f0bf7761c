"""How large an integer can get, whatever the input, and whether the executors can hold it.

Widths are derived from the network's own weights and ranges, never assumed: each layer kind states
the bounds of its own arithmetic, and a network that could leave 64 bits is refused when it is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from asq_hw.errors import InputError
from asq_hw.numbers.fixedpoint import signed_width

__all__ = ["EXECUTOR_BITS", "Range", "check_fits"]

EXECUTOR_BITS = 64
"""Width of the executors' signed integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """All integers from `low` to `high`."""

    low: int
    high: int

    @property
    def bits(self) -> int:
        """Width of a two's complement register that holds them."""
        return signed_width(self.low, self.high)

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(-self.low, self.high)


def check_fits(name: str, what: str, magnitude: int) -> None:
    """Raise InputError if an integer of the layer `name` can leave the executors' width.

    `magnitude` bounds the absolute value of `what`.
    """
    bits = magnitude.bit_length() + 1
    if bits > EXECUTOR_BITS:
        raise InputError(
            f"{name}: the {what} needs {bits} bits; at most {EXECUTOR_BITS} can be computed",
            rule="L-width",
        )
