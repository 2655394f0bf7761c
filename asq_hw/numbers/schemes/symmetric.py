"""Symmetric uniform quantization: every level has its negative (the field's *narrow range*)."""

from __future__ import annotations

from asq_hw.numbers.levels import Level
from asq_hw.numbers.schemes.scheme import GridShape, Scheme

__all__ = ["SYMMETRIC"]


def _range(shape: GridShape) -> tuple[int, int]:
    largest = (1 << (shape.bits - 1)) - 1
    return -largest, largest


def _levels(shape: GridShape) -> list[Level]:
    """Sign bit above the magnitude of q; value q * 2**-(bits - 1)."""
    sign, shift = 1 << (shape.bits - 1), shape.bits - 1
    smallest, largest = _range(shape)
    return [
        Level(code=-q | sign if q < 0 else q, even=q, odd=0, shift=shift)
        for q in range(smallest, largest + 1)
    ]


SYMMETRIC = Scheme(
    name="symmetric",
    title="symmetric",
    color="#999999",
    make_levels=_levels,
    integer_range=_range,
)
