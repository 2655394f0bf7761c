"""The sums of a multiply-accumulate unit: adders and accumulators, whole or cut into segments.

Segment 0 holds a sum's lowest bits. The carry out of a segment waits in a register for the next
one, which adds its own bits of the term one cycle later; a lower segment's bits are held back until
the highest is ready, so that a sum's bits stand at the ports together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from rtl.lib.cells import Cells
from rtl.lib.delay import delay, delay_line
from rtl.lib.sums import add_chosen, add_or_subtract, once_or_twice
from rtl.mac.schemes import Clear

__all__ = ["Term", "sum_apart", "sum_chosen", "sum_shared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What is added in each cycle.

    Parameters
    ----------
    value : Value
        A signed number.
    carry : Value or None
        A bit that is added to it; None if it is always 0.
    starts : sequence of Value
        Whether the term that comes to the adder in the next cycle begins a sum; the term that is
        there now; the one that was there 1, 2, ... cycles ago.
    subtracts : Value or None
        Whether it is subtracted; None if it never is. It is the carry, too.
    doubles : Value or None
        Whether twice the value is added; None if it never is.
    clears : bool
        Whether `starts` are 1 behind a reset until no term of before comes any more, so that what
        they clear needs no reset.
    cells : Cells or None
        What the adder is made of, where it does more than add; None for portable Verilog.
    """

    value: Value
    carry: Value | None
    starts: Sequence[Value]
    subtracts: Value | None = None
    doubles: Value | None = None
    clears: bool = False
    cells: Cells | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """A segment's adder: it sets `total` to a sum's old bits plus `term` plus `carry`.

    In place of the term it may add `twice` where `doubles`, or subtract it where `subtracts`.
    """

    module: Module
    cells: Cells | None

    index: int
    low: int
    high: int
    term: Value
    twice: Value
    doubles: Value | None
    subtracts: Value | None
    carry: Value | None
    starts_next: Value
    starts: Value
    total: Signal

    def add_masked(self, kept: Value) -> Value:
        """`kept`, or 0 where a sum begins, plus the term, on a chain that holds the carry.

        The term comes first: adders of 7-series take their carry from there, which leaves the mask
        of the other operand inside the sum's look-up table. A carry of its own would undo that.
        """
        masked = Mux(self.starts, 0, kept)
        if self.doubles is not None or self.subtracts is not None:
            return self.add(masked)
        if self.carry is None:
            return self.term + masked
        return (Cat(self.carry, self.term) + Cat(self.carry, masked))[1:]

    def add(self, kept: Value) -> Value:
        """`kept` plus the term."""
        name = f"{self.total.name}_chain"
        if self.doubles is not None or self.subtracts is not None:
            # The carry out stands above the sum's bits.
            kept = Cat(kept, Const(0, len(self.total) - len(kept)))
        if self.doubles is not None:
            words = (self.term, self.twice)
            return add_chosen(self.module, self.cells, kept, self.doubles, words, self.carry, name)
        if self.subtracts is not None:
            return add_or_subtract(
                self.module, self.cells, kept, self.subtracts, self.term, self.carry, name
            )
        return kept + self.term if self.carry is None else kept + self.term + self.carry


def sum_apart(m: Module, output: Signal, term: Term, clear: Clear, segments: int) -> None:
    """Drive `output` from an adder of its own, `segments` - 1 cycles after the sum is complete.

    Parameters
    ----------
    m : Module
        Where the adder is.
    output : Signal
        The sum.
    term : Term
        What is added in each cycle.
    clear : Clear
        How a sum begins.
    segments : int
        Parts of the carry chain.
    """
    shown: list[Value] = []
    for segment in _segments(m, output.name, len(output), term, segments):
        waits = segments - 1 - segment.index
        name = f"{output.name}_sum{segment.index}"
        running = Signal(segment.high - segment.low, name=name, reset_less=term.clears)
        if clear is Clear.MASKED:
            m.d.comb += segment.total.eq(segment.add_masked(running))
            m.d.sync += running.eq(segment.total)
            shown += [delay(m, running, waits, f"{name}_shown")]
            continue
        m.d.comb += segment.total.eq(segment.add(running))
        m.d.sync += running.eq(segment.total)
        with m.If(segment.starts_next):
            m.d.sync += running.eq(0)
        if clear is Clear.IDLE:
            shown += [running]
            continue
        bits = segment.total[: len(running)]
        shown += [delay(m, bits, waits + 1, f"{name}_shown")]
    m.d.comb += output.eq(Cat(*shown))


