"""A bit-serial multiply-accumulate unit: what the paper's speed is measured against."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring

from rtl.mac.design import Mac

__all__ = ["SerialMacComponent", "serial_latency_cyc"]


def serial_latency_cyc(mac: Mac) -> int:
    """Cycles from a product's operands to its sum: operands, then one for each weight bit."""
    return 1 + mac.weight_bits


class SerialMacComponent(wiring.Component):
    """Adds the activation, shifted, once for each bit of a two's complement weight.

    Ports are those of `Mac.ports`. It takes a product every `Mac.weight_bits` cycles, which is its
    `Mac.cycles_per_product`; ``valid_in`` must be low between. Latency is `Mac.latency_cyc`.
    """

    def __init__(self, mac: Mac) -> None:
        self._mac = mac
        super().__init__(mac.signature)

    def elaborate(self, platform: object) -> Module:
        """Shift activation and weight against each other; the last bit subtracts."""
        m = Module()
        bits, grid = self._mac.weight_bits, self._mac.activation_grid
        # One bit more than the product of the activation and the sign bit's weight.
        shifted = Signal(self._mac.activation_bits + bits, name="shifted_activation")
        weight, starts = Signal(bits), Signal()
        phase = Signal(bits)  # one-hot: the bit that is being added
        extension = self.activation[-1] & grid.signed
        widened = Cat(self.activation, extension.replicate(bits))
        m.d.sync += [
            shifted.eq(shifted << 1),
            weight.eq(weight >> 1),
            phase.eq(phase << 1),
            self.valid_out.eq(phase[-1]),
        ]
        with m.If(self.valid_in):
            m.d.sync += [
                shifted.eq(widened),
                weight.eq(self.weight),
                phase.eq(1),
                starts.eq(self.start),
            ]
        subtracts = phase[-1]
        term = Mux(weight[0] & phase.any(), shifted, 0) ^ subtracts.replicate(len(shifted))
        kept = Mux(phase[0] & starts, 0, self.accumulator).as_signed()
        m.d.sync += self.accumulator.eq(kept + term.as_signed() + subtracts)
        return m
