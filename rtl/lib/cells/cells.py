"""What cells of a family of chips declare: how sums are made of them, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amaranth.hdl import Module, Value

__all__ = ["Cells", "Circuit", "Inverted", "Operands"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """What a chain adds to `base`, all words of one width.

    Parameters
    ----------
    base : Value
        Added as it is.
    chosen : Value
        One bit: which word is added, or whether the word is subtracted.
    words : tuple of Value
        The word that is added where `chosen` is 0, and the one where it is 1; or a single word.
    carry : Value
        A bit that is added, too.
    """

    base: Value
    chosen: Value
    words: tuple[Value, ...]
    carry: Value

    @property
    def width(self) -> int:
        """Bits of the words, and of the sum."""
        return len(self.base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverted:
    """Two words that a chain adds, each with some bits inverted; all of one width.

    Parameters
    ----------
    words : tuple of Value
        What is added.
    flips : tuple of Value
        Where a bit is 1, the word's bit counts inverted.
    """

    words: tuple[Value, Value]
    flips: tuple[Value, Value]


Circuit = Callable[["Module", Operands, str], "Value"]
"""Puts cells into a module, under names that begin with the text; returns the sum's bits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """Cells that choose and add at once; each family is one object, and equal to itself alone.

    Parameters
    ----------
    name : str
        In names of units and in manifests.
    title : str
        For people: the family, and the maker's name of the cell.
    model : str
        Verilog of the cells' published function, for simulation and proofs.
    add_chosen : callable
        ``base + (words[1] if chosen else words[0]) + carry``.
    add_or_subtract : callable
        ``base + (words[0] ^ chosen) + carry``, `chosen` in every bit: a difference where
        `chosen` and `carry` are 1.
    add_inverted : callable
        ``(words[0] ^ flips[0]) + (words[1] ^ flips[1])``.
    """

    name: str
    title: str
    model: str
    add_chosen: Circuit
    add_or_subtract: Circuit
    add_inverted: Callable[[Module, Inverted, str], Value]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<cells {self.name}>"
