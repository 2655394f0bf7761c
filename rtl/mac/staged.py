"""A shifter of stages: the weight's exponent says bit by bit whether a stage shifts."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value

from rtl.mac.parameters import MacParameters
from rtl.mac.product import ProductUnit
from rtl.mac.schemes import Accumulation

__all__ = ["StagedShifter"]


class StagedShifter(ProductUnit):
    """Shifts by the highest power of two first, a register between two stages.

    The last shift, by one, is `doubles`: the adder's to do, unless two sums share it. The last
    stage here inverts a negative product's bits.

    Operands are not cleared where there is none: `zero` tells of them, as of a weight of 0.
    """

    inverts = True
    has_zero = True

    @classmethod
    def leaves_doubling(cls, mac: MacParameters) -> bool:
        """Whether the adder shifts by one."""
        return mac.accumulation is not Accumulation.SHARED

    @classmethod
    def latency_of(cls, mac: MacParameters) -> int:
        """Operands, and a register between each two stages."""
        return 1 + max(0, len(_stages(mac)) - 1)

    def elaborate(self, platform: object) -> Module:
        """Register the operands and hand them to `build`."""
        m = Module()
        activation = _later(m, self.activation, "activation_taken")
        self.build(m, activation, _later(m, self.weight, "weight_taken"))
        return m

    def _is_valid(self, m: Module) -> Value:
        valid = Signal(name="valid_taken")
        m.d.sync += valid.eq(self.valid)
        return valid

    def build(self, m: Module, activation: Signal, weight: Signal) -> None:
        """Shift stage by stage, and invert."""
        word: Value = activation
        zero = ~self._is_valid(m) | weight[:-1].all()
        stages = _stages(self._mac)
        lowest = 1 if self._mac.splits else 0
        for number, stage in enumerate(stages):
            word = Mux(weight[lowest + stage], word << (1 << stage), word)
            if number < len(stages) - 1:
                word = _later(m, word, f"shifted{stage}")
                weight = _later(m, weight, f"weight_after{stage}")
                known = Signal(name=f"zero_after{stage}", init=1)
                m.d.sync += known.eq(zero)
                zero = known
        m.d.comb += [
            self.value.eq(word ^ weight[-1].replicate(len(self.value))),
            self.negative.eq(weight[-1]),
            self.zero.eq(zero),
        ]
        if self._mac.has_pair:
            m.d.comb += self.odd.eq(weight[0])
        if self.leaves_doubling(self._mac):
            m.d.comb += self.doubles.eq(weight[lowest])


def _stages(mac: MacParameters) -> list[int]:
    """Bits of the shift that are done here, the highest first."""
    bits = mac.weight_grid.stored_bits - 1 - mac.splits
    return list(range(bits - 1, StagedShifter.leaves_doubling(mac) - 1, -1))


def _later(m: Module, value: Value, name: str) -> Signal:
    """A register that a reset leaves as it is: what stands there counts for nothing then."""
    later = Signal(value.shape(), name=name, reset_less=True)
    m.d.sync += later.eq(value)
    return later
