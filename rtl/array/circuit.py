"""The circuit of an array: shared operands, channels, and what reads their sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from amaranth.hdl import Cat, Const, Fragment, Module, Signal, Value, signed
from amaranth.lib import wiring

from rtl.array.addends import Addend, Pipe
from rtl.array.join import join
from rtl.array.kinds import ArrayKind
from rtl.array.lanes import LaneOperands
from rtl.array.sums import Marks
from rtl.lib.cells import Cells
from rtl.lib.delay import delay, register

if TYPE_CHECKING:
    from rtl.array.design import Array

__all__ = ["ArrayComponent", "operands_cyc", "stages"]


class ArrayComponent(wiring.Component):
    """The circuit of an array.

    Ports are those of `Array.ports`. It takes an operation in any cycle; latency is
    `Array.latency_cyc`, throughput one operation each cycle, new sums included.
    """

    def __init__(self, array: Array) -> None:
        self._array = array
        super().__init__(array.signature)

    def elaborate(self, platform: object) -> Module:
        """Shared words and marks, channel by channel, then the reading side."""
        m = Module()
        array = self._array
        kind = array.kind
        cycles = array.latency_cyc
        before = operands_cyc(array) + (stages(array) if array.registered else 0)
        last = delay(m, self.last & self.valid_in, before, "last")
        clears = self._clears(m, before)
        is_private = kind.gathers and not array.window
        shared = [] if is_private else self._shared(m, "", array.window or array.lanes)
        finished = []
        for channel in range(array.channels):
            m.submodules[f"channel{channel}"] = part = Module()
            words = shared
            if is_private:
                words = self._shared(part, f"{channel}_", array.lanes)
            elif array.window:
                words = self._gathered(part, channel, shared)
            ends: Value = Const(0)
            if kind.sums.marked_by:
                mark = getattr(self, f"ends{channel}") & self.valid_in
                ends = delay(part, mark, before, "ends")
            marks = Marks(last=last, clears=clears, ends=ends)
            finished.append(self._channel(part, channel, words, marks))
        read = before + 1 + kind.sums.late_cyc
        result = self._read(m, finished, read)
        m.d.comb += [
            self.valid_out.eq(delay(m, self.valid_in, cycles, "valid")),
            self.result.eq(result),
        ]
        return m

    def _clears(self, m: Module, cycles: int) -> Value:
        """Whether sums begin anew: behind their last products, and until a reset is over."""
        value: Value = self.last & self.valid_in
        for number in range(cycles):
            later = Signal(name=f"clears{number}", init=1)
            m.d.sync += later.eq(value)
            value = later
        return value

    def _gathered(
        self, m: Module, channel: int, window: Sequence[Sequence[Value]]
    ) -> list[Sequence[Value]]:
        """The activation of each of a channel's lanes, of those in the window."""
        bits = self._array.activation_bits
        every = Cat(word for (word,) in window)
        made: list[Sequence[Value]] = []
        for lane in range(self._array.lanes):
            index = register(m, getattr(self, f"index{channel}_{lane}"), f"index{lane}")
            made.append([register(m, every.word_select(index, bits), f"gathered{lane}")])
        return made

    def _shared(self, m: Module, prefix: str, count: int) -> list[Sequence[Value]]:
        """Activations, each as it is made once for all channels that have it."""
        array = self._array
        lanes = array.kind.lanes
        pipe = Pipe(m, registered=True, cells=None)
        made: list[Sequence[Value]] = []
        for place in range(count):
            name = f"{prefix}{place}"
            activation = getattr(self, f"activation{name}")
            second = getattr(self, f"second{name}") if lanes.second_code else Const(0)
            made.append(lanes.shared(pipe, activation, second, f"shared{name}"))
        return made

    def _channel(
        self, m: Module, channel: int, words: Sequence[Sequence[Value]], marks: Marks
    ) -> Mapping[str, Signal]:
        """Weights, products and sums of a channel: the finished ones."""
        array = self._array
        lanes = array.kind.lanes
        operands = []
        for lane in range(array.lanes):
            weight = Signal(
                lanes.weight_bits, name=f"weight{lane}", init=lanes.neutral, reset_less=True
            )
            m.d.sync += weight.eq(getattr(self, f"weight{channel}_{lane}"))
            with m.If(~self.valid_in):
                m.d.sync += weight.eq(lanes.neutral)
            pipe = Pipe(m, registered=True, cells=None)
            late = pipe.delay(weight, operands_cyc(array) - 1, f"weight{lane}")
            operands.append(LaneOperands(words=words[lane], weight=late))
        made = _terms(m, array, operands)
        values = {name: addend.value for name, addend in made.items()}
        return array.kind.sums.build(m, values, marks, array.accumulator_bits)

    def _read(self, m: Module, finished: Sequence[Mapping[str, Signal]], early: int) -> Value:
        """A channel's sums with their biases, joined where there are two."""
        array = self._array
        width = array.accumulator_bits
        sums = []
        for name, port in zip(array.kind.sums.finished, array.biases, strict=True):
            taken = Signal(width, name=f"{name}_read")
            words: Value = Cat(channel[name] for channel in finished)
            if array.channels > 1:
                chosen = delay(m, self.channel, early, f"{name}_channel")
                words = words.word_select(chosen, width)
            bias = delay(m, getattr(self, port), early + 1, f"{port}_early")
            biased = Signal(signed(width), name=f"{name}_biased")
            m.d.sync += [taken.eq(words), biased.eq((taken + bias)[:width].as_signed())]
            sums.append(biased)
        return sums[0] if len(sums) == 1 else join(m, sums[0], sums[1], len(self.result))


def operands_cyc(array: Array) -> int:
    """Registers in front of the lanes: operands, what is made of them, choice from a window."""
    return array.kind.lanes.shared_stages + bool(array.window)


def stages(array: Array) -> int:
    """Stages between the operands of an array's lanes and the accumulators."""
    return _stages(array.kind, array.lanes, array.activation_bits, array.cells)


@cache
def _stages(kind: ArrayKind, lanes: int, bits: int, cells: Cells | None) -> int:
    """They are counted where they are made: on lanes that lead nowhere."""
    m = Module()
    pipe = Pipe(m, registered=True, cells=None)
    made = kind.lanes.shared(pipe, Signal(bits), Signal(bits + 1), "trial")
    operands = LaneOperands(words=made, weight=Signal(kind.lanes.weight_bits))
    terms = kind.lanes.terms(Pipe(m, registered=True, cells=cells), [operands] * lanes, bits)
    Fragment.get(m, None)  # Amaranth warns of modules that nobody takes
    return max(addend.at for addend in terms.values())


def _terms(m: Module, array: Array, operands: Sequence[LaneOperands]) -> Mapping[str, Addend]:
    """What the lanes add, all equally late."""
    pipe = Pipe(m, registered=array.registered, cells=array.cells)
    made = array.kind.lanes.terms(pipe, operands, array.activation_bits)
    latest = max(addend.at for addend in made.values())
    return {name: pipe.wait(addend, latest, f"{name}_term") for name, addend in made.items()}
