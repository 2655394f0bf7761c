"""The sums of a multiply-accumulate unit: adders and accumulators, whole or cut into segments.

Segment 0 holds a sum's lowest bits. The carry out of a segment waits in a register for the next
one, which adds its own bits of the term one cycle later; a lower segment's bits are held back until
the highest is ready, so that a sum's bits stand at the ports together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from rtl.lib.delay import delay, delay_line
from rtl.mac.schemes import Clear

__all__ = ["Term", "sum_apart", "sum_shared"]


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
    """

    value: Value
    carry: Value | None
    starts: Sequence[Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """A segment's adder: it sets `total` to a sum's old bits plus `term` plus `carry`."""

    index: int
    low: int
    high: int
    term: Value
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
        if self.carry is None:
            return self.term + masked
        return (Cat(self.carry, self.term) + Cat(self.carry, masked))[1:]

    def add(self, kept: Value) -> Value:
        """`kept` plus the term."""
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
        running = Signal(segment.high - segment.low, name=name)
        if clear is Clear.MASKED:
            m.d.comb += segment.total.eq(segment.add_masked(running))
            m.d.sync += running.eq(segment.total)
            shown += [delay(m, running, waits, f"{name}_shown")]
            continue
        m.d.comb += segment.total.eq(segment.add(running))
        m.d.sync += running.eq(segment.total)
        with m.If(segment.starts_next):
            m.d.sync += running.eq(0)
        bits = segment.total[: len(running)]
        shown += [delay(m, bits, waits + 1, f"{name}_shown")]
    m.d.comb += output.eq(Cat(*shown))


def sum_shared(m: Module, even: Signal, odd: Signal, term: Term, to_odd: Value) -> None:
    """Drive both outputs from one adder, whose other operand and target `to_odd` chooses.

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


def _segments(m: Module, name: str, width: int, term: Term, count: int) -> Iterator[_Segment]:
    """The segments of a sum of `width` bits, lowest first, with the carries between them."""
    carry = term.carry
    terms = delay_line(m, term.value, count - 1, f"{name}_term_after")
    for index in range(count):
        low, high = width * index // count, width * (index + 1) // count
        extended = Signal(width, name=f"{name}_bits{index}")
        total = Signal(high - low + 1, name=f"{name}_total{index}")
        m.d.comb += extended.eq(terms[index])
        yield _Segment(
            index=index,
            low=low,
            high=high,
            term=extended[low:high],
            carry=carry,
            starts_next=term.starts[index],
            starts=term.starts[index + 1],
            total=total,
        )
        carry = Signal(name=f"{name}_carry_out{index}")
        if index < count - 1:
            m.d.sync += carry.eq(total[-1])
