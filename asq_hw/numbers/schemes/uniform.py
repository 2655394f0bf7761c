"""Uniform quantization: integers times a step (paper, Eq. 1-2)."""

from __future__ import annotations

from asq_hw.numbers.levels import Level
from asq_hw.numbers.schemes.scheme import GridShape, Scheme

__all__ = ["UNIFORM"]


def _range(shape: GridShape) -> tuple[int, int]:
    """Smallest and largest integer, Qn and Qp in Eq. 1."""
    if shape.signed:
        return -(1 << (shape.bits - 1)), (1 << (shape.bits - 1)) - 1
    return 0, (1 << shape.bits) - 1


def _levels(shape: GridShape) -> list[Level]:
    """Two's complement codes of q; value q * 2**-(bits - 1) signed, q * 2**-bits unsigned."""
    shift = shape.bits - shape.signed
    mask = (1 << shape.bits) - 1
    smallest, largest = _range(shape)
    return [Level(code=q & mask, even=q, odd=0, shift=shift) for q in range(smallest, largest + 1)]


UNIFORM = Scheme(
    name="uniform",
    title="uniform",
    color="#4D4D4D",
    make_levels=_levels,
    can_be_unsigned=True,
    integer_range=_range,
)
