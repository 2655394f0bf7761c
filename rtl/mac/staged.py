"""A shifter of stages: the weight's exponent says bit by bit whether a stage shifts."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value

from rtl.mac.parameters import MacParameters
from rtl.mac.product import Operands, ProductUnit
from rtl.mac.schemes import Accumulation
from rtl.mac.signs import of_complement

__all__ = ["StagedShifter"]


class StagedShifter(ProductUnit):
    """Shifts by the highest power of two first, a register between two stages if there is any.

    The last shift, by one, is `doubles`: the adder's to do, unless two sums share it. The last
    stage here inverts a negative product's bits; where signs are deferred, the first one inverts
    the activation. Of an activation with two codes one is chosen first, by a bit of the weight.

    Operands are not cleared where there is none: `zero` tells of them, as of a weight of 0.
    """

    _inverts = True
    has_zero = True

    @classmethod
    def excess(cls, mac: MacParameters, code: int) -> int:
        """Of the complement."""
        return of_complement(mac, code)

    @classmethod
    def leaves_doubling(cls, mac: MacParameters) -> bool:
        """Whether the adder shifts by one."""
        return mac.accumulation is not Accumulation.SHARED

    @classmethod
    def latency_of(cls, mac: MacParameters) -> int:
        """Operands, perhaps a code of two, and a register between each two stages."""
        if not mac.pipeline:
            return 1
        return 1 + ("second" in mac.operands) + max(0, len(_stages(mac)) - 1)

    def elaborate(self, platform: object) -> Module:
        """Register the operands and hand them to `build`."""
        m = Module()
        given = self.given().items()
        taken = {name: _later(m, value, f"{name}_taken") for name, value in given}
        self.build(m, Operands(**taken))
        return m

    def _is_valid(self, m: Module) -> Value:
        valid = Signal(name="valid_taken")
        m.d.sync += valid.eq(self.valid)
        return valid

    def build(self, m: Module, taken: Operands) -> None:
        """Choose a code, shift stage by stage, and invert."""
        weight: Value = taken.weight
        word = self.complemented(taken.activation, weight[-1])
        zero = ~self._is_valid(m) | weight[:-1].all()
        if taken.second is not None:
            word = Mux(weight[0], self.complemented(taken.second, weight[-1]), word)
            word, weight, zero = self._stage(m, word, weight, zero, "choice")
        stages = _stages(self._mac)
        lowest = int(self._mac.scheme.counts_roots)
        for number, stage in enumerate(stages):
            word = Mux(weight[lowest + stage], word << (1 << stage), word)
            if number < len(stages) - 1:
                word, weight, zero = self._stage(m, word, weight, zero, str(stage))
        if self.inverts:
            word = word ^ weight[-1].replicate(len(self.value))
            m.d.comb += self.negative.eq(weight[-1])
        m.d.comb += [self.value.eq(word), self.zero.eq(zero)]
        if self._mac.has_pair:
            m.d.comb += self.odd.eq(weight[0])
        if self.leaves_doubling(self._mac):
            m.d.comb += self.doubles.eq(weight[lowest])

    def _stage(
        self, m: Module, word: Value, weight: Value, zero: Value, name: str
    ) -> tuple[Value, Value, Value]:
        """What a stage hands on: the word, the weight, and whether all of it is to count as 0."""
        if not self._mac.pipeline:
            return word, weight, zero
        known = Signal(name=f"zero_after{name}", init=1)
        m.d.sync += known.eq(zero)
        return _later(m, word, f"shifted{name}"), _later(m, weight, f"weight_after{name}"), known


def _stages(mac: MacParameters) -> list[int]:
    """Bits of the shift that are done here, the highest first."""
    bits = mac.weight_grid.stored_bits - 1 - mac.scheme.counts_roots
    return list(range(bits - 1, StagedShifter.leaves_doubling(mac) - 1, -1))


def _later(m: Module, value: Value, name: str) -> Signal:
    """A register that a reset leaves as it is: what stands there counts for nothing then."""
    later = Signal(value.shape(), name=name, reset_less=True)
    m.d.sync += later.eq(value)
    return later
