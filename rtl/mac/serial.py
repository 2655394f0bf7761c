"""A bit-serial multiply-accumulate unit: what the paper's speed is measured against."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring

from rtl.mac.parameters import MacParameters
from rtl.mac.product import raised
from rtl.mac.schemes import Clear
from rtl.mac.signs import of_sign_row

__all__ = ["SerialMacComponent", "serial_excess", "serial_latency_cyc"]


def serial_latency_cyc(mac: MacParameters) -> int:
    """Cycles from a product's operands to its sum: operands, a term for each bit, the adder."""
    return mac.weight_bits + 2


def serial_excess(mac: MacParameters) -> Mapping[int, int]:
    """What the terms of a product add too much where signs are deferred, by the weight's code."""
    return {code: of_sign_row(mac, code) for code in mac.weight_codes}


class SerialMacComponent(wiring.Component):
    """Adds the activation, shifted, once for each bit of a two's complement weight.

    Ports are those of `Mac.ports`. It takes a product every `Mac.weight_bits` cycles, which is its
    `Mac.interval_cyc`; ``valid_in`` must be low between. Latency is `Mac.latency_cyc`.

    The last bit's term is subtracted; where signs are deferred, it is of the activation's
    complement, and no term is negative.
    """

    def __init__(self, mac: MacParameters) -> None:
        self._mac = mac
        super().__init__(mac.signature)

    def elaborate(self, platform: object) -> Module:
        """Shift activation and weight against each other; the last bit's term counts down."""
        m = Module()
        bits, defers = self._mac.weight_bits, self._mac.defers
        shifted = Signal(self._mac.activation_bits + bits - defers, name="shifted_activation")
        weight, starts = Signal(bits), Signal()
        phase = Signal(bits)  # one-hot: the bit that is being turned into a term
        activation: Value = self.activation
        if defers:
            activation = raised(self._mac, "activation", activation).as_unsigned()
        m.d.sync += [shifted.eq(shifted << 1), weight.eq(weight >> 1), phase.eq(phase << 1)]
        with m.If(self.valid_in):
            m.d.sync += [
                shifted.eq(activation),
                weight.eq(self.weight),
                phase.eq(1),
                starts.eq(self.start),
            ]
        # The registers' reset takes the place of AND gates.
        shape = unsigned(len(shifted)) if defers else signed(len(shifted))
        term, carry, ends = Signal(shape, name="term"), Signal(name="carry"), Signal(name="ends")
        last = phase[-1].replicate(self._mac.activation_bits if defers else len(shifted))
        m.d.sync += [
            term.eq(shifted ^ (last << bits - 1 if defers else last)),
            carry.eq(0 if defers else phase[-1]),
            ends.eq(phase[-1]),
            self.valid_out.eq(ends),
        ]
        with m.If(~weight[0] | ~phase.any()):
            m.d.sync += [term.eq(0), carry.eq(0)]
        begins = phase[0] & starts
        if self._mac.clear is Clear.MASKED:
            term_begins = Signal()
            m.d.sync += term_begins.eq(begins)
            kept = Mux(term_begins, 0, self.accumulator).as_signed()
            m.d.sync += self.accumulator.eq(kept + term + carry)
            return m
        running = Signal(self.accumulator.shape())
        total = running + term + carry
        m.d.sync += [running.eq(total), self.accumulator.eq(total)]
        with m.If(begins):
            m.d.sync += running.eq(0)
        return m
