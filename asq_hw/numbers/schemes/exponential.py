"""What power-of-two and power-of-root-two grids have in common: signed powers of one base."""

from __future__ import annotations

from collections.abc import Callable

from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.levels import Level
from asq_hw.numbers.schemes.scheme import GridShape

__all__ = ["ENCODINGS", "Power", "exponential_levels"]

ENCODINGS = (Encoding.PACKED, Encoding.PAPER, Encoding.ZERO_FREE)

Power = Callable[[int], tuple[int, int, int]]
"""From n to ``base**-n`` as (even, odd, shift)."""


def exponential_levels(shape: GridShape, power: Power) -> list[Level]:
    """Sign bit above an index that grows with the magnitude; index 0 is zero unless zero-free."""
    magnitudes = 1 << (shape.bits - 1)
    index_bits = shape.stored_bits - 1
    first = 0 if shape.encoding is Encoding.ZERO_FREE else 1
    largest = magnitudes if shape.encoding is Encoding.PAPER else magnitudes - 1
    levels = [] if first == 0 else [Level(code=0, even=0, odd=0, shift=0)]
    for index in range(first, largest + 1):
        even, odd, shift = power(largest - index)
        levels.append(Level(code=index, even=even, odd=odd, shift=shift))
        levels.append(Level(code=1 << index_bits | index, even=-even, odd=-odd, shift=shift))
    return levels
