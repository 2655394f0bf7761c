"""Activation quantizer without a divider: thresholds made by addition, searched by bisection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from numpy.typing import NDArray

from asq_hw.checks import STEP_BITS, check_range
from asq_hw.fixedpoint import divide_half_up
from asq_hw.grids import Grid, Scheme
from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows

__all__ = ["LadderQuantizer"]


@dataclass(frozen=True, kw_only=True)
class LadderQuantizer(Design):
    """Feature to activation code, ``clamp(round(X * 2**T / D), Qn, Qp)``, for a step D given late.

    An operation is either a step (``load`` 1), which has no result, or a feature. A code is Qn
    plus the number of thresholds ``(2k - 1) * D`` that ``2 * X * 2**T`` reaches
    (docs/arithmetic.md, section 4). One adder makes the thresholds of a new step, one each cycle;
    features then bisect them with one comparator in each of `bits` stages. Ties go up.

    Throughput is one feature each cycle. Behind a step, ``bits + 2**bits - 1`` cycles must be left
    idle.

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
        check_range("feature bits", self.feature_bits, 4, 24)
        check_range("step fraction bits", self.step_fraction_bits, 0, 24)

    @property
    def grid(self) -> Grid:
        """Uniform grid of the codes."""
        return Grid(scheme=Scheme.UNIFORM, bits=self.bits, signed=self.signed)

    @property
    def name(self) -> str:
        """Verilog identifier: ``asq_ladder_a4_x16_t0``."""
        sign = "s" if self.signed else ""
        return f"asq_ladder_a{self.bits}{sign}_x{self.feature_bits}_t{self.step_fraction_bits}"

    @property
    def title(self) -> str:
        """One line for people."""
        return f"ASQ activation quantizer (threshold ladder) to {self.grid} codes"

    @property
    def ports(self) -> tuple[Port, ...]:
        """``load``, ``step`` and ``feature`` in; ``code`` out."""
        return quantizer_ports(self.grid, self.feature_bits)

    @property
    def latency_cyc(self) -> int:
        """One cycle for each bit of a code."""
        return self.bits

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What it was made with."""
        return {
            "arrangement": "ladder",
            "bits": self.bits,
            "signed": self.signed,
            "feature_bits": self.feature_bits,
            "step_fraction_bits": self.step_fraction_bits,
            "load_cyc": self.load_cyc,
        }

    @property
    def load_cyc(self) -> int:
        """Cycles without an operation that a step needs behind it."""
        return self.bits + (1 << self.bits) - 1

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Ladder(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """Codes by the contract's division."""
        return quantizer_reference(self.grid, self.step_fraction_bits, inputs)

    def emits(self, inputs: Rows) -> NDArray[np.bool_]:
        """Features have a code, steps have none."""
        return np.equal(inputs["load"], 0)

    def idle_cyc(self, inputs: Rows) -> NDArray[np.int64]:
        """Cycles in which the thresholds are made."""
        return np.where(inputs["load"] == 1, self.load_cyc, 0)

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Steps of all sizes, each followed by features on, below and above its thresholds."""
        return quantizer_stimulus(self.ports, self.step_fraction_bits, random, operations)


def quantizer_ports(grid: Grid, feature_bits: int) -> tuple[Port, ...]:
    """Ports of every activation quantizer with a step that is loaded."""
    return (
        VALID_IN,
        Port(name="load", width=1, direction=Direction.IN, meaning="take a new step, no feature"),
        Port(
            name="step",
            width=STEP_BITS,
            direction=Direction.IN,
            meaning="step D, at least 1; read with load",
            values=range(1, 1 << STEP_BITS),
        ),
        Port(
            name="feature",
            width=feature_bits,
            signed=True,
            direction=Direction.IN,
            meaning="feature X; read without load",
        ),
        VALID_OUT,
        Port(
            name="code",
            width=grid.bits,
            signed=grid.signed,
            direction=Direction.OUT,
            meaning="activation code q",
        ),
    )


def quantizer_reference(
    grid: Grid, step_fraction_bits: int, inputs: Rows
) -> dict[str, NDArray[np.int64]]:
    """``q = clamp(rdiv(X * 2**T, D), Qn, Qp)`` of each feature with the step before it."""
    step, codes = 1, []
    low, high = grid.minimum, grid.maximum
    columns = (inputs[name].tolist() for name in ("load", "step", "feature"))
    for load, new, feature in zip(*columns, strict=True):
        step = new if load else step
        code = divide_half_up(feature << step_fraction_bits, step)
        codes.append(min(max(code, low), high))
    return {"code": np.array(codes, dtype=np.int64)}


def quantizer_stimulus(
    ports: tuple[Port, ...],
    step_fraction_bits: int,
    random: np.random.Generator,
    operations: int,
) -> dict[str, NDArray[np.int64]]:
    """Random steps with 1 to 128 features each, half of them at a threshold or one beside it."""
    by_name = {port.name: port for port in ports}
    rows = {name: by_name[name].random_values(random, operations) for name in ("step", "feature")}
    load = (random.random(operations) < 1 / 64).astype(np.int64)
    load[:1] = 1
    # A step whose thresholds lie within the features' range, for most steps.
    small = random.integers(1, 1 << random.integers(1, STEP_BITS + 1, operations))
    step = np.where(random.random(operations) < 0.75, small, rows["step"])
    current = step[np.maximum.accumulate(np.where(load == 1, np.arange(operations), 0))]
    low, high = by_name["code"].range
    multiple = 2 * random.integers(low, high + 2, operations) - 1
    near = (multiple * current >> (step_fraction_bits + 1)) + random.integers(-1, 2, operations)
    fits = (near >= by_name["feature"].range[0]) & (near <= by_name["feature"].range[1])
    chosen = fits & (random.random(operations) < 0.5)
    return {
        "load": load,
        "step": step,
        "feature": np.where(chosen, near, rows["feature"]),
    }


class _Ladder(wiring.Component):
    """The circuit of `LadderQuantizer`."""

    def __init__(self, design: LadderQuantizer) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tables = self._tables(m)
        self._make_thresholds(m, tables)
        self._search(m, tables)
        return m

    def _tables(self, m: Module) -> list[memory.Memory]:
        """One table of thresholds for each stage: 1, 2, 4, ... of them."""
        width = self._design.feature_bits + 1
        tables = []
        for stage in range(self._design.bits):
            table = memory.Memory(shape=signed(width), depth=1 << stage, init=[])
            m.submodules[f"thresholds{stage}"] = table
            tables.append(table)
        return tables

    def _make_thresholds(self, m: Module, tables: list[memory.Memory]) -> None:
        """Write ``ceil((2k - 1) * D / 2**(T + 1))`` for each k, one each cycle, after a pause.

        Features before the step are still on their way when it comes: the pause lets them pass.
        """
        design = self._design
        bits, drop = design.bits, design.step_fraction_bits + 1
        multiple = Signal(signed(STEP_BITS + bits + 2))
        step = Signal(STEP_BITS)
        count = Signal(bits)
        pause = Signal(range(bits + 1))
        with m.If(self.valid_in & self.load):
            first = Cat(Const(0, bits), self.step) if design.signed else Const(0)
            m.d.sync += [
                step.eq(self.step),
                multiple.eq(self.step - first),
                count.eq(0),
                pause.eq(bits),
            ]
        with m.Elif(pause != 0):
            m.d.sync += pause.eq(pause - 1)
            with m.If(pause == 1):
                m.d.sync += count.eq(1)
        with m.Elif(count != 0):
            m.d.sync += [count.eq(count + 1), multiple.eq(multiple + Cat(Const(0, 1), step))]
        threshold = Signal(signed(design.feature_bits + 1))
        m.d.comb += threshold.eq(self._in_range(m, multiple, drop))
        for stage, table in enumerate(tables):
            port = table.write_port()
            # The count's trailing zeros tell the stage, the bits above them the place.
            low = bits - stage - 1
            mine = count[: low + 1] == 1 << low
            m.d.comb += [
                port.data.eq(threshold),
                port.en.eq(mine & (pause == 0)),
            ]
            if stage:
                m.d.comb += port.addr.eq(count[low + 1 :])

    def _in_range(self, m: Module, multiple: Signal, drop: int) -> Mux:
        """``ceil(multiple / 2**drop)``, limited to where features can tell a difference."""
        edge = 1 << (self._design.feature_bits - 1)
        width = max(len(multiple), drop + 1) + 1
        raised = Signal(signed(width))
        m.d.comb += raised.eq(multiple + ((1 << drop) - 1))
        least = Signal(signed(width))
        m.d.comb += least.eq(raised >> drop)
        return Mux(least > edge - 1, edge, Mux(least < -edge, -edge, least))

    def _search(self, m: Module, tables: list[memory.Memory]) -> None:
        """Bisect: each stage compares with the middle threshold of what is left."""
        bits = self._design.bits
        valid = self.valid_in & ~self.load
        feature, found = self.feature, Const(0, 0)
        for stage, table in enumerate(tables):
            port = table.read_port(domain="comb")
            if stage:
                m.d.comb += port.addr.eq(found)
            reached = feature >= port.data
            later = Signal(stage + 1, name=f"found{stage + 1}")
            later_feature = Signal(feature.shape(), name=f"feature{stage + 1}")
            later_valid = Signal(name=f"valid{stage + 1}")
            m.d.sync += [
                later.eq(Cat(reached, found)),
                later_feature.eq(feature),
                later_valid.eq(valid),
            ]
            feature, found, valid = later_feature, later, later_valid
        m.d.comb += [
            self.valid_out.eq(valid),
            # Qn plus the count: the top bit is turned over for signed codes.
            self.code.eq(found ^ ((1 << (bits - 1)) if self._design.signed else 0)),
        ]