def sum_shared(m: Module, even: Signal, odd: Signal, term: Term, to_odd: Value) -> None:
    """Drive both outputs from one adder, whose other operand and target `to_odd` chooses.

    A sum begins with the old one masked.

    Parameters
    ----------
    m : Module
        Where the adder is.
    even, odd : Signal
        The sums.
    term : Term
        What is added in each cycle.
    to_odd : Value
        Whether it is added to the odd sum.
    """
    segments = len(term.starts) - 1
    chosen = delay_line(m, to_odd, segments - 1, "is_odd_after")
    outputs = (even, odd)
    shown: tuple[list[Value], list[Value]] = ([], [])
    for segment in _segments(m, "shared", max(len(even), len(odd)), term, segments):
        index, is_odd = segment.index, chosen[segment.index]
        sums = [
            Signal(min(segment.high, len(output)) - segment.low, name=f"{output.name}_sum{index}")
            for output in outputs
        ]
        m.d.comb += segment.total.eq(segment.add_masked(Mux(is_odd, sums[1], sums[0])))
        for register, is_target, bits in zip(sums, (~is_odd, is_odd), shown, strict=True):
            with m.If(segment.starts & ~is_target):
                m.d.sync += register.eq(0)
            with m.Elif(is_target):
                m.d.sync += register.eq(segment.total)
            bits += [delay(m, register, segments - 1 - index, f"{register.name}_shown")]
    for output, bits in zip(outputs, shown, strict=True):
        m.d.comb += output.eq(Cat(*bits))


def sum_chosen(
    m: Module, even: Signal, odd: Signal, term: Term, to_odd: Value, clear: Clear
) -> None:
    """The same with nothing but a choice in front of the adder: sums are cleared before they begin.

    Where that is a cycle `ahead`, the old sums are still to be seen: of the pair that is shown, the
    one that the first product is not for becomes 0 with it. Parameters are those of `sum_shared`;
    `clear` says how a sum begins.
    """
    width = max(len(even), len(odd))
    outputs = (even, odd)
    sums = [
        Signal(len(output), name=f"{output.name}_sum", reset_less=term.clears) for output in outputs
    ]
    word = Signal(width, name="shared_term_word")
    total = Signal(width, name="shared_total")
    words = (sums[0], sums[1])
    m.d.comb += [
        word.eq(term.value),
        total.eq(add_chosen(m, term.cells, word, to_odd, words, term.carry, "shared_chain")),
    ]
    for output, running, is_target in zip(outputs, sums, (~to_odd, to_odd), strict=True):
        with m.If(term.starts[0]):
            m.d.sync += running.eq(0)
        with m.Elif(is_target):
            m.d.sync += running.eq(total)
        if clear is Clear.IDLE:
            m.d.comb += output.eq(running)
            continue
        with m.If(term.starts[1] & ~is_target):
            m.d.sync += output.eq(0)
        with m.Elif(is_target):
            m.d.sync += output.eq(total)


def _segments(m: Module, name: str, width: int, term: Term, count: int) -> Iterator[_Segment]:
    """The segments of a sum of `width` bits, lowest first, with the carries between them."""
    carry = term.carry
    terms = delay_line(m, term.value, count - 1, f"{name}_term_after")
    doubles = _after(m, term.doubles, count - 1, f"{name}_doubles_after")
    subtracts = _after(m, term.subtracts, count - 1, f"{name}_subtracts_after")
    # What moves into a doubled term is its own carry, not that of the segment below.
    negative = _after(m, term.carry if term.doubles is not None else None, count - 1, f"{name}_in")
    for index in range(count):
        low, high = width * index // count, width * (index + 1) // count
        extended = Signal(width, name=f"{name}_bits{index}")
        twice = Signal(width, name=f"{name}_twice{index}")
        has_carry_out = index < count - 1 or not _is_chain(term)
        total = Signal(high - low + has_carry_out, name=f"{name}_total{index}")
        m.d.comb += extended.eq(terms[index])
        if term.doubles is not None:
            m.d.comb += twice.eq(once_or_twice(terms[index], negative[index])[1])
        yield _Segment(
            module=m,
            cells=term.cells,
            index=index,
            low=low,
            high=high,
            term=extended[low:high],
            twice=twice[low:high],
            doubles=doubles[index],
            subtracts=subtracts[index],
            carry=carry,
            starts_next=term.starts[index],
            starts=term.starts[index + 1],
            total=total,
        )
        if index < count - 1:
            carry_out = total[-1]
            sign = subtracts[index]
            # A subtracted word is inverted above its bits, too.
            carry = Signal(name=f"{name}_carry_out{index}")
            m.d.sync += carry.eq(carry_out if sign is None else carry_out ^ sign)


def _is_chain(term: Term) -> bool:
    """Whether something is done in front of the adder."""
    return term.doubles is not None or term.subtracts is not None


def _after(m: Module, bit: Value | None, cycles: int, name: str) -> list[Value | None]:
    """The bit of 0, 1, ... `cycles` cycles ago; None where there is none."""
    if bit is None:
        return [None] * (cycles + 1)
    return [*delay_line(m, bit, cycles, name)]
