"""The adapter: from channel means to the step of one sample and layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from numpy.typing import NDArray

from asq_hw.errors import InputError, check_range
from asq_hw.network.activation import AdapterStage
from asq_hw.network.bounds import Range
from asq_hw.numbers.fixedpoint import integer_range, shift_right_half_up
from asq_hw.numbers.widths import STEP_BITS
from rtl.design import VALID_IN, VALID_OUT, Design, Direction, Parameter, Port, Rows
from rtl.lib.arithmetic import clamp, round_half_up
from rtl.pace import Pause
from rtl.quantizer.thresholds import samples_at_thresholds
from rtl.rules import NUMBER, Rules

__all__ = ["Adapter"]

_MAX_MEAN_BITS = 62
_MOST_AT_THRESHOLDS = 256
"""Samples of a stimulus that are looked for, which takes its time."""


@dataclass(frozen=True, kw_only=True)
class Adapter(Design):
    """Channel means to a step D, in one or two linear stages (docs/arithmetic.md, section 4).

    An operation is one mean; the last one of a sample's channels, and only that, has a result. The
    first stage multiplies a mean by a weight for each of its outputs at once; then one multiplier
    scales and limits them one after the other, for the next stage to take as they come.

    Latency is the outputs of each stage plus 2, summed over the stages. Throughput is one mean each
    cycle; behind a sample's last one come idle cycles, one less than the first stage's outputs.

    Parameters
    ----------
    stages : tuple of AdapterStage
        One or two; the last has one output.
    mean_bits : int
        Width of a mean, signed, 2 to 62; a network's means need what `LayerUnits.means` says.
    """

    stages: tuple[AdapterStage, ...]
    mean_bits: int = 16

    def __post_init__(self) -> None:
        check_range("mean bits", self.mean_bits, 2, _MAX_MEAN_BITS)
        if not 1 <= len(self.stages) <= 2 or self.stages[-1].weight.shape[0] != 1:
            raise InputError("an adapter must have 1 or 2 stages and one output")

    @property
    def channels(self) -> int:
        """Means of a sample."""
        return int(self.stages[0].weight.shape[1])

    @property
    def outputs_of_first(self) -> int:
        """Outputs of the first stage."""
        return int(self.stages[0].weight.shape[0])

    @property
    def stem(self) -> str:
        """Beginning of its name: ``adapter_c64_h16_p16``."""
        hidden = f"_h{self.outputs_of_first}" if len(self.stages) > 1 else ""
        return f"adapter_c{self.channels}{hidden}_p{self.mean_bits}"

    @property
    def title(self) -> str:
        """One line for people."""
        return f"ASQ adapter: {self.channels} channel means to a step"

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Its sizes; weights stand in the Verilog."""
        return {
            "channels": self.channels,
            "stages": len(self.stages),
            "outputs_of_first": self.outputs_of_first,
            "mean_bits": self.mean_bits,
            "pause_cyc": self.outputs_of_first - 1,
        }

    @property
    def ports(self) -> tuple[Port, ...]:
        """``mean`` in, ``step`` out."""
        return (
            VALID_IN,
            Port(
                name="mean",
                width=self.mean_bits,
                signed=True,
                direction=Direction.IN,
                meaning="mean p of the next channel",
            ),
            VALID_OUT,
            Port(name="step", width=STEP_BITS, direction=Direction.OUT, meaning="step D"),
        )

    @property
    def latency_cyc(self) -> int:
        """From a sample's last mean to its step."""
        return sum(stage.weight.shape[0] + 2 for stage in self.stages)

    def sum_ranges(self) -> list[list[Range]]:
        """Of each stage, and each of its outputs: every sum that means of that width can make."""
        bounds, made = [_whole(self.mean_bits)] * self.channels, []
        for stage in self.stages:
            sums = _sum_ranges(stage, bounds)
            bounds = [_output_range(stage, total) for total in sums]
            made.append(sums)
        return made

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Adapter(self)

    def reference(self, inputs: Rows) -> dict[str, NDArray[np.int64]]:
        """The contract's formulas, for each whole sample; 0 at its other means."""
        means = inputs["mean"].tolist()
        steps = np.zeros(len(means), dtype=np.int64)
        for first in range(0, len(means) - self.channels + 1, self.channels):
            values = means[first : first + self.channels]
            for stage in self.stages:
                values = _run_stage(stage, values)
            steps[first + self.channels - 1] = values[0]
        return {"step": steps}

    def stimulus(
        self, random: np.random.Generator, operations: int
    ) -> dict[str, NDArray[np.int64]]:
        """Samples of every size; before them, those that bring each sum to both of its ends.

        Up to half of the rest stand where a sum that is 1 off shows in the step.
        """
        rows = super().stimulus(random, operations)
        low, high = integer_range(self.mean_bits)
        samples = rows["mean"][: operations // self.channels * self.channels]
        samples = samples.reshape(-1, self.channels)
        samples >>= random.integers(0, self.mean_bits, (len(samples), 1))
        weights = self.stages[0].weight
        through = np.abs(self.stages[-1].weight) @ weights if len(self.stages) > 1 else weights
        signs = np.concatenate([weights, through, np.ones((1, self.channels), dtype=np.int64)])
        ends = np.concatenate([np.where(signs > 0, high, low), np.where(signs > 0, low, high)])
        count = min(len(ends), len(samples))
        samples[:count] = ends[:count]
        tries = min((len(samples) - count) // 2, _MOST_AT_THRESHOLDS)
        near = samples_at_thresholds(self.stages, self.mean_bits, random, tries)
        samples[count : count + len(near)] = near
        return rows

    def emits(self, inputs: Rows) -> NDArray[np.bool_]:
        """Only a sample's last mean has a step."""
        place = np.arange(len(inputs["mean"])) % self.channels
        return np.equal(place, self.channels - 1)

    @property
    def pause(self) -> Pause | None:
        """The first stage hands on its outputs before it takes the next sample."""
        idle_cyc = self.outputs_of_first - 1
        return Pause(after="a sample's last mean", idle_cyc=idle_cyc) if idle_cyc else None

    def pauses(self, inputs: Rows) -> NDArray[np.bool_]:
        """A sample's last mean has it behind it."""
        return self.emits(inputs)

    @property
    def rules(self) -> Rules:
        """A sample's last mean ends it, and has the pause behind it."""
        last = f"{NUMBER} == {self.channels - 1}"
        return Rules(ends=last, pauses=last)


def _run_stage(stage: AdapterStage, values: list[int]) -> list[int]:
    outputs = []
    for weights, bias in zip(stage.weight.tolist(), stage.bias.tolist(), strict=True):
        total = bias + sum(weight * value for weight, value in zip(weights, values, strict=True))
        outputs.append(_limited(stage, total))
    return outputs


def _limited(stage: AdapterStage, total: int) -> int:
    """An output, of its sum."""
    scaled = shift_right_half_up(total * stage.multiplier, stage.shift)
    return min(max(scaled, stage.minimum), stage.maximum)


class _Adapter(wiring.Component):
    """The circuit of `Adapter`."""

    def __init__(self, design: Adapter) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """Stage after stage."""
        m = Module()
        valid, value = self.valid_in, self.mean
        stages = zip(self._design.stages, self._design.sum_ranges(), strict=True)
        for index, (stage, sums) in enumerate(stages):
            valid, value = self._stage(m, f"stage{index + 1}", stage, sums, valid, value)
        m.d.comb += [self.valid_out.eq(valid), self.step.eq(value)]
        return m

    def _stage(
        self,
        m: Module,
        name: str,
        stage: AdapterStage,
        ranges: list[Range],
        valid: Value,
        value: Value,
    ) -> tuple[Value, Value]:
        """Sums of all outputs side by side, then their scaling one after the other."""
        outputs, inputs = stage.weight.shape
        place = Signal(range(max(2, inputs)), name=f"{name}_place")
        last = place == inputs - 1
        sums = self._sums(m, name, stage, ranges, valid, place, value)
        turn = Signal(range(max(2, outputs)), name=f"{name}_turn")
        sending, sent = Signal(name=f"{name}_sending"), Signal(name=f"{name}_sent")
        with m.If(valid):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
        with m.If(valid & last):
            m.d.sync += [sending.eq(1), turn.eq(0)]
        with m.Elif(sending):
            m.d.sync += [sending.eq(turn != outputs - 1), turn.eq(turn + 1)]
        chosen = Array(sums)[turn]
        scaled = Range(
            low=min(total.low for total in ranges) * stage.multiplier,
            high=max(total.high for total in ranges) * stage.multiplier,
        )
        product = Signal(signed(scaled.bits), name=f"{name}_product")
        rounded = round_half_up(product, stage.shift)
        output = Signal(unsigned(STEP_BITS), name=f"{name}_output")
        output_valid = Signal(name=f"{name}_valid")
        m.d.sync += [
            product.eq(chosen * Const(stage.multiplier)),
            sent.eq(sending),
            output.eq(clamp(rounded, low=stage.minimum, high=stage.maximum)),
            output_valid.eq(sent),
        ]
        return output_valid, output

    def _sums(
        self,
        m: Module,
        name: str,
        stage: AdapterStage,
        ranges: list[Range],
        valid: Value,
        place: Signal,
        value: Value,
    ) -> list[Signal]:
        """One accumulator for each output, as wide as that one needs."""
        sums = []
        rows = zip(stage.weight.tolist(), stage.bias.tolist(), ranges, strict=True)
        for index, (weights, bias, bound) in enumerate(rows):
            weight = Signal(signed(8), name=f"{name}_weight{index}")
            total = Signal(signed(bound.bits), name=f"{name}_sum{index}")
            with m.Switch(place):
                for position, constant in enumerate(weights):
                    with m.Case(position):
                        m.d.comb += weight.eq(constant)
            with m.If(valid):
                m.d.sync += total.eq(Mux(place == 0, bias, total) + weight * value)
            sums.append(total)
        return sums


def _sum_ranges(stage: AdapterStage, inputs: Sequence[Range]) -> list[Range]:
    """Of each output's sum, for inputs of those ranges; partial sums stay inside.

    Each term's range is made to include 0, which a sum has of it until it comes.
    """
    ranges = []
    for weights, bias in zip(stage.weight.tolist(), stage.bias.tolist(), strict=True):
        terms = [
            (0, weight * bound.low, weight * bound.high)
            for weight, bound in zip(weights, inputs, strict=True)
        ]
        ranges.append(Range(low=bias + sum(map(min, terms)), high=bias + sum(map(max, terms))))
    return ranges


def _output_range(stage: AdapterStage, total: Range) -> Range:
    """Of an output, for a sum of that range."""
    low, high = (_limited(stage, end) for end in (total.low, total.high))
    return Range(low=low, high=high)


def _whole(bits: int) -> Range:
    low, high = integer_range(bits)
    return Range(low=low, high=high)
