"""Circuits that make one product each cycle, before anything is summed.

Every unit registers its inputs, so that its first stage has no logic in front of it, and takes one
operation each cycle; `ProductUnit.latency_cyc` tells after how many cycles the product stands at
its outputs. What follows must register it.
"""

from __future__ import annotations

from abc import abstractmethod

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.mac.design import Mac, term_table
from rtl.mac.schemes import MacScheme, Style

__all__ = ["ProductUnit", "unit_class"]


class ProductUnit(wiring.Component):
    """One product: ``value + negative``, which belongs to the odd accumulator where ``odd`` is 1.

    Ports
    -----
    activation, weight : in
        An operand pair of `mac`.
    value : out, signed
        The product, or for negative products of some units its bits inverted.
    negative : out, 1
        What is still to be added to `value`: the adder behind has a carry input for it.
    odd : out, 1
        Whether the product counts square roots of two; constant 0 but for ``post-split``.

    Latency is `latency_cyc`; throughput is one product each cycle.
    """

    latency_cyc = 1

    def __init__(self, mac: Mac) -> None:
        self._mac = mac
        terms = [term for terms in term_table(mac).values() for term in terms]
        limit = max(-min(terms), max(terms))
        ports = {port.name: port for port in mac.ports}
        super().__init__(
            {
                "activation": In(ports["activation"].shape),
                "weight": In(ports["weight"].shape),
                "value": Out(signed(limit.bit_length() + 1)),
                "negative": Out(1),
                "odd": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Register the operands and hand them to `build`."""
        m = Module()
        activation = Signal(self.activation.shape())
        weight = Signal(self.weight.shape())
        m.d.sync += [activation.eq(self.activation), weight.eq(self.weight)]
        self.build(m, activation, weight)
        return m

    @abstractmethod
    def build(self, m: Module, activation: Signal, weight: Signal) -> None:
        """Drive the outputs from the registered operands."""


def unit_class(mac: Mac) -> type[ProductUnit]:
    """The kind of unit that a MAC's scheme and style call for."""
    from rtl.mac import multiplier, shifter

    match mac.style:
        case Style.DIRECT:
            return multiplier.DirectMultiplier
        case Style.BOOTH:
            return multiplier.BoothMultiplier
        case Style.ROWS:
            return multiplier.RowMultiplier
        case Style.TABLE if mac.scheme is MacScheme.UNIFORM:
            return multiplier.TableMultiplier
        case Style.TABLE:
            return shifter.MagnitudeTable
        case _:
            return shifter.ShiftUnit
