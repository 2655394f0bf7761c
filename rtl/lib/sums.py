"""Sums with a choice in front of the adder, which some chips' carry cells make at no further cost.

Each function has a portable form, which is Verilog's ``+`` behind a multiplexer or gates, and takes
the cells of a family of chips in its place. `rtl.verify.sums` proves the two equal. Without a
register: latency 0. A result is as wide as `base`: the carry out of it is lost.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from rtl.lib.cells import Cells
from rtl.lib.cells.cells import Inverted, Operands

__all__ = ["add_chosen", "add_inverted", "add_or_subtract", "once_or_twice"]


def add_chosen(
    m: Module,
    cells: Cells | None,
    base: Value,
    chosen: Value,
    words: tuple[Value, Value],
    carry: Value | None,
    name: str,
) -> Value:
    """``base + words[chosen] + carry``, modulo the width of `base`.

    Parameters
    ----------
    m : Module
        Where the circuit is.
    cells : Cells or None
        What it is made of; None for the portable form.
    base : Value
        A word; the two others are extended to its width, or cut.
    chosen : Value
        One bit.
    words : tuple of Value
        What is added where `chosen` is 0, and where it is 1.
    carry : Value or None
        A bit that is added; None for 0.
    name : str
        Beginning of the names of cells and signals.
    """
    zero, one = (_word(m, word, len(base), f"{name}_word{i}") for i, word in enumerate(words))
    if cells is None:
        return _plain(base, Mux(chosen, one, zero), carry)
    operands = Operands(base=base, chosen=chosen, words=(zero, one), carry=_bit(carry))
    return cells.add_chosen(m, operands, name)


def once_or_twice(word: Value, negative: Value | None) -> tuple[Value, Value]:
    """The words of an `add_chosen` that shifts by one or not: `word`, and `word` shifted.

    Parameters
    ----------
    word : Value
        Signed or unsigned.
    negative : Value or None
        Where it is 1 the word's bits were inverted and the sum has it as its carry: it moves in,
        so that what was inverted and shifted is what was shifted and inverted. None for 0.
    """
    twice = Cat(_bit(negative), word)
    return word, twice.as_signed() if word.shape().signed else twice


def add_or_subtract(
    m: Module,
    cells: Cells | None,
    base: Value,
    subtracts: Value,
    word: Value,
    carry: Value | None,
    name: str,
) -> Value:
    """``base + word``, or ``base - word`` where `subtracts` and `carry` are 1.

    A part of a longer chain has the carry of the part below it: without its own 1 it adds the
    word's complement. Parameters are those of `add_chosen`.
    """
    added = _word(m, word, len(base), f"{name}_word")
    if cells is None:
        return _plain(base, added ^ subtracts.replicate(len(base)), carry)
    operands = Operands(base=base, chosen=subtracts, words=(added,), carry=_bit(carry))
    return cells.add_or_subtract(m, operands, name)


def add_inverted(
    m: Module,
    cells: Cells | None,
    words: tuple[Value, Value],
    inverts: tuple[Value | None, Value | None],
    width: int,
    name: str,
) -> Value:
    """The sum of two unsigned words, each with all of its bits inverted where its `inverts` is 1.

    Parameters
    ----------
    m : Module
        Where the circuit is.
    cells : Cells or None
        What it is made of; None for the portable form.
    words : tuple of Value
        Unsigned; what stands above a word's own bits is 0 and stays so.
    inverts : tuple of Value or None
        A bit for each word; None for 0.
    width : int
        Bits of the sum.
    name : str
        Beginning of the names of cells and signals.
    """
    flips = []
    for index, (word, inverts_it) in enumerate(zip(words, inverts, strict=True)):
        flip = Signal(width, name=f"{name}_flip{index}")
        m.d.comb += flip.eq(0 if inverts_it is None else inverts_it.replicate(len(word)))
        flips.append(flip)
    base, added = (_word(m, word, width, f"{name}_word{i}") for i, word in enumerate(words))
    if cells is None:
        return ((base ^ flips[0]) + (added ^ flips[1]))[:width]
    return cells.add_inverted(m, Inverted(words=(base, added), flips=(flips[0], flips[1])), name)


def _plain(base: Value, word: Value, carry: Value | None) -> Value:
    total = base + word if carry is None else base + word + carry
    return total[: len(base)]


def _word(m: Module, value: Value, width: int, name: str) -> Value:
    """The value's low `width` bits, extended by its sign."""
    word = Signal(width, name=name)
    m.d.comb += word.eq(value)
    return word


def _bit(carry: Value | None) -> Value:
    return Const(0, 1) if carry is None else carry
