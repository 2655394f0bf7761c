"""What lanes add: words with a sign or a last shift that is left to the adder, and their trees.

Every word is unsigned. A negative product is the word with its bits inverted: what that adds too
much, the weights alone tell, so that it is taken off once, behind the sum (`Lanes.excess`). Nothing
in a tree is then extended by a sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from rtl.lib.cells import Cells
from rtl.lib.sums import add_chosen, add_inverted

__all__ = ["Addend", "Pipe", "shifted_sum", "sum_of"]

_CASCADE = 4
"""Lanes that follow each other through adders that choose, before a tree joins such groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addend:
    """A word that stands `at` so many stages behind the operands.

    Parameters
    ----------
    value : Value
        Unsigned.
    largest : int
        The largest number that it ever adds.
    at : int
        Stages before it.
    inverts : Value or None
        Whether its bits are still to be inverted; None if they never are.
    doubles : Value or None
        Whether it is still to be shifted by one; None if it never is.
    """

    value: Value
    largest: int
    at: int
    inverts: Value | None = None
    doubles: Value | None = None

    @property
    def width(self) -> int:
        """Bits that hold the largest number."""
        return max(1, self.largest.bit_length())

    @property
    def is_plain(self) -> bool:
        """Whether nothing is left to be done."""
        return self.inverts is None and self.doubles is None


class Pipe:
    """Stages between the operands and the sums: registers, or nothing where all is gates.

    What stands there at a reset is let pass: the sums are kept at 0 meanwhile.

    Parameters
    ----------
    m : Module
        Where the circuit is.
    registered : bool
        Whether there is a register behind each stage.
    cells : Cells or None
        What sums are made of; None for portable Verilog.
    """

    def __init__(self, m: Module, *, registered: bool, cells: Cells | None) -> None:
        self.m = m
        self.registered = registered
        self.cells = cells

    def later(self, value: Value, name: str, *, clear: Value | None = None) -> Signal:
        """The value behind a stage, or 0 where `clear` was 1."""
        made = Signal(value.shape(), name=name, reset_less=True)
        domain = self.m.d.sync if self.registered else self.m.d.comb
        domain += made.eq(value)
        if clear is not None:
            with self.m.If(clear):
                domain += made.eq(0)
        return made

    def delay(self, value: Value, stages: int, name: str) -> Value:
        """The value so many stages later."""
        for stage in range(stages):
            value = self.later(value, f"{name}_later{stage}")
        return value

    def wait(self, addend: Addend, at: int, name: str) -> Addend:
        """An addend as late as others."""
        stages = at - addend.at
        inverts, doubles = addend.inverts, addend.doubles
        return Addend(
            value=self.delay(addend.value, stages, name),
            largest=addend.largest,
            at=at,
            inverts=None if inverts is None else self.delay(inverts, stages, f"{name}_inverts"),
            doubles=None if doubles is None else self.delay(doubles, stages, f"{name}_doubles"),
        )

    def resolved(self, addend: Addend, name: str) -> Addend:
        """What was left to the adder, done in look-up tables."""
        if addend.is_plain:
            return addend
        word = Signal(addend.width, name=f"{name}_word")
        value = addend.value
        if addend.doubles is not None:
            value = Mux(addend.doubles, value << 1, value)
        self.m.d.comb += word.eq(value)
        flips = None if addend.inverts is None else addend.inverts.replicate(addend.width)
        return Addend(
            value=word if flips is None else word ^ flips, largest=addend.largest, at=addend.at
        )

    def sum(self, first: Addend, second: Addend, name: str) -> Addend:
        """Two addends, with what their adder can do left to it."""
        assert first.at == second.at, "addends of one adder come together"
        if not first.is_plain and second.is_plain:
            first, second = second, first
        largest = first.largest + second.largest
        width = largest.bit_length()
        total: Value
        if self.cells and first.doubles is None and second.doubles is None:
            total = self._inverted(first, second, width, name)
        elif self.cells and first.is_plain and second.inverts is None:
            total = self._chosen(first, second, width, name)
        else:
            one, other = (
                self.resolved(each, f"{name}_{i}") for i, each in enumerate((first, second))
            )
            total = one.value + other.value
        word = Signal(width, name=f"{name}_total")
        self.m.d.comb += word.eq(total)
        return Addend(value=self.later(word, name), largest=largest, at=first.at + 1)

    def _inverted(self, first: Addend, second: Addend, width: int, name: str) -> Value:
        if first.is_plain and second.is_plain:
            return first.value + second.value
        words = tuple(self._word(each, f"{name}_in{i}") for i, each in enumerate((first, second)))
        inverts = (first.inverts, second.inverts)
        return add_inverted(self.m, self.cells, (words[0], words[1]), inverts, width, name)

    def _chosen(self, first: Addend, second: Addend, width: int, name: str) -> Value:
        assert second.doubles is not None
        base = Signal(width, name=f"{name}_base")
        self.m.d.comb += base.eq(first.value)
        words = (second.value, second.value << 1)
        return add_chosen(self.m, self.cells, base, second.doubles, words, None, name)

    def _word(self, addend: Addend, name: str) -> Value:
        """As wide as what is inverted."""
        word = Signal(addend.width, name=name)
        self.m.d.comb += word.eq(addend.value)
        return word


