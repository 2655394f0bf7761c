"""Circuits that make one product each cycle, before anything is summed.

Every unit registers its inputs, so that its first stage has no logic in front of it, and takes one
operation each cycle; `ProductUnit.latency_cyc` tells after how many cycles the product stands at
its outputs. What follows must register it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.lib.delay import register
from rtl.mac.codes import Codes
from rtl.mac.combinations import MAX_PIPELINE
from rtl.mac.parameters import MacParameters, term_table
from rtl.mac.signs import raised_by

__all__ = ["Operands", "ProductUnit", "raised"]


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

    Where signs are deferred ``value`` is all, is never negative, and is too large by `excess`.

    It belongs to the odd accumulator where ``odd`` is 1.

    Parameters
    ----------
    mac : MacParameters
        What is multiplied, and how.
    resets : bool
        Whether a reset is to leave nothing of a product behind; else it may, where what follows is
        cleared by starts meanwhile.

    Ports
    -----
    valid : in, 1
        Where it is 0, the activation is taken as 0, and so is the product.
    activation, weight : in
        An operand pair of `mac`.
    second : in
        The activation's second code, where `mac` has such.
    value : out, signed
        The product, or for negative products of some units its bits inverted; unsigned where signs
        are deferred.
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

    _inverts = False
    _subtracts = False
    has_zero = False
    """Whether there is `zero`, which clears what follows; nothing else has to, then."""

    def __init__(self, mac: MacParameters, *, resets: bool = False) -> None:
        self._mac = mac
        self._resets = resets or not mac.is_reset_by_starts
        ports = {port.name: port for port in mac.ports}
        members = {
            "valid": In(1),
            **{name: In(ports[name].shape) for name in (*mac.operands, "weight")},
            "value": Out(self._value_shape()),
            "negative": Out(1),
            "odd": Out(1),
        }
        members |= {"zero": Out(1)} if self.has_zero else {}
        members |= {"doubles": Out(1)} if self.leaves_doubling(mac) else {}
        super().__init__(members)

    def _value_shape(self) -> Shape:
        terms = [term for terms in term_table(self._mac).values() for term in terms]
        if not self._mac.defers:
            limit = max(-min(terms), max(terms))
            return signed(limit.bit_length() + 1)
        excess = self.excesses(self._mac)
        words = (sum(terms) + excess[code] for (_, code), terms in term_table(self._mac).items())
        return unsigned(max(words).bit_length())

    @property
    def inverts(self) -> bool:
        """Whether `negative` can be 1, and is to be added."""
        return self._inverts and not self._mac.defers

    @property
    def subtracts(self) -> bool:
        """Whether `value` is a magnitude, which `negative` says is to be subtracted."""
        return self._subtracts and not self._mac.defers

    @classmethod
    def excesses(cls, mac: MacParameters) -> Mapping[int, int]:
        """What `value` is too large by where signs are deferred, by the weight's code."""
        return {code: cls.excess(mac, code) for code in mac.weight_codes}

    @classmethod
    @abstractmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """The same for one code at the weight's port, whatever the activation is."""

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
        given = self.given()
        # With the activation at 0 every product is 0, whatever the weight; but what is unknown at
        # the inputs must not even pass through: in four-state simulation 0 times X is X.
        idle = dict.fromkeys(given, 0) | {"weight": self._idle_weight}
        taken = {
            name: Signal(value.shape(), name=name, init=idle[name]) for name, value in given.items()
        }
        m.d.sync += [taken[name].eq(value) for name, value in given.items()]
        with m.If(~self.valid):
            m.d.sync += [signal.eq(idle[name]) for name, signal in taken.items()]
        self.build(m, Operands(**taken))
        return m

    @property
    def _idle_weight(self) -> int:
        """What stands for the weight where there is no product: one that is not negative."""
        is_inverted = self._mac.codes is Codes.INVERTED
        return (1 << len(self.weight)) - 1 if self._mac.defers and is_inverted else 0

    def given(self) -> Mapping[str, Value]:
        """The operands at the ports; where signs are deferred, signed activations are raised."""
        operands = {name: getattr(self, name) for name in (*self._mac.operands, "weight")}
        if not self._mac.defers:
            return operands
        return {
            name: value if name == "weight" else raised(self._mac, name, value)
            for name, value in operands.items()
        }

    def complemented(self, operand: Value, negative: Value) -> Value:
        """An activation's code, inverted where signs are deferred and the weight is negative."""
        return operand ^ negative.replicate(len(operand)) if self._mac.defers else operand

    def step(self, m: Module, value: Value, name: str) -> Value:
        """`value` through one of the `inner_steps`: a register, or nothing in shorter pipelines."""
        if self._mac.pipeline < MAX_PIPELINE:
            return value
        return register(m, value, name)

    @abstractmethod
    def build(self, m: Module, taken: Operands) -> None:
        """Drive the outputs from the registered operands."""


def raised(mac: MacParameters, operand: str, code: Value) -> Value:
    """An activation's code as it comes to a unit that defers signs: unsigned."""
    return (code.as_unsigned() ^ raised_by(mac, operand))[: len(code)]
