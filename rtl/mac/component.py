"""The multiply-accumulate unit itself: a product unit, a register, and the accumulators."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import wiring

from rtl.lib.delay import delay, delay_line
from rtl.mac.accumulator import Term, sum_apart, sum_shared
from rtl.mac.parameters import MacParameters
from rtl.mac.product import ProductUnit
from rtl.mac.schemes import Accumulation
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
            unit.activation.eq(self.activation),
            unit.weight.eq(self.weight),
        ]
        cycles = _adder_cyc(mac)
        valid = delay_line(m, self.valid_in, cycles + mac.segments, "valid")
        starts = delay_line(m, self.start & self.valid_in, cycles + mac.segments - 1, "starts")
        m.d.comb += self.valid_out.eq(valid[-1])
        at_adder = starts[cycles - 1 :]
        if mac.accumulation is Accumulation.SHARED:
            is_odd = delay(m, unit.odd, 1, "is_odd") if mac.pipeline else unit.odd
            term = self._term(m, unit, "shared", Const(0), at_adder)
            sum_shared(m, self.even, self.odd, term, is_odd)
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

    def _term(
        self, m: Module, unit: ProductUnit, name: str, drop: Value, starts: Sequence[Value]
    ) -> Term:
        """The product, or 0 where it is to be dropped, and the carry that belongs to it."""
        term, carry = Signal(unit.value.shape(), name=f"{name}_term"), Signal(name=f"{name}_carry")
        domain = m.d.sync if self._mac.pipeline else m.d.comb
        domain += [term.eq(unit.value), carry.eq(unit.negative)]
        if not isinstance(drop, Const):
            with m.If(drop):
                domain += [term.eq(0), carry.eq(0)]
        return Term(value=term, carry=carry if unit.inverts else None, starts=starts)
