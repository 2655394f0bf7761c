"""The multiply-accumulate unit itself: a product unit, a register, and the accumulators."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from rtl.mac.design import Mac
from rtl.mac.product import ProductUnit, unit_class
from rtl.mac.schemes import Accumulation

__all__ = ["MacComponent", "latency_cyc"]


def latency_cyc(mac: Mac) -> int:
    """Cycles from a product's operands to its sum: product unit, term register, accumulator."""
    return unit_class(mac).latency_cyc + 2


class MacComponent(wiring.Component):
    """A multiply-accumulate unit.

    Ports are those of `Mac.ports`. It takes a product in any cycle; the sum that includes it
    stands at the accumulator's ports, with ``valid_out`` high, `Mac.latency_cyc` cycles later.
    Throughput is one product each cycle, new sums included.
    """

    def __init__(self, mac: Mac) -> None:
        self._mac = mac
        super().__init__(mac.signature)

    def elaborate(self, platform: object) -> Module:
        """Delay ``start`` and ``valid`` beside the product unit, then sum."""
        m = Module()
        m.submodules.product = unit = unit_class(self._mac)(self._mac)
        m.d.comb += [unit.activation.eq(self.activation), unit.weight.eq(self.weight)]
        valid: Value = self.valid_in
        start: Value = self.start
        for stage in range(unit.latency_cyc):
            valid = _delayed(m, valid, f"valid{stage}")
            start = _delayed(m, start, f"start{stage}")
        begins = Signal()
        m.d.comb += begins.eq(valid & start)
        term_valid = _delayed(m, valid, "term_valid")
        m.d.sync += self.valid_out.eq(term_valid)
        if self._mac.accumulation is Accumulation.SHARED:
            self._sum_shared(m, unit, valid, begins)
        else:
            self._sum_apart(m, unit, valid, begins)
        return m

    def _sum_apart(self, m: Module, unit: ProductUnit, valid: Value, begins: Value) -> None:
        """An adder for each accumulator; a term that is not for it is cleared to 0."""
        ports = self._mac.accumulators
        mine = [valid & ~unit.odd, valid & unit.odd] if len(ports) == 2 else [valid]
        for port, adds in zip(ports, mine, strict=True):
            term, carry = Signal(unit.value.shape(), name=f"{port.name}_term"), Signal()
            m.d.sync += [term.eq(unit.value), carry.eq(unit.negative)]
            with m.If(~adds):
                m.d.sync += [term.eq(0), carry.eq(0)]
            output: Signal = getattr(self, port.name)
            if self._mac.accumulation is Accumulation.MASKED:
                masked = _delayed(m, begins, f"{port.name}_starts")
                kept = Mux(masked, 0, output).as_signed()
                m.d.sync += output.eq(_add(kept, term, carry, unit))
                continue
            running = Signal(output.shape(), name=f"{port.name}_sum")
            total = _add(running, term, carry, unit)
            m.d.sync += [running.eq(total), output.eq(total)]
            with m.If(begins):  # the next term is the first of its sum
                m.d.sync += running.eq(0)

    def _sum_shared(self, m: Module, unit: ProductUnit, valid: Value, begins: Value) -> None:
        """One adder; the accumulator that a term is for is its other operand and its target."""
        even, odd = self.even, self.odd
        term, carry = Signal(unit.value.shape()), Signal()
        m.d.sync += [term.eq(unit.value), carry.eq(unit.negative)]
        is_odd = _delayed(m, unit.odd, "term_odd")
        starts = _delayed(m, begins, "term_starts")
        term_valid = _delayed(m, valid, "adder_valid")
        kept = Signal(even.shape())
        m.d.comb += kept.eq(Mux(starts, 0, Mux(is_odd, odd, even)))
        total = _add(kept, term, carry, unit)
        for register, chosen in ((even, ~is_odd), (odd, is_odd)):
            with m.If(term_valid & chosen):
                m.d.sync += register.eq(total)
            with m.Elif(starts):
                m.d.sync += register.eq(0)


def _add(kept: Value, term: Signal, carry: Signal, unit: ProductUnit) -> Value:
    """``kept + term + carry`` on one carry chain, one bit longer for the carry."""
    if isinstance(unit.negative, Const):
        return kept + term
    return (Cat(Const(1, 1), kept) + Cat(carry, term).as_signed())[1:].as_signed()


def _delayed(m: Module, value: Value, name: str) -> Signal:
    """`value` one cycle later."""
    register = Signal(name=name)
    m.d.sync += register.eq(value)
    return register
