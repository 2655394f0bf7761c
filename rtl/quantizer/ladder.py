"""Activation quantizer without a divider: thresholds made by addition, searched by bisection."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Shape, Signal, Value
from amaranth.lib import memory, wiring

from asq_hw.numbers.widths import STEP_BITS
from rtl.lib.arithmetic import clamp
from rtl.quantizer.activation import StepQuantizer
from rtl.quantizer.bisection import bisect

__all__ = ["LadderQuantizer"]


@dataclass(frozen=True, kw_only=True)
class LadderQuantizer(StepQuantizer):
    """Codes by comparison with thresholds.

    A code is Qn plus the number of thresholds ``(2k - 1) * D`` that ``2 * X * 2**T`` reaches. One
    adder makes the thresholds of a new step, one each cycle; features bisect them with one
    comparator in each of `bits` stages. No multiplier, no divider.

    Latency is `bits` cycles; behind a step come ``max(1, bits - 3) + 2**bits - 1`` idle ones.
    """

    @property
    def arrangement(self) -> str:
        """``ladder``."""
        return "ladder"

    @property
    def latency_cyc(self) -> int:
        """One cycle for each bit of a code."""
        return self.bits

    @property
    def load_cyc(self) -> int:
        """A pause for features on their way, then a cycle for each threshold."""
        return self.pause_cyc + (1 << self.bits) - 1

    @property
    def pause_cyc(self) -> int:
        """Until the last feature before a step reads no table that a threshold is written to.

        It is in the last stage, whose table is written first, `bits` - 2 cycles after the step;
        what is written then can be read 2 cycles later.
        """
        return max(1, self.bits - 3)

    @property
    def multiple_shape(self) -> Shape:
        """What ``(2k - 1) * D`` needs for every k and D."""
        low, high = self._largest_multiples
        return Shape.cast(range(low, high + 1))

    @property
    def threshold_shape(self) -> Shape:
        """What every threshold needs, limited to one beyond the features."""
        low, high = self.threshold_range
        edge = 1 << (self.feature_bits - 1)
        return Shape.cast(range(max(low, -edge), min(high, edge) + 1))

    @property
    def threshold_range(self) -> tuple[int, int]:
        """Least and greatest ``ceil((2k - 1) * D / 2**(T + 1))``; 0 is always within."""
        low, high = self._largest_multiples
        drop = self.step_fraction_bits + 1
        return -(-low >> drop), -(-high >> drop)

    @property
    def _largest_multiples(self) -> tuple[int, int]:
        largest = (1 << STEP_BITS) - 1
        return (2 * self.grid.minimum + 1) * largest if self.signed else 0, (
            2 * self.grid.maximum - 1
        ) * largest

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Ladder(self)


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
        tables = []
        for stage in range(self._design.bits):
            shape = self._design.threshold_shape
            table = memory.Memory(shape=shape, depth=1 << stage, init=[])
            m.submodules[f"thresholds{stage}"] = table
            tables.append(table)
        return tables

    def _make_thresholds(self, m: Module, tables: list[memory.Memory]) -> None:
        """Write ``ceil((2k - 1) * D / 2**(T + 1))`` for each k, one each cycle, after a pause.

        Features before the step are still on their way when it comes: the pause lets them pass.
        """
        design = self._design
        bits = design.bits
        # A reset stops nothing here: no feature may come before another step, which does.
        multiple = Signal(design.multiple_shape, reset_less=True)
        taken = Signal(STEP_BITS, reset_less=True)
        count = Signal(bits, reset_less=True)
        pause = Signal(range(design.pause_cyc + 1), reset_less=True)
        with m.If(self.valid_in & self.load):
            first = Cat(Const(0, bits), self.step) if design.signed else Const(0)
            m.d.sync += [
                taken.eq(self.step),
                multiple.eq(self.step - first),
                count.eq(0),
                pause.eq(design.pause_cyc),
            ]
        with m.Elif(pause != 0):
            m.d.sync += pause.eq(pause - 1)
            with m.If(pause == 1):
                m.d.sync += count.eq(1)
        with m.Elif(count != 0):
            m.d.sync += [count.eq(count + 1), multiple.eq(multiple + Cat(Const(0, 1), taken))]
        threshold = Signal(design.threshold_shape)
        m.d.comb += threshold.eq(self._in_range(m, multiple))
        for stage, table in enumerate(tables):
            port = table.write_port()
            # The count's trailing zeros tell the stage, the bits above them the place.
            low = bits - stage - 1
            mine = count[: low + 1] == 1 << low
            # During the pause the count is 0, which is no stage's.
            m.d.comb += [port.data.eq(threshold), port.en.eq(mine)]
            if stage:
                m.d.comb += port.addr.eq(count[low + 1 :])

    def _in_range(self, m: Module, multiple: Signal) -> Value:
        """``ceil(multiple / 2**(T + 1))``, limited to where features can tell a difference."""
        design = self._design
        drop = design.step_fraction_bits + 1
        low, high = design.threshold_range
        edge = 1 << (design.feature_bits - 1)
        raised = multiple + ((1 << drop) - 1)
        least = Signal(Shape.cast(range(low, high + 1)), name="least")
        m.d.comb += least.eq(raised >> drop)
        return clamp(least, low=-edge if low < -edge else None, high=edge if high > edge else None)

    def _search(self, m: Module, tables: list[memory.Memory]) -> None:
        """Each stage compares with the middle threshold of what is left."""
        bits = self._design.bits
        found, valid = bisect(m, tables, self.feature, self.valid_in & ~self.load)
        m.d.comb += [
            self.valid_out.eq(valid),
            # Qn plus the count: the top bit is turned over for signed codes.
            self.code.eq(found ^ ((1 << (bits - 1)) if self._design.signed else 0)),
        ]