def sum_of(pipe: Pipe, addends: Sequence[Addend], name: str) -> Addend:
    """The sum of all: a tree, whose leaves are cascades where an adder can choose a shift."""
    if pipe.cells and any(each.doubles is not None for each in addends):
        groups = [
            _cascade(pipe, addends[low : low + _CASCADE], f"{name}_group{low}")
            for low in range(0, len(addends), _CASCADE)
        ]
        latest = max(group.at for group in groups)
        return _tree(pipe, [pipe.wait(group, latest, name) for group in groups], name)
    if not pipe.cells:
        addends = [_done(pipe, each, f"{name}_{i}") for i, each in enumerate(addends)]
    return _tree(pipe, addends, name)


def shifted_sum(pipe: Pipe, low: Addend, high: Addend, shift: int, name: str) -> Addend:
    """``low + high * 2**shift`` of plain addends, with no adder for the lowest bits.

    Parameters
    ----------
    pipe : Pipe
        Where the circuit is.
    low, high : Addend
        What is added, equally late.
    shift : int
        By how many bits `high` stands above `low`.
    name : str
        Beginning of names.
    """
    upper = pipe.sum(
        Addend(value=low.value[shift:], largest=low.largest >> shift, at=low.at), high, name
    )
    return Addend(
        value=Cat(pipe.later(low.value[:shift], f"{name}_low"), upper.value),
        largest=low.largest + (high.largest << shift),
        at=upper.at,
    )


def _done(pipe: Pipe, addend: Addend, name: str) -> Addend:
    """With a stage for what no adder does."""
    if addend.is_plain:
        return addend
    done = pipe.resolved(addend, name)
    return Addend(value=pipe.later(done.value, name), largest=done.largest, at=done.at + 1)


def _cascade(pipe: Pipe, addends: Sequence[Addend], name: str) -> Addend:
    """One after the other: every one but the first is shifted by its adder."""
    total = _done(pipe, addends[0], f"{name}_first")
    for index, addend in enumerate(addends[1:], start=1):
        waiting = pipe.wait(addend, total.at, f"{name}_{index}")
        total = pipe.sum(total, waiting, f"{name}_sum{index}")
    return total


def _tree(pipe: Pipe, addends: Sequence[Addend], name: str) -> Addend:
    level = 0
    while len(addends) > 1:
        level += 1
        pairs = [addends[low : low + 2] for low in range(0, len(addends), 2)]
        addends = [
            pipe.sum(pair[0], pair[1], f"{name}_level{level}_{i}")
            if len(pair) == 2
            else pipe.wait(pair[0], pair[0].at + 1, f"{name}_level{level}_{i}")
            for i, pair in enumerate(pairs)
        ]
    if addends[0].is_plain:
        return addends[0]
    return _done(pipe, addends[0], f"{name}_only")
