"""The requantizer as a kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from rtl.design import Design
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.requantizer import Requantizer
from rtl.units.features import FEATURE_BITS, STEPS_OF, shift_of, stated
from rtl.units.option import Given, Option, default_of
from rtl.units.unit import Effort, LayerUse, Rungs, Unit, of_each
from rtl.verify.checks import Method
from rtl.verify.quantizer import exhaustive_requantizer

__all__ = ["REQUANTIZER"]

_FEW_VALUE_BITS = 20
"""Of a requantizer to check without a layer: few enough to try every value."""

_VALUE_BITS = Option(
    name="value_bits",
    flags=("--value-bits",),
    help=f"Width of a dot product, 2 to 40; default: {default_of(Requantizer, 'value_bits')} "
    f"(verify: {_FEW_VALUE_BITS}), or the layer's.",
)
_MULTIPLIER_BITS = Option(
    name="multiplier_bits",
    flags=("--multiplier-bits",),
    help="Width of a multiplier, 2 to 32; default: "
    f"{default_of(Requantizer, 'multiplier_bits')}, or the layer's.",
)
_PAIR = Option(
    name="pair",
    flags=("--pair",),
    type=bool,
    default=default_of(Requantizer, "pair"),
    help="Take even and odd sums and join them first.",
)


class _RequantizerUnit(Unit):
    """Dot products to features."""

    name = "requantizer"
    title = "a requantizer"
    purpose = "dot products, or pairs of sums, to features"
    options = (
        _VALUE_BITS,
        _MULTIPLIER_BITS,
        shift_of(Requantizer),
        replace(FEATURE_BITS, name="bits", flags=("--feature-bits", "--bits")),
        _PAIR,
    )
    verify_options = (*options, STEPS_OF["value"])
    examples = (
        "asq-hw rtl requantizer --pair --shift 18 -o build/requantizer",
        (
            "asq-hw verify requantizer --value-bits 12 --shift 16 --feature-bits 8 "
            "--method exhaustive"
        ),
        "asq-hw synth requantizer --value-bits 12 --target ice40",
    )
    layer = LayerUse.OPTIONAL

    def design(self, given: Given, layer: LayerUnits | None = None) -> Requantizer:
        """The requantizer of a layer, or the one that the options describe."""
        sizes = {name: given[name] for name in ("value_bits", "multiplier_bits", "shift", "bits")}
        if layer is None:
            return Requantizer(pair=given["pair"], **stated(sizes))
        return layer.requantizer(pair=given["pair"], **sizes)

    def designs(self, given: Given, layer: LayerUnits | None = None) -> Sequence[Requantizer]:
        """Without a layer and a width, one of which every value can be tried."""
        if layer is None and given["value_bits"] is None:
            given = {**given, "value_bits": _FEW_VALUE_BITS}
        return [self.design(given, layer)]

    def rungs(
        self,
        designs: Sequence[Design],
        given: Given,
        effort: Effort,
        layer: LayerUnits | None = None,
    ) -> Rungs:
        """Every value with many multipliers, and proofs, but for pairs."""
        rungs = dict(super().rungs(designs, given, effort, layer))
        if any(requantizer.pair for requantizer in cast(Sequence[Requantizer], designs)):
            del rungs[Method.FORMAL]  # the tests prove pairs of narrow sums
            return rungs
        return {
            **rungs,
            Method.EXHAUSTIVE: lambda: of_each(
                designs, exhaustive_requantizer, steps=given["steps"]
            ),
        }


REQUANTIZER = _RequantizerUnit()
