"""What a quantization scheme declares: its name, its levels, and how readers show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.levels import Level

__all__ = ["GridShape", "Scheme"]


class GridShape(NamedTuple):
    """What the levels of a grid depend on, beside its scheme."""

    bits: int
    signed: bool
    encoding: Encoding

    @property
    def stored_bits(self) -> int:
        """Width of a stored code."""
        return self.bits + (self.encoding is Encoding.PAPER)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scheme:
    """The family that a grid's levels come from.

    Schemes are registered in `asq_hw.numbers.schemes`, each is one object, and equal to itself
    alone.

    Parameters
    ----------
    name : str
        On the command line and in a model file.
    title : str
        In tables and figures.
    color : str
        In figures, ``#RRGGBB``.
    make_levels : callable
        From a grid's shape to its levels, in any order.
    encodings : tuple of Encoding
        Those that its grids can have, the default first.
    can_be_unsigned : bool
        Whether there are grids without negative levels.
    integer_range : callable, optional
        Where the levels are consecutive integers times a power of two: from a grid's shape to
        the smallest and the largest of them, Qn and Qp in Eq. 1.
    """

    name: str
    title: str
    color: str
    make_levels: Callable[[GridShape], list[Level]]
    encodings: tuple[Encoding, ...] = (Encoding.PACKED,)
    can_be_unsigned: bool = False
    integer_range: Callable[[GridShape], tuple[int, int]] | None = None

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<scheme {self.name}>"

    def __reduce__(self) -> tuple[Callable[[str], Scheme], tuple[str]]:
        # Copies, also those that another process unpickles, are the registered object itself.
        from asq_hw.numbers.schemes import scheme_named

        return scheme_named, (self.name,)

    @property
    def is_exponential(self) -> bool:
        """Whether the levels are signed powers of one base, of which an encoding keeps some."""
        return len(self.encodings) > 1
