"""Circuits around a multiply-accumulate unit whose output ``wrong`` is 0 if the unit is right."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from amaranth.hdl import (
    Cat,
    Const,
    Elaboratable,
    Module,
    Mux,
    Shape,
    Signal,
    Value,
    signed,
)

from asq_hw.numbers.fixedpoint import signed_width
from asq_hw.numbers.products import Product
from rtl.design import VALID_OUT, MacDesign
from rtl.lib.delay import delay
from rtl.verify.unit import UNIT, Bug, input_signals, instantiate

__all__ = ["Claim", "Harness"]


class Claim(StrEnum):
    """What is proven of a unit; together they say that it sums the right products."""

    PRODUCT = "product"
    """In any state, a product that begins a sum leaves exactly itself in the accumulator, and its
    weight's excess."""
    SUM = "sum"
    """A product adds to the sum what it would leave there alone; an idle cycle adds nothing."""


class Harness(Elaboratable):
    """The unit's emitted Verilog as an instance beside what it must compute.

    Ports are the unit's inputs, ``wrong``, and ``legal``: whether both operands are
    valid codes, at a pace that the unit allows.

    Parameters
    ----------
    design : MacDesign
        The unit.
    claim : Claim
        What ``wrong`` denies.
    bug : Bug, optional
        Makes a twin that has to be refuted: with this one pair of operands its product is
        another's (``product``), or a new sum is not begun (``sum``).
    """

    def __init__(self, design: MacDesign, claim: Claim, bug: Bug | None = None) -> None:
        self._design = design
        self._claim = claim
        self._bug = bug
        self.inputs = input_signals(design)
        self.wrong = Signal()
        self.legal = Signal()
        widths = {port.name: port.width for port in design.outputs}
        self.probes = {
            register: Signal(widths[name], name=f"probe_{name}")
            for name, register in design.running.items()
        }
        """What registers of the unit hold, by their name in it: to be connected."""

    @property
    def ports(self) -> list[Signal]:
        """Ports of the top module, beside clock and reset."""
        return [*self.inputs.values(), *self.probes.values(), self.wrong, self.legal]

    def elaborate(self, platform: object) -> Module:
        """Join unit and claim."""
        m = Module()
        values = {port.name: port.values for port in self._design.inputs if port.values}
        known = [self.inputs[name].matches(*codes) for name, codes in values.items()]
        m.d.comb += self.legal.eq(Cat(known).all() & self._paused(m))
        outputs = self._unit(m, UNIT, self._given())
        match self._claim:
            case Claim.PRODUCT:
                self._claim_product(m, outputs)
            case Claim.SUM:
                self._claim_sum(m, outputs, self._alone(m))
        return m

    def _paused(self, m: Module) -> Value:
        """Whether a product, if there is one, comes late enough behind the one before it."""
        pause = self._design.interval_cyc - 1
        rest = Signal(range(pause + 1), name="rest")
        with m.If(self.inputs["valid_in"]):
            m.d.sync += rest.eq(pause)
        with m.Elif(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        late = rest == 0
        if self._design.pause is not None:
            late &= ~(self.inputs["start"] & delay(m, self.inputs["valid_in"], 1, "before"))
        return ~self.inputs["valid_in"] | late

    def _given(self) -> dict[str, Value]:
        """What the unit is given: the inputs, but for a twin's bug."""
        given: dict[str, Value] = dict(self.inputs)
        if self._bug is None:
            return given
        shows = Cat(given[name] == value for name, value in self._bug.when.items()).all()
        match self._claim:
            case Claim.PRODUCT:
                changed = next(iter(self._bug.when))
                given[changed] = Mux(shows, self._bug.instead, given[changed])
            case Claim.SUM:
                given["start"] = given["start"] & ~shows
        return given

    def _unit(self, m: Module, name: str, inputs: Mapping[str, Value]) -> dict[str, Signal]:
        """Instantiate the unit's Verilog module."""
        outputs = {
            port.name: Signal(port.shape, name=f"{name}_{port.name}")
            for port in (*self._design.outputs, VALID_OUT)
        }
        instantiate(m, self._design, name, inputs, outputs)
        return outputs

    def _alone(self, m: Module) -> list[Value]:
        """What each product adds to each accumulator, `latency_cyc` later.

        A second copy of the unit says so, told to begin a sum. One that begins no sum without a
        pause cannot; plain arithmetic does.
        """
        if self._design.pause is None:
            copy = self._unit(m, "alone", self.inputs | {"start": Const(1)})
            return [copy[port.name].as_unsigned() for port in self._design.outputs]
        return [self._wanted(m, index) for index in range(len(self._design.outputs))]

    def _wanted(self, m: Module, index: int) -> Value:
        """The term for accumulator `index`, `latency_cyc` later."""
        port = self._design.outputs[index]
        term = Signal(signed(port.width), name=f"term_{port.name}")
        excess = {code: terms[index] for code, terms in self._design.excess.items()}
        beside = self._factor(m, excess, f"excess_{port.name}") if any(excess.values()) else 0
        m.d.comb += term.eq(self._term(m, index) + beside)
        return delay(m, term.as_unsigned(), self._design.latency_cyc, f"wanted_{port.name}")

    def _claim_product(self, m: Module, outputs: Mapping[str, Signal]) -> None:
        latency = self._design.latency_cyc
        begun = delay(m, self.inputs["valid_in"] & self.inputs["start"], latency, "begun")
        wrong = begun & ~outputs["valid_out"]
        for index, port in enumerate(self._design.outputs):
            wrong |= begun & (outputs[port.name].as_unsigned() != self._wanted(m, index))
        m.d.comb += self.wrong.eq(wrong)

    def _term(self, m: Module, index: int) -> Value:
        """What the pair at the inputs adds to accumulator `index`, in plain arithmetic."""
        grid, product = self._design.weight_grid, self._design.product
        activation = self.inputs["activation"]
        if product.uses_lut(grid):
            return self._rounded(m, product)
        pairs = self._pairs()
        if product.uses_odd_codes(grid):
            even, odd = ({code: pair[i] for code, pair in pairs.items()} for i in range(2))
            met = self._factor(m, odd, "factor_odd") * self.inputs["second"]
            return self._factor(m, even, "factor_even") * activation + met
        one = len(self._design.outputs) == 1
        parts = {code: sum(pair) if one else pair[index] for code, pair in pairs.items()}
        return self._factor(m, parts, f"factor_{index}") * activation

    def _factor(self, m: Module, parts: Mapping[int, int], name: str) -> Signal:
        """An integer by the weight's code."""
        factor = Signal(_shape_of(parts.values()), name=name)
        with m.Switch(self.inputs["weight"]):
            for code, part in parts.items():
                with m.Case(code):
                    m.d.comb += factor.eq(part)
        return factor

    def _pairs(self) -> dict[int, tuple[int, int]]:
        """The grid's pair of integers by the code at the port."""
        pairs = self._design.weight_grid.decode_table()
        return {code: pairs[stored] for code, stored in self._design.weight_codes.items()}

    def _rounded(self, m: Module, product: Product) -> Value:
        """The same for ``post-lut``: the activation times √2 is a rounded table of its own."""
        activation = self.inputs["activation"]
        legal = range(
            self._design.activation_grid.minimum, self._design.activation_grid.maximum + 1
        )
        pairs = self._pairs()
        entries = {(code, q): product.lut_entry(q, *pairs[code]) for code in pairs for q in legal}
        entry = Signal(_shape_of(entries.values()), name="entry")
        with m.Switch(self.inputs["weight"]):
            for code in pairs:
                with m.Case(code), m.Switch(activation):
                    for q in legal:
                        with m.Case(q):
                            m.d.comb += entry.eq(entries[code, q])
        return entry

    def _claim_sum(self, m: Module, outputs: Mapping[str, Signal], alone: Sequence[Value]) -> None:
        latency = self._design.latency_cyc
        valid = delay(m, self.inputs["valid_in"], latency, "valid")
        start = delay(m, self.inputs["start"], latency, "start")
        wrong = outputs["valid_out"] != valid
        settled = self._settled(m, valid)
        for port, added in zip(self._design.outputs, alone, strict=True):
            # The sum as it must be, from the moment of the reset on.
            kept = Signal(port.width, name=f"kept_{port.name}")
            new = Mux(start, 0, kept) + added
            now = Signal(port.width, name=f"now_{port.name}")
            m.d.comb += now.eq(Mux(valid, new, kept))
            m.d.sync += kept.eq(now)
            wrong |= settled & (outputs[port.name].as_unsigned() != now)
            if port.name in self._design.running:
                # Without this an induction would begin where the two sums have nothing in common.
                running = self.probes[self._design.running[port.name]]
                cleared = delay(m, self._begins(), latency - 1, f"cleared_{port.name}")
                wrong |= settled & (running != Mux(cleared, 0, outputs[port.name].as_unsigned()))
        m.d.comb += self.wrong.eq(wrong)

    def _begins(self) -> Value:
        """Whether a product at the inputs begins a sum."""
        return self.inputs["valid_in"] & self.inputs["start"]

    def _settled(self, m: Module, valid: Value) -> Value:
        """Where the outputs must be the sum: with each result, and until something changes it."""
        latency, settled = self._design.latency_cyc, Value.cast(Const(1, 1))
        if self._design.interval_cyc > 1:
            # A unit that takes its time changes the sum meanwhile.
            inside = [
                delay(m, self.inputs["valid_in"], cycles, f"inside{cycles}")
                for cycles in range(1, latency)
            ]
            settled = valid | ~Cat(*inside).any()
        if self._design.pause is not None:
            # It is cleared before the next sum begins.
            settled = settled & ~delay(m, self._begins(), latency - 1, "begins")
        fresh: Value = Const(0, 1)
        for cycle in range(self._design.settle_cyc):
            behind_reset = Signal(name=f"behind_reset{cycle + 1}", init=1)
            m.d.sync += behind_reset.eq(fresh)
            fresh = behind_reset
        return settled & ~fresh


def _shape_of(values: Collection[int]) -> Shape:
    return signed(signed_width(min(values), max(values)))
