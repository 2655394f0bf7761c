"""What the requantizer and the pooling accumulator must compute: exact sums and roundings."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed

from asq_hw.numbers.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER, integer_range
from asq_hw.numbers.products import SPLIT_FRACTION_BITS
from rtl.lib.delay import delay
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.requantizer import Requantizer
from rtl.verify.unit import Bug, Claims, UnitHarness, misrounded

__all__ = ["PoolingHarness", "RequantizerHarness"]


class RequantizerHarness(UnitHarness):
    """Each feature is the contract's, whatever the operations before it.

    The claim goes register by register: the joined value is ``2**4 * E`` plus the rounded
    ``sqrt(2) * O``; the product is the value times the multiplier, where ``*`` is Verilog's; and
    the feature is the product, rounded, plus the bias, limited. Nothing is kept from one operation
    to the next, so that results need no claim about states.
    """

    def __init__(self, design: Requantizer, bug: Bug | None = None) -> None:
        super().__init__(design, bug)
        self._design = design
        if design.pair:
            self._joined = self.probe("joined", signed(design.joined.bits))
            self._root = self.probe("root", signed(design.root.bits))
        self._product = self.probe("product", signed(design.products.bits))

    def claim(self, m: Module) -> Claims:
        """The registers in their order; each is held where its operation is valid."""
        design = self._design
        early = design.latency_cyc - 3
        value = self._joined if design.pair else self.inputs["value"]
        wrong: list[Value] = []
        if design.pair:
            wrong += self._misjoined(m)
        multiplier = delay(m, self.inputs["multiplier"], early, "multiplier")
        product = Signal.like(self._product, name="exact_product")
        m.d.sync += product.eq(value * multiplier)
        wrong.append(self._product != product)
        valid = delay(m, self.inputs["valid_in"], design.latency_cyc, "taken")
        bias = delay(m, self.inputs["bias"], design.latency_cyc, "bias")
        before = delay(m, self._product, 2, "product")
        # A bias is added behind the rounding: it moves the feature and its ends alike.
        wide = Signal(signed(max(design.bits, len(bias)) + 1), name="feature_less_bias")
        m.d.comb += wide.eq(self.outputs["feature"] - bias)
        low, high = integer_range(design.bits)
        feature = self.outputs["feature"]
        misscaled = misrounded(
            before, design.shift, wide, lowest=feature == low, highest=feature == high
        )
        wrong += [self.outputs["valid_out"] != valid, valid & misscaled]
        return Claims(legal=Const(1), wrong=wrong)

    def _misjoined(self, m: Module) -> list[Value]:
        even = delay(m, self.inputs["even"], 2, "even")
        exact = Signal.like(self._root, name="exact_root")
        m.d.sync += exact.eq(self.inputs["odd"] * Const(SQRT2_MULTIPLIER))
        root = delay(m, self._root, 1, "root")
        rest = self._joined - (even << SPLIT_FRACTION_BITS)
        drop = SQRT2_FRACTION_BITS - SPLIT_FRACTION_BITS
        valid = delay(m, self.inputs["valid_in"], 2, "early")
        return [self._root != exact, valid & misrounded(root, drop, rest)]


class PoolingHarness(UnitHarness):
    """Each mean is the contract's, of all features since the last one's end.

    No channel may have more features than the design is made for.
    """

    def __init__(self, design: PoolingAccumulator, bug: Bug | None = None) -> None:
        super().__init__(design, bug)
        self._design = design
        self._begins = self.probe("begins", 1)
        self._total = self.probe("total", signed(design.sum_bits))
        self._product = self.probe("product", signed(design.product_bits))

    def claim(self, m: Module) -> Claims:
        """The exact sum beside the unit's, in a width that nothing overflows."""
        design = self._design
        valid, last = self.inputs["valid_in"], self.inputs["last"]
        feature = self.inputs["feature"]
        number = Signal(range(design.elements + 1), name="number")
        total = Signal(signed(design.sum_bits + 2), name="exact_total")
        ended = Signal(init=1, name="ended")
        with m.If(valid):
            m.d.sync += [
                ended.eq(last),
                number.eq(Mux(ended, 1, number + 1)),
                total.eq(Mux(ended, 0, total) + feature),
            ]
        reach = number << (design.feature_bits - 1)
        astray = [
            self._begins != ended,
            self._total != total,
            (number > design.elements) | (total < -reach) | (total > reach - number),
        ]
        taken = delay(m, valid & last, design.latency_cyc, "taken")
        product = self._product
        exact = delay(m, total * Const(design.multiplier), 1, "exact")
        before = delay(m, product, 1, "product")
        wrong = [
            self.outputs["valid_out"] != taken,
            taken & misrounded(before, design.shift, self.outputs["mean"]),
            delay(m, valid & last, 2, "multiplied") & (product != exact),
        ]
        legal = ~valid | ended | (number < design.elements)
        return Claims(legal=legal, wrong=wrong, astray=astray)
