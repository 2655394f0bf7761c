"""Circuits that make one product each cycle, before anything is summed.

Every unit registers its inputs, so that its first stage has no logic in front of it, and takes one
operation each cycle; `ProductUnit.latency_cyc` tells after how many cycles the product stands at
its outputs. What follows must register it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.lib.delay import register
from rtl.mac.combinations import MAX_PIPELINE
from rtl.mac.parameters import MacParameters, term_table

__all__ = ["Operands", "ProductUnit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """What a product is made of.

    Parameters
    ----------
    activation, weight : Signal
        The pair.
    second : Signal, optional
        The activation's second code, where there is one.
    """

    activation: Signal
    weight: Signal
    second: Signal | None = None


class ProductUnit(wiring.Component):
    """One product: ``value + negative``, or ``value`` that is to be subtracted.

    It belongs to the odd accumulator where ``odd`` is 1.

    Ports
    -----
    valid : in, 1
        Where it is 0, the activation is taken as 0, and so is the product.
    activation, weight : in
        An operand pair of `mac`.
    second : in
        The activation's second code, where `mac` has such.
    value : out, signed
        The product, or for negative products of some units its bits inverted.
    negative : out, 1
        What is still to be added to `value`: the adder behind has a carry input for it.
    odd : out, 1
        Whether the product counts square roots of two; constant 0 but for ``post-split``.
    zero : out, 1
        Of units that have it: whether the product is 0, whatever stands at `value`.
    doubles : out, 1
        Of units that leave it to the adder: whether the product is twice as large.

    Latency is `latency_cyc`; throughput is one product each cycle.
    """

    inverts = False
    """Whether `negative` can be 1, and is to be added."""
    subtracts = False
    """Whether `value` is a magnitude, which `negative` says is to be subtracted."""
    has_zero = False
    """Whether there is `zero`, which clears what follows; nothing else has to, then."""

    def __init__(self, mac: MacParameters) -> None:
        self._mac = mac
        terms = [term for terms in term_table(mac).values() for term in terms]
        limit = max(-min(terms), max(terms))
        ports = {port.name: port for port in mac.ports}
        members = {
            "valid": In(1),
            **{name: In(ports[name].shape) for name in (*mac.operands, "weight")},
            "value": Out(signed(limit.bit_length() + 1)),
            "negative": Out(1),
            "odd": Out(1),
        }
        members |= {"zero": Out(1)} if self.has_zero else {}
        members |= {"doubles": Out(1)} if self.leaves_doubling(mac) else {}
        super().__init__(members)

    @property
    def latency_cyc(self) -> int:
        """Cycles from an operand pair to its product."""
        return self.latency_of(self._mac)

    @classmethod
    def latency_of(cls, mac: MacParameters) -> int:
        """Cycles from an operand pair to its product, for a MAC's parameters."""
        return 1 + (cls.inner_steps(mac) if mac.pipeline == MAX_PIPELINE else 0)

    @classmethod
    def inner_steps(cls, mac: MacParameters) -> int:
        """Registers that the longest pipeline has between the operands and the product."""
        return 0

    @classmethod
    def leaves_doubling(cls, mac: MacParameters) -> bool:
        """Whether there is `doubles`."""
        return False

    def elaborate(self, platform: object) -> Module:
        """Register the operands and hand them to `build`."""
        m = Module()
        names = (*self._mac.operands, "weight")
        taken = {name: Signal(getattr(self, name).shape(), name=name) for name in names}
        m.d.sync += [taken[name].eq(getattr(self, name)) for name in names]
        # With the activation at 0 every product is 0, whatever the weight; but what is unknown at
        # the inputs must not even pass through: in four-state simulation 0 times X is X.
        with m.If(~self.valid):
            m.d.sync += [signal.eq(0) for signal in taken.values()]
        self.build(m, Operands(**taken))
        return m

    def step(self, m: Module, value: Value, name: str) -> Value:
        """`value` through one of the `inner_steps`: a register, or nothing in shorter pipelines."""
        if self._mac.pipeline < MAX_PIPELINE:
            return value
        return register(m, value, name)

    @abstractmethod
    def build(self, m: Module, taken: Operands) -> None:
        """Drive the outputs from the registered operands."""
