"""The dot-product unit as a kind."""

from __future__ import annotations

from collections.abc import Sequence

from asq_hw.numbers.encoding import Encoding
from rtl.design import Design
from rtl.mac.design import Mac
from rtl.mac.dot_product import MAX_LANES, DotProduct
from rtl.quantizer.of_layer import LayerUnits
from rtl.units import operands
from rtl.units.option import REQUIRED, Given, Option, default_of
from rtl.units.unit import Effort, Rungs, Unit, of_each
from rtl.verify.checks import Method
from rtl.verify.dot_product import DOT_OPERATIONS, cosim_dot_product

__all__ = ["DOT", "LANES"]

LANES = Option(
    name="lanes",
    flags=("--lanes",),
    default=REQUIRED,
    help=f"Products in a cycle, 1 to {MAX_LANES}.",
)


class _DotUnit(Unit):
    """Several products each cycle, an adder tree and accumulators."""

    name = "dot"
    title = "a dot-product unit"
    purpose = "several products each cycle, an adder tree, accumulators"
    options = (
        operands.SCHEME,
        operands.WEIGHT_BITS,
        LANES,
        operands.ACTIVATION_BITS,
        operands.ACTIVATION_SIGNED,
        operands.ENCODING,
        operands.ACCUMULATOR_BITS,
        operands.STYLE,
        operands.ACCUMULATION.with_default(None, "post-split: pair or ordered sums."),
    )
    verify_options = (
        options[0],
        operands.WEIGHT_BITS.with_default(default_of(Mac, "weight_bits")),
        LANES.with_default(4),
        *options[3:],
    )
    examples = (
        "asq-hw rtl dot --scheme post-split --weight-bits 4 --lanes 8 -o build/dot",
        (
            "asq-hw verify dot --scheme post-split --weight-bits 4 --lanes 2 "
            "--method cosim --cycles 100000"
        ),
        ("asq-hw synth dot --scheme uniform,post-split --weight-bits 4 --lanes 8 --target gates"),
    )
    operations = DOT_OPERATIONS

    def design(self, given: Given, layer: LayerUnits | None = None) -> DotProduct:
        """The unit, around the products of a multiply-accumulate unit."""
        fields = dict(given)
        lanes = fields.pop("lanes")
        mac = Mac(**{**fields, "encoding": Encoding(fields["encoding"])})
        return DotProduct(mac=mac, lanes=lanes)

    def rungs(
        self,
        designs: Sequence[Design],
        given: Given,
        effort: Effort,
        layer: LayerUnits | None = None,
    ) -> Rungs:
        """The long run is held against sums of the oracle's products."""
        return {
            **super().rungs(designs, given, effort, layer),
            Method.COSIM: lambda: of_each(designs, cosim_dot_product, operations=effort.operations),
        }


DOT = _DotUnit()
