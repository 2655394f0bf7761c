"""What activation quantizers have in common, and those whose step is given late."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import check_range
from asq_hw.numbers.fixedpoint import divide_half_up
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM
from asq_hw.numbers.widths import (
    MAX_FEATURE_BITS,
    MAX_STEP_FRACTION_BITS,
    MIN_FEATURE_BITS,
    STEP_BITS,
)
from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows
from rtl.pace import Pause
from rtl.rules import BEGUN, Rules

__all__ = ["FeatureQuantizer", "StepQuantizer"]


@dataclass(frozen=True, kw_only=True)
class FeatureQuantizer(Design):
    """Feature to activation code, ``clamp(round(X * 2**T / D), Qn, Qp)``, for a step D.

    Ties go up (docs/arithmetic.md, section 4). Throughput is one feature each cycle.

    Parameters
    ----------
    bits : int
        Width of a code, 2 to 8.
    signed : bool
        Whether codes are two's complement.
    feature_bits : int
        Width of a feature X, signed, 4 to 24.
    step_fraction_bits : int
        T, 0 to 24.
    """

    bits: int = 4
    signed: bool = False
    feature_bits: int = 16
    step_fraction_bits: int = 0

    def __post_init__(self) -> None:
        assert self.grid  # checks the bits
        check_range("feature bits", self.feature_bits, MIN_FEATURE_BITS, MAX_FEATURE_BITS)
        check_range("step fraction bits", self.step_fraction_bits, 0, MAX_STEP_FRACTION_BITS)

    @property
    @abstractmethod
    def arrangement(self) -> str:
        """Name of the way in which codes are found."""

    @property
    def code_range(self) -> tuple[int, int]:
        """Least and greatest code."""
        return self.grid.minimum, self.grid.maximum

    @property
    def code_port(self) -> Port:
        """Where codes come out."""
        return Port(
            name="code",
            width=self.bits,
            signed=self.signed,
            direction=Direction.OUT,
            meaning="activation code q",
        )

    @property
    def grid(self) -> Grid:
        """Uniform grid of the codes."""
        return Grid(scheme=UNIFORM, bits=self.bits, signed=self.signed)

    @property
    def stem(self) -> str:
        """Beginning of its name: ``asq_ladder_a4_x16_t0``."""
        sign = "s" if self.signed else ""
        width = f"a{self.bits}{sign}_x{self.feature_bits}_t{self.step_fraction_bits}"
        return f"asq_{self.arrangement}_{width}"

    @property
    def title(self) -> str:
        """One line for people."""
        return f"ASQ activation quantizer ({self.arrangement}) to {self.grid} codes"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with."""
        return {
            "arrangement": self.arrangement,
            "bits": self.bits,
            "signed": self.signed,
            "feature_bits": self.feature_bits,
            "step_fraction_bits": self.step_fraction_bits,
        }

    def code(self, feature: int, step: int) -> int:
        """The contract's division of a feature by a step."""
        low, high = self.code_range
        code = divide_half_up(feature << self.step_fraction_bits, step)
        return min(max(code, low), high)

    @property
    def feature_port(self) -> Port:
        """Where features come in."""
        return Port(
            name="feature",
            width=self.feature_bits,
            signed=True,
            direction=Direction.IN,
            meaning="feature X",
        )

    def near_thresholds(
        self, random: np.random.Generator, steps: NDArray[np.int64], drawn: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Features, most of them at a threshold of their step or one below; the rest are `drawn`.

        Parameters
        ----------
        random : Generator
            Draws which thresholds.
        steps, drawn : int64 (N,)
            The step that acts on each, and other features.
        """
        low, high = self.code_range
        count = len(steps)
        multiple = 2 * random.integers(low, high + 2, count) - 1
        # The threshold itself is the smallest feature that reaches the multiple.
        near = -(-multiple * steps >> (self.step_fraction_bits + 1)) - random.integers(0, 2, count)
        half = 1 << (self.feature_bits - 1)
        chosen = (near >= -half) & (near < half) & (random.random(count) < 0.875)
        return np.where(chosen, near, drawn)


@dataclass(frozen=True, kw_only=True)
class StepQuantizer(FeatureQuantizer):
    """The same for a step that is given late.

    An operation is either a step (``load`` 1), which has no result, or a feature. Behind a step,
    `load_cyc` cycles must be left idle. Features before the step may still be on their way when it
    comes.
    """

    @property
    @abstractmethod
    def load_cyc(self) -> int:
        """Cycles without an operation that a step needs behind it."""

    def acting(self, step: int) -> int:
        """The step that features are divided by, where `step` was loaded."""
        return step

    @property
    def close_steps(self) -> NDArray[np.int64]:
        """Steps at which the circuit decides something by 1, int64 (n,): none, unless it says so.

        Drawn steps hardly ever are among them, and a part of a stimulus' steps therefore is.
        """
        return np.zeros(0, dtype=np.int64)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with, and the pause that a step needs."""
        return {**super().parameters, "load_cyc": self.load_cyc}

    @property
    def ports(self) -> tuple[Port, ...]:
        """``load``, ``step`` and ``feature`` in; ``code`` out."""
        return (
            VALID_IN,
            Port(
                name="load", width=1, direction=Direction.IN, meaning="take a new step, no feature"
            ),
            Port(
                name="step",
                width=STEP_BITS,
                direction=Direction.IN,
                meaning="step D, at least 1; read with load",
                values=range(1, 1 << STEP_BITS),
            ),
            replace(self.feature_port, meaning="feature X; read without load"),
            VALID_OUT,
            self.code_port,
        )

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """The contract's division, for each feature with the step before it."""
        step, codes = 1, []
        columns = (inputs[name].tolist() for name in ("load", "step", "feature"))
        for load, new, feature in zip(*columns, strict=True):
            step = self.acting(new) if load else step
            codes.append(self.code(feature, step))
        return {self.code_port.name: np.array(codes, dtype=np.int64)}

    def emits(self, inputs: Rows) -> NDArray[np.bool_]:
        """Features have a code, steps have none."""
        return np.equal(inputs["load"], 0)

    @property
    def pause(self) -> Pause:
        """`load_cyc`, behind each step."""
        return Pause(after="a step (load 1)", idle_cyc=self.load_cyc)

    def pauses(self, inputs: Rows) -> NDArray[np.bool_]:
        """Steps have it behind them."""
        return np.equal(inputs["load"], 1)

    @property
    def rules(self) -> Rules:
        """A step comes first; behind each there is a pause."""
        return Rules(allowed=f"load || {BEGUN}", pauses="load")

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Steps of all sizes, each with features, most of them at a threshold or beside it.

        Some steps have few features, so that another step often comes right behind one of them.
        """
        rows = super().stimulus(random, operations)
        often = np.arange(operations) % 256 >= 192
        load = (random.random(operations) < np.where(often, 1 / 4, 1 / 64)).astype(np.int64)
        load[:1] = 1
        # Small steps' thresholds lie within the features' range, large ones' on all bits.
        small = random.integers(1, 1 << random.integers(1, STEP_BITS + 1, operations))
        step = np.where(random.random(operations) < 0.5, small, rows["step"])
        if len(self.close_steps):
            close = random.choice(self.close_steps, operations)
            step = np.where(random.random(operations) < 0.25, close, step)
        acting = np.array([self.acting(each) for each in step.tolist()], dtype=np.int64)
        current = acting[np.maximum.accumulate(np.where(load == 1, np.arange(operations), 0))]
        feature = self.near_thresholds(random, current, rows["feature"])
        return {"load": load, "step": step, "feature": feature}
