"""Multipliers of a uniform weight: the baselines of the family."""

from __future__ import annotations

from functools import reduce
from operator import add

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from rtl.mac.design import term_table
from rtl.mac.product import ProductUnit

__all__ = ["BoothMultiplier", "DirectMultiplier", "RowMultiplier", "TableMultiplier"]


class DirectMultiplier(ProductUnit):
    """``activation * weight`` as the synthesis tool builds it. Latency 1 cycle."""

    def build(self, m: Module, activation: Signal, weight: Signal) -> None:
        """Multiply."""
        m.d.comb += self.value.eq(activation * weight.as_signed())


class TableMultiplier(ProductUnit):
    """A table of all products. Latency 1 cycle."""

    def build(self, m: Module, activation: Signal, weight: Signal) -> None:
        """Look the product up."""
        width = len(activation)
        with m.Switch(Cat(activation, weight)):
            for (value, code), (term,) in term_table(self._mac).items():
                with m.Case(code << width | value & (1 << width) - 1):
                    m.d.comb += self.value.eq(term)


class BoothMultiplier(ProductUnit):
    """Radix-4 Booth: half as many partial products as the weight has bits. Latency 1 cycle."""

    def build(self, m: Module, activation: Signal, weight: Signal) -> None:
        """Sum the digits' partial products."""
        bits = Cat(Const(0, 1), weight, weight[-1])
        partial = [
            self._digit(m, activation, bits[i : i + 3]) << i for i in range(0, len(weight), 2)
        ]
        m.d.comb += self.value.eq(reduce(add, partial))

    @staticmethod
    def _digit(m: Module, activation: Signal, bits: Value) -> Value:
        """Activation times the Booth digit ``bits[0] + bits[1] - 2 * bits[2]``."""
        negative, doubles, singles = Signal(), Signal(), Signal()
        m.d.comb += [
            negative.eq(bits[2]),
            singles.eq(bits[0] ^ bits[1]),
            doubles.eq((bits[0] == bits[1]) & (bits[2] != bits[1])),
        ]
        width = len(activation) + 2
        magnitude = Signal(signed(width))
        m.d.comb += magnitude.eq(Mux(singles, activation, 0) | Mux(doubles, activation << 1, 0))
        inverted = (magnitude ^ negative.replicate(width))[:width].as_signed()
        return inverted + negative


class RowMultiplier(ProductUnit):
    """An array multiplier whose AND gates are the reset pins of its registers. Latency 2 cycles.

    Every bit of the weight has a copy of the activation that it clears; the copies are summed in
    a tree. The sign bit's copy is subtracted.
    """

    latency_cyc = 2

    def build(self, m: Module, activation: Signal, weight: Signal) -> None:
        """Sum the rows."""
        rows: list[Value] = []
        for i, bit in enumerate(weight):
            row = Signal(activation.shape(), name=f"row{i}")
            m.d.sync += row.eq(activation)
            with m.If(~bit):
                m.d.sync += row.eq(0)
            rows.append(row)
        # Neighbours first, so that each adder is as short as it can be.
        weights = [1] * (len(rows) - 1) + [-1]
        step = 1
        while len(rows) > 1:
            pairs = []
            for i in range(0, len(rows) - 1, 2):
                upper = rows[i + 1] << step
                pairs.append(rows[i] - upper if weights[i + 1] < 0 else rows[i] + upper)
            if len(rows) % 2:
                pairs.append(rows[-1])
                weights = [1] * (len(pairs) - 1) + [weights[-1]]
            else:
                weights = [1] * len(pairs)
            rows, step = pairs, 2 * step
        m.d.comb += self.value.eq(rows[0])
