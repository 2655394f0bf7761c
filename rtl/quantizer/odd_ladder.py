"""Quantizer of ``post-dual``'s odd codes: a ladder for the step over the root of two."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from asq_hw.errors import check_range
from asq_hw.numbers.fixedpoint import SQRT2_MULTIPLIER
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from asq_hw.numbers.odd_codes import ODD_STEP_SHIFT, odd_code_range, odd_step
from asq_hw.numbers.widths import STEP_BITS
from rtl.design import Direction, Port
from rtl.lib.arithmetic import clamp, round_half_up
from rtl.quantizer.activation import StepQuantizer
from rtl.quantizer.ladder import LadderQuantizer

__all__ = ["OddLadderQuantizer"]


@dataclass(frozen=True, kw_only=True)
class OddLadderQuantizer(StepQuantizer):
    """Feature to odd code ``qO`` (docs/arithmetic.md, section 4), for the step D of its other code.

    A constant multiplier makes ``DO`` of a new step, once for all features behind it. They go to a
    `LadderQuantizer` of one bit more, whose codes are limited to the odd ones.

    It stands beside a quantizer of the other codes, is given the same operations, and answers
    ``latency_cyc - bits`` cycles later than a `LadderQuantizer` there.

    Latency is ``bits + 2`` cycles: one for the step's product and its features, one for each bit of
    an odd code. Behind a step come as many idle cycles as the ladder inside needs.
    """

    def __post_init__(self) -> None:
        check_range("activation bits of odd codes", self.bits, MIN_BITS, MAX_BITS - 1)
        super().__post_init__()

    @property
    def arrangement(self) -> str:
        """``odd-ladder``."""
        return "odd-ladder"

    @property
    def stem(self) -> str:
        """Beginning of its name: ``asq_odd_ladder_a4_x16_t0``."""
        return super().stem.replace("-", "_")

    @property
    def title(self) -> str:
        """One line for people."""
        return f"ASQ quantizer of odd codes (ladder), beside {self.grid} codes"

    @property
    def ladder(self) -> LadderQuantizer:
        """The ladder inside."""
        return LadderQuantizer(
            bits=self.bits + 1,
            signed=self.signed,
            feature_bits=self.feature_bits,
            step_fraction_bits=self.step_fraction_bits,
        )

    @property
    def latency_cyc(self) -> int:
        """One cycle more than the ladder's."""
        return self.ladder.latency_cyc + 1

    @property
    def load_cyc(self) -> int:
        """The ladder's."""
        return self.ladder.load_cyc

    @property
    def code_range(self) -> tuple[int, int]:
        """Those of odd codes."""
        return odd_code_range(self.grid)

    @property
    def code_port(self) -> Port:
        """``odd_code``, a bit wider than a code."""
        return Port(
            name="odd_code",
            width=self.bits + 1,
            signed=self.signed,
            direction=Direction.OUT,
            meaning="odd activation code qO",
        )

    def acting(self, step: int) -> int:
        """``DO``."""
        return odd_step(step)

    def component(self) -> wiring.Component:
        """The circuit."""
        return _OddLadder(self)


class _OddLadder(wiring.Component):
    """The circuit of `OddLadderQuantizer`."""

    def __init__(self, design: OddLadderQuantizer) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """Make the step, delay what comes with it, and limit what the ladder finds."""
        m = Module()
        m.submodules.ladder = ladder = self._design.ladder.component()
        valid = Signal(name="valid_taken")
        load, feature, step = (
            Signal(shape, name=f"{name}_taken", reset_less=True)
            for name, shape in (("load", 1), ("feature", self.feature.shape()), ("step", STEP_BITS))
        )
        m.d.sync += [
            valid.eq(self.valid_in),
            load.eq(self.load),
            feature.eq(self.feature),
            step.eq(round_half_up(self.step * SQRT2_MULTIPLIER, ODD_STEP_SHIFT)),
        ]
        low, high = self._design.code_range
        m.d.comb += [
            ladder.valid_in.eq(valid),
            ladder.load.eq(load),
            ladder.feature.eq(feature),
            ladder.step.eq(step),
            self.valid_out.eq(ladder.valid_out),
            self.odd_code.eq(clamp(ladder.code, low=low if low else None, high=high)),
        ]
        return m
