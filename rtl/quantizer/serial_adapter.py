"""The adapter with one multiplier for all of its weights, for means that come seldom."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring

from asq_hw.network.activation import AdapterStage
from asq_hw.network.bounds import Range
from asq_hw.numbers.widths import ADAPTER_BITS, STEP_BITS
from rtl.lib.arithmetic import clamp, round_half_up
from rtl.lib.delay import delay
from rtl.pace import Pause
from rtl.quantizer.adapter import Adapter

__all__ = ["SerialAdapter"]


@dataclass(frozen=True, kw_only=True)
class SerialAdapter(Adapter):
    """An `Adapter` that multiplies one weight each cycle.

    A mean takes as many cycles as the first stage has outputs; their sums are in a memory. Behind a
    sample's last mean each is scaled, and goes through the same multiplier to the second stage.

    Latency is the first stage's outputs plus 3; with two stages it is twice the outputs plus 5.
    Throughput is one mean in as many cycles as there are outputs; behind a sample's last one come
    idle cycles, twice the outputs plus 1, if there are two stages.
    """

    @property
    def stem(self) -> str:
        """Beginning of its name: ``adapter_serial_c64_h16_p16``."""
        return super().stem.replace("adapter_", "adapter_serial_", 1)

    @property
    def parameters(self) -> dict[str, int | bool | str]:
        """Its sizes; weights stand in the Verilog."""
        pause = self.pause
        sizes = {**super().parameters, "pause_cyc": 0 if pause is None else pause.idle_cyc}
        return {"arrangement": "serial", **sizes}

    @property
    def latency_cyc(self) -> int:
        """From a sample's last mean to its step."""
        outputs = self.outputs_of_first
        return outputs + 3 if len(self.stages) == 1 else 2 * outputs + 5

    @property
    def interval_cyc(self) -> int:
        """A cycle for each output of the first stage."""
        return self.outputs_of_first

    @property
    def pause(self) -> Pause | None:
        """The multiplier is the second stage's until that has its sum."""
        if len(self.stages) == 1:
            return None
        return Pause(after="a sample's last mean", idle_cyc=2 * self.outputs_of_first + 1)

    def component(self) -> wiring.Component:
        """The circuit."""
        return _Serial(self)


class _Serial(wiring.Component):
    """The circuit of `SerialAdapter`."""

    def __init__(self, design: SerialAdapter) -> None:
        self._design = design
        super().__init__(design.signature)

    def elaborate(self, platform: object) -> Module:
        """The first stage's sums, their scaling, and the second stage if there is one."""
        m = Module()
        design = self._design
        first, outputs = design.stages[0], design.outputs_of_first
        ranges, *later = design.sum_ranges()
        bound = Range(low=min(r.low for r in ranges), high=max(r.high for r in ranges))

        held = Signal(signed(design.mean_bits))
        turn = Signal(range(max(2, outputs)))
        place = Signal(range(max(2, design.channels)))
        busy, scaling = Signal(), Signal()
        ends = turn == outputs - 1
        is_last = place == design.channels - 1
        with m.If(self.valid_in):
            m.d.sync += [held.eq(self.mean), busy.eq(1)]
        with m.Elif(ends):
            m.d.sync += busy.eq(0)
        with m.If(busy & ends):
            m.d.sync += place.eq(Mux(is_last, 0, place + 1))
        # Behind the last mean, every sum is read again and scaled.
        with m.If(busy | scaling):
            m.d.sync += turn.eq(Mux(ends, 0, turn + 1))
        with m.If(ends):
            m.d.sync += scaling.eq(busy & is_last)

        address = Signal(range(max(2, first.weight.size)))
        with m.If(busy):
            m.d.sync += address.eq(Mux(ends & is_last, 0, address + 1))
        # Each mean's weights one after the other.
        order = first.weight.T.reshape(-1).tolist()
        weight: Value = self._rom(m, "weights1", ADAPTER_BITS, order, address)
        factor: Value = held

        sums = memory.Memory(shape=signed(bound.bits), depth=outputs, init=[])
        m.submodules.sums = sums
        total = self._read(m, sums, turn)
        output = self._scaled(m, "stage1", first, bound, total)
        valid = delay(m, scaling, 2, "scaled")

        if later:
            second, (last_bound,) = design.stages[1], later[0]
            output_turn = Signal.like(turn, name="output_turn")
            with m.If(valid):
                m.d.sync += output_turn.eq(Mux(output_turn == outputs - 1, 0, output_turn + 1))
            weights = second.weight.reshape(-1).tolist()
            other = self._rom(m, "weights2", ADAPTER_BITS, weights, output_turn)
            weight, factor = Mux(valid, other, weight), Mux(valid, output, held)
        product = Signal(signed(ADAPTER_BITS + max(design.mean_bits, STEP_BITS + 1)))
        biases = first.bias.tolist()
        bias = self._rom(m, "biases", Range(low=min(biases), high=max(biases)).bits, biases, turn)
        write = sums.write_port()
        m.d.comb += [
            product.eq(weight * factor),
            write.en.eq(busy),
            write.data.eq(Mux(place == 0, bias, total) + product),
        ]
        if outputs > 1:
            m.d.comb += write.addr.eq(turn)
        if later:
            last_total = Signal(signed(last_bound.bits), name="stage2_sum")
            begins = output_turn == 0
            with m.If(valid):
                m.d.sync += last_total.eq(Mux(begins, int(second.bias[0]), last_total) + product)
            output = self._scaled(m, "stage2", second, last_bound, last_total)
            valid = delay(m, valid & (output_turn == outputs - 1), 3, "summed")
        m.d.comb += [self.valid_out.eq(valid), self.step.eq(output)]
        return m

    def _rom(self, m: Module, name: str, bits: int, values: list[int], address: Signal) -> Value:
        """A constant table, read in the same cycle."""
        rom = memory.Memory(shape=signed(bits), depth=len(values), init=values)
        m.submodules[name] = rom
        return self._read(m, rom, address)

    def _read(self, m: Module, table: memory.Memory, address: Signal) -> Value:
        port = table.read_port(domain="comb")
        if table.depth > 1:
            m.d.comb += port.addr.eq(address)
        return port.data

    def _scaled(
        self, m: Module, name: str, stage: AdapterStage, bound: Range, total: Value
    ) -> Signal:
        """The output of a sum, two cycles later."""
        ends = (bound.low * stage.multiplier, bound.high * stage.multiplier)
        product = Signal(signed(Range(low=min(ends), high=max(ends)).bits), name=f"{name}_product")
        output = Signal(unsigned(STEP_BITS), name=f"{name}_output")
        rounded = round_half_up(product, stage.shift)
        m.d.sync += [
            product.eq(total * Const(stage.multiplier)),
            output.eq(clamp(rounded, low=stage.minimum, high=stage.maximum)),
        ]
        return output
