"""Activation quantizer that multiplies by the reciprocal of the step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.numbers.widths import STEP_BITS
from rtl.lib.delay import delay
from rtl.quantizer.activation import StepQuantizer

__all__ = ["ReciprocalQuantizer"]


@dataclass(frozen=True, kw_only=True)
class ReciprocalQuantizer(StepQuantizer):
    """Codes by a multiplication that is exact for every feature and step.

    With ``d = 2 * D``, a code is Qn plus ``floor(n / d)``, where ``n = 2 * X * 2**T + D - Qn * d``
    is limited to ``0 .. 2**bits * d - 1``. A step is shifted left until its top bit is 1, and
    ``m = ceil(2**k / d)`` of the shifted one found by long division, a bit each cycle, with
    ``k = bits + 2 * 17``. Then ``floor(n / d) = n * m >> k``, n shifted likewise: m is less than 1
    too large and ``n * d < 2**k``, so that the product is too large by less than ``2**k / d``:
    no floor shows it (Granlund and Montgomery, 1994).

    Latency is 4 cycles; behind a step come `load_cyc` idle ones.
    """

    @property
    def arrangement(self) -> str:
        """``reciprocal``."""
        return "reciprocal"

    @property
    def latency_cyc(self) -> int:
        """Offset and limit, shift, multiply, and the register of the code."""
        return 4

    @property
    def load_cyc(self) -> int:
        """A pause for features on their way, the shift, and a cycle for each bit of m."""
        return self.latency_cyc + STEP_BITS + self._quotient_bits + 1

    @property
    def close_steps(self) -> NDArray[np.int64]:
        """Steps whose division meets a remainder that is just as large as the divisor, or 1 less.

        The former divide ``2**i - 1`` for an i up to ``k - 1``, the latter are powers of two: few
        of all steps.
        """
        steps = np.arange(1, 1 << STEP_BITS)
        divisor, rest = steps.copy(), np.full(steps.shape, self._first_rest)
        for _ in range(STEP_BITS - 1):
            divisor = np.where(divisor >> (STEP_BITS - 1), divisor, divisor << 1)
        close = np.zeros(steps.shape, dtype=np.bool_)
        for _ in range(self._quotient_bits):
            close |= (rest == divisor) | (rest == divisor - 1)
            trial = 2 * rest + 1
            rest = np.where(rest >= divisor, trial - 2 * divisor, trial)
        return steps[close].astype(np.int64)

    @property
    def _first_rest(self) -> int:
        """What is left of the dividend's first bits, which are less than any divisor."""
        return (1 << (self._power - self._quotient_bits)) - 1

    @property
    def _power(self) -> int:
        return self.bits + 2 * (STEP_BITS + 1)

    @property
    def _quotient_bits(self) -> int:
        """Bits of m: at most ``2**k / 2**16``, rounded up."""
        return self._power - STEP_BITS + 1

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Reciprocal(self)


class _Reciprocal(wiring.Component):
    """The circuit of `ReciprocalQuantizer`."""

    def __init__(self, design: ReciprocalQuantizer) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """The step's side, then the features'."""
        m = Module()
        step = Signal(STEP_BITS, name="current_step")
        shift = Signal(range(STEP_BITS))
        reciprocal = Signal(self._design._quotient_bits)
        self._divide(m, step, shift, reciprocal)
        self._multiply(m, step, shift, reciprocal)
        return m

    def _divide(self, m: Module, step: Signal, shift: Signal, reciprocal: Signal) -> None:
        """After a pause, shift the step up, then find m, a bit each cycle."""
        design = self._design
        bits = design._quotient_bits
        new = Signal(STEP_BITS, name="new_step")
        divisor = Signal(STEP_BITS)
        pause = Signal(range(design.latency_cyc + 1))
        shifting, dividing = Signal(name="shifting"), Signal(name="dividing")
        count = Signal(range(bits), name="bits_left")
        # ceil(2**k / d) is floor((2**k - 1) / d) + 1, and the dividend's bits are all 1.
        rest = Signal(STEP_BITS + 1)
        trial = Signal(STEP_BITS + 2)
        m.d.comb += trial.eq(Cat(Const(1, 1), rest))
        fits = trial >= Cat(Const(0, 1), divisor)
        with m.If(self.valid_in & self.load):
            m.d.sync += [new.eq(self.step), pause.eq(design.latency_cyc)]
            m.d.sync += [shifting.eq(0), dividing.eq(0)]
        with m.Elif(pause != 0):
            m.d.sync += pause.eq(pause - 1)
            with m.If(pause == 1):
                m.d.sync += [step.eq(new), divisor.eq(new), shift.eq(0), shifting.eq(1)]
        with m.Elif(shifting):
            with m.If(divisor[-1]):
                m.d.sync += [shifting.eq(0), dividing.eq(1), count.eq(bits - 1)]
                m.d.sync += rest.eq(design._first_rest)
            with m.Else():
                m.d.sync += [divisor.eq(divisor << 1), shift.eq(shift + 1)]
        with m.Elif(dividing):
            m.d.sync += [
                rest.eq(Mux(fits, trial - Cat(Const(0, 1), divisor), trial)),
                reciprocal.eq(Cat(fits, reciprocal) + (count == 0)),
                count.eq(count - 1),
            ]
            with m.If(count == 0):
                m.d.sync += dividing.eq(0)

    def _multiply(self, m: Module, step: Signal, shift: Signal, reciprocal: Signal) -> None:
        design = self._design
        bits = design.bits
        top = bits + STEP_BITS + 1
        scaled = Cat(Const(0, design.step_fraction_bits + 1), self.feature).as_signed()
        lift = Cat(Const(0, bits), step) if design.signed else Const(0)
        raised = Signal(signed(max(design.feature_bits + design.step_fraction_bits + 1, top) + 2))
        m.d.comb += raised.eq(scaled + step + lift)
        beyond = raised >= Cat(Const(0, bits + 1), step)
        limited = Signal(top)
        full = Signal()
        shifted = Signal(top)
        full_2 = Signal()
        count = Signal(bits)
        product = Signal(top + design._quotient_bits)
        full_3 = Signal()
        m.d.sync += [
            limited.eq(Mux((raised < 0) | beyond, 0, raised)),
            full.eq((raised >= 0) & beyond),
            shifted.eq(limited << shift),
            full_2.eq(full),
            product.eq(shifted * reciprocal),
            full_3.eq(full_2),
            count.eq(Mux(full_3, (1 << bits) - 1, product >> design._power)),
        ]
        m.d.comb += self.code.eq(count ^ ((1 << (bits - 1)) if design.signed else 0))
        valid = delay(m, self.valid_in & ~self.load, design.latency_cyc, "valid")
        m.d.comb += self.valid_out.eq(valid)
