"""The finder of a shared exponent: the step that a sample's largest feature sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.errors import InputError, check_range
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.widths import (
    MAX_FEATURE_BITS,
    MAX_STEP_FRACTION_BITS,
    MIN_FEATURE_BITS,
    STEP_BITS,
)
from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows
from rtl.lib.delay import delay
from rtl.lib.leading import leading_one

__all__ = ["LEAST_OFFSET", "ExponentFinder"]

LEAST_OFFSET = -7
"""Of codes up to 255 and no fraction bits."""


@dataclass(frozen=True, kw_only=True)
class ExponentFinder(Design):
    """Step ``2**clamp(k + offset, lowest, highest)`` (docs/arithmetic.md, section 4).

    ``2**k`` is the largest power of two that the largest ``|X|`` of a sample reaches, 1 where all X
    are 0. An operation is one feature; ``last`` marks a sample's last one, which alone has a
    result.

    No comparison is made: the leading one of all magnitudes is that of the largest. Latency is 2
    cycles (magnitudes joined; leading one). Throughput is one feature each cycle, without a pause
    between samples, of any length.

    Parameters
    ----------
    feature_bits : int
        Width of a feature, signed, 4 to 24.
    offset : int
        The step's fraction bits T, less the exponent m of the largest power of two among the codes;
        -7 to 24.
    lowest, highest : int
        Exponents that a step can have, 0 to 15.
    """

    feature_bits: int = 16
    offset: int = 5
    lowest: int = 0
    highest: int = STEP_BITS - 1

    def __post_init__(self) -> None:
        check_range("feature bits", self.feature_bits, MIN_FEATURE_BITS, MAX_FEATURE_BITS)
        check_range("an exponent's offset", self.offset, LEAST_OFFSET, MAX_STEP_FRACTION_BITS)
        check_range("the lowest exponent", self.lowest, 0, STEP_BITS - 1)
        check_range("the highest exponent", self.highest, 0, STEP_BITS - 1)
        if self.highest < self.lowest:
            raise InputError(
                f"the highest exponent must be at least the lowest, {self.lowest}, "
                f"not {self.highest}"
            )

    @staticmethod
    def offset_for(grid: Grid, step_fraction_bits: int) -> int:
        """The offset of codes of a grid, and T fraction bits of their step."""
        return step_fraction_bits - (grid.maximum.bit_length() - 1)

    @property
    def stem(self) -> str:
        """Beginning of its name: ``exponent_x16_o5_e0_15``, with ``om5`` for an offset of -5."""
        offset = f"{'m' if self.offset < 0 else ''}{abs(self.offset)}"
        return f"exponent_x{self.feature_bits}_o{offset}_e{self.lowest}_{self.highest}"

    @property
    def title(self) -> str:
        """One line for people."""
        return f"Shared exponent of a sample's features of {self.feature_bits} bits"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with."""
        return {
            "feature_bits": self.feature_bits,
            "offset": self.offset,
            "lowest": self.lowest,
            "highest": self.highest,
        }

    @property
    def ports(self) -> tuple[Port, ...]:
        """``feature`` and ``last`` in, ``step`` out."""
        return (
            VALID_IN,
            Port(name="last", width=1, direction=Direction.IN, meaning="the sample's last feature"),
            Port(
                name="feature",
                width=self.feature_bits,
                signed=True,
                direction=Direction.IN,
                meaning="feature X",
            ),
            VALID_OUT,
            Port(
                name="step",
                width=STEP_BITS,
                direction=Direction.OUT,
                meaning="step D of the sample, a power of two",
            ),
        )

    @property
    def latency_cyc(self) -> int:
        """Magnitudes joined; leading one."""
        return 2

    def exponent_at(self, place: int) -> int:
        """The step's exponent where the largest magnitude's leading one is at `place`."""
        return min(max(place + self.offset, self.lowest), self.highest)

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Finder(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """The contract's formula at each sample's last feature; elsewhere it means nothing."""
        largest, steps = 0, []
        for last, feature in zip(inputs["last"].tolist(), inputs["feature"].tolist(), strict=True):
            largest = max(largest, abs(feature))
            exponent = 0
            while 2 << exponent <= largest:
                exponent += 1
            steps.append(1 << self.exponent_at(exponent) if last else 0)
            largest = 0 if last else largest
        return {"step": np.array(steps, dtype=np.int64)}

    def emits(self, inputs: Rows) -> NDArray[np.bool_]:
        """Only a sample's last feature has a step."""
        return np.equal(inputs["last"], 1)

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Samples of 1 to 64 features and of every size, some of zeros, some at a power of two."""
        lengths = random.integers(1, 1 << random.integers(1, 7, operations))
        last = np.zeros(operations, dtype=np.int64)
        ends = np.cumsum(lengths) - 1
        last[ends[ends < operations]] = 1
        sample = np.cumsum(last) - last
        place = random.integers(-1, self.feature_bits, operations)[sample]
        power = np.where(place < 0, 0, np.int64(1) << np.maximum(place, 0))
        below = random.integers(0, np.maximum(power, 1))
        near = power + random.integers(-1, 2, operations) * (power > 1)
        chosen = random.random(operations)
        feature = np.select([chosen < 0.2, chosen < 0.3], [power, near], below)
        feature = np.where(random.random(operations) < 0.5, -feature, feature)
        low, high = self.inputs[1].range
        return {"last": last, "feature": np.clip(feature, low, high)}


class _Finder(wiring.Component):
    """The circuit of `ExponentFinder`."""

    def __init__(self, design: ExponentFinder) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """Join the magnitudes; put the leading one where the step has it."""
        m = Module()
        design = self._design
        magnitude = Signal(design.feature_bits)
        joined = Signal(design.feature_bits)
        begins = Signal(init=1)
        m.d.comb += magnitude.eq(Mux(self.feature < 0, -self.feature, self.feature))
        with m.If(self.valid_in):
            m.d.sync += [
                joined.eq(Mux(begins, 0, joined) | magnitude),
                begins.eq(self.last),
            ]
        # Nothing but zeros counts as a 1.
        ones = [*leading_one(joined)]
        ones[0] = ~joined[1:].any()
        exponents = [design.exponent_at(place) for place in range(design.feature_bits)]
        step = [
            Cat(one for one, at in zip(ones, exponents, strict=True) if at == exponent).any()
            if exponent in exponents
            else Const(0, 1)
            for exponent in range(STEP_BITS)
        ]
        m.d.sync += self.step.eq(Cat(step))
        valid = delay(m, self.valid_in & self.last, design.latency_cyc, "valid")
        m.d.comb += self.valid_out.eq(valid)
        return m
