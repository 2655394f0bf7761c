"""The multiply-accumulate unit itself: a product unit, a register, and the accumulators."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from rtl.mac.design import Mac
from rtl.mac.product import ProductUnit, unit_class
from rtl.mac.schemes import Accumulation, Clear

__all__ = ["MacComponent", "latency_cyc"]


def latency_cyc(mac: Mac) -> int:
    """Cycles from a product's operands to its sum: to the adder, and through the accumulator."""
    return _adder_cyc(mac) + 1


def _adder_cyc(mac: Mac) -> int:
    """Cycles from a product's operands to the adder: product unit, term register."""
    return unit_class(mac).latency_of(mac) + (mac.pipeline > 0)


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
        m.d.comb += [
            unit.valid.eq(self.valid_in),
            unit.activation.eq(self.activation),
            unit.weight.eq(self.weight),
        ]
        cycles = _adder_cyc(self._mac)
        valid = _delays(m, self.valid_in, cycles + 1, "valid")
        starts = _delays(m, self.start & self.valid_in, cycles, "starts")
        m.d.comb += self.valid_out.eq(valid[-1])
        if self._mac.accumulation is Accumulation.SHARED:
            self._sum_shared(m, unit, starts)
        elif self._mac.has_pair:
            self._sum_apart(m, unit, self.even, unit.odd, starts)
            self._sum_apart(m, unit, self.odd, ~unit.odd, starts)
        else:
            self._sum_apart(m, unit, self.accumulator, Const(0), starts)
        return m

    def _sum_apart(
        self, m: Module, unit: ProductUnit, output: Signal, drop: Value, starts: list[Value]
    ) -> None:
        """An adder for one accumulator; a term that is not for it is dropped."""
        term, carry = self._term(m, unit, output.name, drop)
        if self._mac.clear is Clear.MASKED:
            m.d.sync += output.eq(_add_masked(term, Mux(starts[-1], 0, output).as_signed(), carry))
            return
        running = Signal(output.shape(), name=f"{output.name}_sum")
        total = running + term if carry is None else running + term + carry
        m.d.sync += [running.eq(total), output.eq(total)]
        with m.If(starts[-2]):  # the next term is the first of its sum
            m.d.sync += running.eq(0)

    def _sum_shared(self, m: Module, unit: ProductUnit, starts: list[Value]) -> None:
        """One adder; the accumulator that a term is for is its other operand and its target."""
        term, carry = self._term(m, unit, "shared", Const(0))
        is_odd = unit.odd if self._mac.pipeline == 0 else _delays(m, unit.odd, 1, "is_odd")[-1]
        kept = Mux(starts[-1], 0, Mux(is_odd, self.odd, self.even)).as_signed()
        total = Signal(self.even.shape())
        m.d.comb += total.eq(_add_masked(term, kept, carry))
        for register, is_target in ((self.even, ~is_odd), (self.odd, is_odd)):
            with m.If(starts[-1] & ~is_target):
                m.d.sync += register.eq(0)
            with m.Elif(is_target):
                m.d.sync += register.eq(total)

    def _term(
        self, m: Module, unit: ProductUnit, name: str, drop: Value
    ) -> tuple[Value, Value | None]:
        """What is added, and the carry that belongs to it if the unit has one."""
        term, carry = Signal(unit.value.shape(), name=f"{name}_term"), Signal(name=f"{name}_carry")
        domain = m.d.comb if self._mac.pipeline == 0 else m.d.sync
        domain += [term.eq(unit.value), carry.eq(unit.negative)]
        if not isinstance(drop, Const):
            with m.If(drop):
                domain += [term.eq(0), carry.eq(0)]
        return term, carry if unit.inverts else None


def _add_masked(term: Value, kept: Value, carry: Value | None) -> Value:
    """``term + kept + carry`` on a chain that is one bit longer where there is a carry.

    The term comes first: adders of 7-series take their carry from there, which leaves the mask of
    the other operand inside the sum's look-up table. A carry of its own would undo that.
    """
    if carry is None:
        return term + kept
    longer = Cat(carry, term).as_signed() + Cat(carry, kept).as_signed()
    return longer[1:].as_signed()


def _delays(m: Module, value: Value, cycles: int, name: str) -> list[Value]:
    """`value` after 0, 1, ... `cycles` cycles."""
    values = [value]
    for cycle in range(1, cycles + 1):
        register = Signal(value.shape(), name=f"{name}{cycle}")
        m.d.sync += register.eq(values[-1])
        values.append(register)
    return values
