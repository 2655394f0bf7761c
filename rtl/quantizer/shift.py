"""Activation quantizer for steps that are powers of two: a shift instead of a division."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring

from asq_hw.numbers.widths import STEP_BITS
from rtl.lib.delay import delay
from rtl.lib.leading import leading_place, none_above
from rtl.quantizer.activation import StepQuantizer

__all__ = ["ShiftQuantizer"]


@dataclass(frozen=True, kw_only=True)
class ShiftQuantizer(StepQuantizer):
    """Codes by a shift, for shared exponents; any other step acts as the power of two below it.

    With the step ``2**e``, a multiplexer picks the bits of ``X * 2**T`` that a code has, and the
    one below them, which rounds; a mask of the bits above tells where the code is at its limit.

    Latency is 2 cycles (shift; rounding and limits). Behind a step comes an idle cycle, in which
    its leading one is found.
    """

    @property
    def arrangement(self) -> str:
        """``shift``."""
        return "shift"

    @property
    def latency_cyc(self) -> int:
        """Shift; rounding and limits."""
        return 2

    @property
    def load_cyc(self) -> int:
        """One cycle for the leading one."""
        return 1

    def acting(self, step: int) -> int:
        """The largest power of two that is not larger."""
        return 1 << (step.bit_length() - 1)

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Shift(self)


class _Shift(wiring.Component):
    """The circuit of `ShiftQuantizer`."""

    def __init__(self, design: ShiftQuantizer) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """The step's side, then the features'."""
        m = Module()
        design = self._design
        bits = design.bits
        # A reset stops nothing here: no feature may come before another step, which does.
        taken = Signal(STEP_BITS, reset_less=True)
        exponent = Signal(range(STEP_BITS), reset_less=True)
        with m.If(self.valid_in & self.load):
            m.d.sync += taken.eq(self.step)
        m.d.sync += exponent.eq(leading_place(taken))

        # 2 * X * 2**T; a code is bits e + 1 and up of it, bit e rounds.
        doubled = Cat(Const(0, design.step_fraction_bits + 1), self.feature)
        sign = self.feature[-1]
        first = bits if design.signed else bits + 1
        above = Signal(len(doubled), reset_less=True)
        m.d.sync += above.eq(
            Cat(
                none_above(taken, place - first) if place >= first else Const(0, 1)
                for place in range(len(doubled))
            )
        )
        other = (doubled ^ sign.replicate(len(doubled))) if design.signed else doubled
        window = Signal(signed(bits + 1) if design.signed else bits + 1, reset_less=True)
        beyond, negative = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            window.eq(Cat(doubled, sign.replicate(STEP_BITS)) >> exponent),
            beyond.eq((other & above).any()),
            negative.eq(sign),
        ]
        low, high = design.code_range
        count = (window + 1) >> 1
        limited = Mux(beyond | (count > high), high, count)
        code = Mux(negative & beyond, low, limited) if design.signed else Mux(negative, 0, limited)
        m.d.sync += self.code.eq(code)
        valid = delay(m, self.valid_in & ~self.load, design.latency_cyc, "valid")
        m.d.comb += self.valid_out.eq(valid)
        return m
