"""What the finder of a shared exponent and the quantizer that shifts must compute."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned

from asq_hw.numbers.widths import STEP_BITS
from rtl.lib.delay import delay
from rtl.quantizer.exponent import ExponentFinder
from rtl.quantizer.shift import ShiftQuantizer
from rtl.verify.ladder import Loads
from rtl.verify.unit import Bug, Claims, UnitHarness

__all__ = ["ExponentHarness", "ShiftHarness"]


def _reached(value: Value) -> Value:
    """The largest power of two that an unsigned value reaches; 0 of 0."""
    largest: Value = Const(0, len(value))
    for place in range(len(value)):
        largest = Mux(value >= (1 << place), 1 << place, largest)
    return largest


class ShiftHarness(UnitHarness):
    """For ever, each feature's code is the rule's, for the power of two that its step reaches."""

    def __init__(self, design: ShiftQuantizer, bug: Bug | None = None) -> None:
        super().__init__(design, bug)
        self._design = design
        self._taken = self.probe("taken", unsigned(STEP_BITS))
        self._exponent = self.probe("exponent", range(STEP_BITS))
        self._above = self.probe(
            "above", unsigned(design.feature_bits + design.step_fraction_bits + 1)
        )

    def claim(self, m: Module) -> Claims:
        """The step as it was taken, then its exponent and mask."""
        design = self._design
        acting = Signal(STEP_BITS, name="acting")
        m.d.comb += acting.eq(_reached(self.inputs["step"]))
        loads = Loads(m, design, self.inputs, acting)
        ready = loads.loaded & (loads.rest == 0)
        # What lies above a code's bits: from twice the range of codes on, for signed ones.
        first = design.bits + (0 if design.signed else 1)
        mask = Cat(
            loads.step <= (1 << place - first) if place >= first else Const(0, 1)
            for place in range(len(self._above))
        )
        astray = [
            *loads.astray,
            loads.loaded & ((loads.step == 0) | (_reached(self._taken) != loads.step)),
            ready & ((Const(1, 1) << self._exponent) != loads.step),
            ready & (self._above != mask),
        ]
        taken = self.inputs["valid_in"] & ~self.inputs["load"]
        valid = delay(m, taken, design.latency_cyc, "taken")
        code = loads.wrong(m, self.inputs["feature"], self.outputs["code"], design.code_range)
        wrong = [self.outputs["valid_out"] != valid, valid & code]
        return Claims(legal=loads.legal, wrong=wrong, astray=astray)


class ExponentHarness(UnitHarness):
    """Each step is the contract's, of the largest magnitude since the last sample's end."""

    def __init__(self, design: ExponentFinder, bug: Bug | None = None) -> None:
        super().__init__(design, bug)
        self._design = design
        self._begins = self.probe("begins", 1)
        self._joined = self.probe("joined", unsigned(design.feature_bits))

    def claim(self, m: Module) -> Claims:
        """The largest magnitude beside the unit's joined ones."""
        design = self._design
        valid, last = self.inputs["valid_in"], self.inputs["last"]
        feature = self.inputs["feature"]
        wide = Signal(signed(design.feature_bits + 1), name="feature_or_less")
        magnitude = Signal(design.feature_bits, name="magnitude")
        largest = Signal(design.feature_bits, name="largest")
        ended = Signal(init=1, name="ended")
        m.d.comb += [wide.eq(Mux(feature < 0, 0 - feature, feature)), magnitude.eq(wide)]
        with m.If(valid):
            m.d.sync += ended.eq(last)
            with m.If(ended | (magnitude > largest)):
                m.d.sync += largest.eq(magnitude)
        astray = [self._begins != ended, _reached(self._joined) != _reached(largest)]
        taken = delay(m, valid & last, design.latency_cyc, "taken")
        before = delay(m, largest, 1, "largest")
        step: Value = Const(1 << design.exponent_at(0), STEP_BITS)
        for place in range(1, design.feature_bits):
            step = Mux(before >= (1 << place), 1 << design.exponent_at(place), step)
        wrong = [
            self.outputs["valid_out"] != taken,
            taken & (self.outputs["step"] != step),
        ]
        return Claims(legal=Const(1), wrong=wrong, astray=astray)
