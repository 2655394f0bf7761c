"""The multiply-accumulate unit itself: a product unit, a register, and the accumulators."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import wiring

from rtl.lib.delay import delay_line
from rtl.mac.accumulator import Term, sum_apart, sum_chosen, sum_shared
from rtl.mac.parameters import MacParameters
from rtl.mac.product import ProductUnit
from rtl.mac.schemes import Accumulation, Clear
from rtl.mac.units import unit_class

__all__ = ["MacComponent", "latency_cyc"]


def latency_cyc(mac: MacParameters) -> int:
    """Cycles from a product's operands to its sum: to the adder, and through its segments."""
    return _adder_cyc(mac) + mac.segments


def _adder_cyc(mac: MacParameters) -> int:
    """Cycles from a product's operands to the adder: product unit, term register."""
    return unit_class(mac).latency_of(mac) + (mac.pipeline > 0)


class MacComponent(wiring.Component):
    """A multiply-accumulate unit.

    Ports are those of `Mac.ports`. It takes a product in any cycle; the sum that includes it
    stands at the accumulator's ports, with ``valid_out`` high, `Mac.latency_cyc` cycles later.
    Throughput is one product each cycle, new sums included.
    """

    def __init__(self, mac: MacParameters) -> None:
        self._mac = mac
        super().__init__(mac.signature)

    def elaborate(self, platform: object) -> Module:
        """Delay ``start`` and ``valid`` beside the product unit, then sum."""
        m = Module()
        mac = self._mac
        m.submodules.product = unit = unit_class(mac)(mac)
        m.d.comb += [
            unit.valid.eq(self.valid_in),
            *(getattr(unit, name).eq(getattr(self, name)) for name in (*mac.operands, "weight")),
        ]
        cycles = _adder_cyc(mac)
        valid = delay_line(m, self.valid_in, cycles + mac.segments, "valid")
        m.d.comb += self.valid_out.eq(valid[-1])
        at_adder = self._starts(m, cycles)
        if mac.accumulation is Accumulation.SHARED:
            is_odd = self._kept(m, unit, unit.odd, "is_odd1")
            if unit.has_zero and not mac.pipeline:
                # What stands there without a product may choose neither sum.
                is_odd = is_odd & ~unit.zero
            term = self._term(m, unit, "shared", Const(0), at_adder)
            if mac.clear is Clear.MASKED:
                sum_shared(m, self.even, self.odd, term, is_odd)
            else:
                sum_chosen(m, self.even, self.odd, term, is_odd, mac.clear)
            return m
        sums = (
            ((self.even, unit.odd), (self.odd, ~unit.odd))
            if mac.has_pair
            else ((self.accumulator, Const(0)),)
        )
        for output, drop in sums:
            term = self._term(m, unit, output.name, drop, at_adder)
            sum_apart(m, output, term, mac.clear, mac.segments)
        return m

    def _starts(self, m: Module, cycles: int) -> list[Value]:
        """Whether a sum begins with the term that comes next to the adder, is there, was there."""
        line: list[Value] = [self.start & self.valid_in]
        for number in range(1, cycles + self._mac.segments):
            later = Signal(name=f"starts{number}", init=self._mac.is_reset_by_starts)
            m.d.sync += later.eq(line[-1])
            line.append(later)
        return line[cycles - 1 :]

    def _term(
        self, m: Module, unit: ProductUnit, name: str, drop: Value, starts: Sequence[Value]
    ) -> Term:
        """The product, or 0 where it is to be dropped, and the carry that belongs to it."""
        is_cleared = self._mac.pipeline > 0 and unit.has_zero
        term = Signal(unit.value.shape(), name=f"{name}_term", reset_less=is_cleared)
        carry = Signal(name=f"{name}_carry", reset_less=is_cleared)
        domain = m.d.sync if self._mac.pipeline else m.d.comb
        domain += [term.eq(unit.value), carry.eq(unit.negative)]
        if unit.has_zero:
            drop = unit.zero | drop
        if not isinstance(drop, Const):
            with m.If(drop):
                domain += [term.eq(0), carry.eq(0)]
        doubles = None
        if unit.leaves_doubling(self._mac):
            doubles = self._kept(m, unit, unit.doubles, f"{name}_doubles")
        return Term(
            value=term,
            carry=carry if unit.inverts or unit.subtracts else None,
            starts=starts,
            subtracts=carry if unit.subtracts else None,
            doubles=doubles,
            clears=self._mac.is_reset_by_starts,
            cells=self._mac.cells,
        )

    def _kept(self, m: Module, unit: ProductUnit, bit: Value, name: str) -> Value:
        """A bit of the product's, which goes along with it to the adder."""
        if not self._mac.pipeline:
            return bit
        kept = Signal(name=name, reset_less=unit.has_zero)
        m.d.sync += kept.eq(bit)
        if unit.has_zero:
            with m.If(unit.zero):
                m.d.sync += kept.eq(0)
        return kept
