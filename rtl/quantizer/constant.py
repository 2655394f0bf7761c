"""Activation quantizer for a step that is a constant of the network: thresholds in tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Module, Shape
from amaranth.lib import memory, wiring
from numpy.typing import NDArray

from asq_hw.errors import check_range
from asq_hw.numbers.widths import STEP_BITS
from rtl.design import VALID_IN, VALID_OUT, Parameter, Port, Rows
from rtl.quantizer.activation import FeatureQuantizer
from rtl.quantizer.bisection import bisect, numbers_in

__all__ = ["ConstantQuantizer"]


@dataclass(frozen=True, kw_only=True)
class ConstantQuantizer(FeatureQuantizer):
    """Codes by comparison with constant thresholds; an operation is a feature.

    Latency is `bits` cycles: features bisect the thresholds, as in a `LadderQuantizer`.

    Parameters
    ----------
    bits, signed, feature_bits, step_fraction_bits
        As of every `FeatureQuantizer`.
    step : int
        D, 1 to 65535.
    """

    step: int = 1 << 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("the step", self.step, 1, (1 << STEP_BITS) - 1)

    @property
    def arrangement(self) -> str:
        """``constant``."""
        return "constant"

    @property
    def stem(self) -> str:
        """Beginning of its name: ``asq_constant_a4_x16_t0_d256``."""
        return f"{super().stem}_d{self.step}"

    @property
    def title(self) -> str:
        """One line for people."""
        return f"Activation quantizer (constant step {self.step}) to {self.grid} codes"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with."""
        return {**super().parameters, "step": self.step}

    @property
    def latency_cyc(self) -> int:
        """One cycle for each bit of a code."""
        return self.bits

    @property
    def ports(self) -> tuple[Port, ...]:
        """``feature`` in, ``code`` out."""
        return (VALID_IN, self.feature_port, VALID_OUT, self.code_port)

    def threshold(self, number: int) -> int:
        """The smallest feature whose code is `number` or more above Qn, or one beyond all."""
        multiple = (2 * (self.grid.minimum + number) - 1) * self.step
        least = -(-multiple >> (self.step_fraction_bits + 1))
        edge = 1 << (self.feature_bits - 1)
        return min(max(least, -edge), edge)

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Constant(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """The contract's division."""
        codes = [self.code(feature, self.step) for feature in inputs["feature"].tolist()]
        return {self.code_port.name: np.array(codes, dtype=np.int64)}

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Most features at a threshold or beside it."""
        drawn = super().stimulus(random, operations)["feature"]
        steps = np.full(operations, self.step, dtype=np.int64)
        return {"feature": self.near_thresholds(random, steps, drawn)}


class _Constant(wiring.Component):
    """The circuit of `ConstantQuantizer`."""

    def __init__(self, design: ConstantQuantizer) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        design = self._design
        made = [design.threshold(number) for number in range(1, 1 << design.bits)]
        shape = Shape.cast(range(min(*made, 0), max(*made, 0) + 1))
        tables = []
        for stage in range(design.bits):
            init = [made[number - 1] for number in numbers_in(stage, design.bits)]
            table = memory.Memory(shape=shape, depth=1 << stage, init=init)
            m.submodules[f"thresholds{stage}"] = table
            tables.append(table)
        count, valid = bisect(m, tables, self.feature, self.valid_in)
        m.d.comb += [
            self.valid_out.eq(valid),
            # Qn plus the count: the top bit is turned over for signed codes.
            self.code.eq(count ^ ((1 << (design.bits - 1)) if design.signed else 0)),
        ]
        return m
