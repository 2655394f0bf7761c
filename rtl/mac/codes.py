"""How a weight stands at a unit's port: as a model file holds it, or in a code that spares gates.

Another code costs nothing where weights are known before the run: they are stored in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import SYMMETRIC

__all__ = ["Codes", "port_codes"]


class Codes(StrEnum):
    """The code of a weight at the port."""

    STORED = "stored"
    """The grid's, as in a model file."""
    INVERTED = "inverted"
    """Two's complement, each bit inverted: a bit that is 1 resets a row, without an inverter."""
    SIGN_MAGNITUDE = "sign-magnitude"
    """A sign above the magnitude, whose bits are inverted. The lowest level has no such code: of
    16 uniform levels 15 remain, each with its negative."""
    EXPONENT = "exponent"
    """A sign above the power that the magnitude is, counted from the smallest; all ones for 0."""


def port_codes(codes: Codes, grid: Grid) -> Mapping[int, int]:
    """The grid's code by the one at the port, in ascending order of the latter."""
    made = {}
    for level in grid.levels:
        place = _at_port(codes, grid, level.code)
        if place is not None:
            made[place] = level.code
    return dict(sorted(made.items()))


def _at_port(codes: Codes, grid: Grid, code: int) -> int | None:
    """Where a level's code stands at the port; None where it has no place there."""
    sign = 1 << (grid.stored_bits - 1)
    match codes:
        case Codes.STORED:
            return code
        case Codes.INVERTED:
            return code ^ (2 * sign - 1)
        case Codes.SIGN_MAGNITUDE:
            if grid.scheme is SYMMETRIC:
                return code ^ (sign - 1)
            magnitude = 2 * sign - code if code & sign else code
            return None if magnitude == sign else code & sign | magnitude ^ (sign - 1)
        case Codes.EXPONENT:
            # The index of a packed grid is one more than the power, and 0 for zero.
            return code & sign | (code - 1) % sign
