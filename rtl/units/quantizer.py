"""The activation quantizer as a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rtl.design import Design
from rtl.quantizer.activation import StepQuantizer
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.units.features import FEATURE_BITS, STEPS_OF, stated
from rtl.units.option import Given, Option, default_of
from rtl.units.unit import Effort, LayerUse, Rungs, Unit, of_each
from rtl.verify.checks import Method
from rtl.verify.quantizer import exhaustive_quantizer

__all__ = ["QUANTIZER"]

_ARRANGEMENTS: Mapping[str, type[StepQuantizer]] = {
    "ladder": LadderQuantizer,
    "reciprocal": ReciprocalQuantizer,
}
_STEP_FRACTION_BITS = 8
"""Without a layer: as many as the packaged network's layers have."""

_ARRANGEMENT = Option(
    name="arrangement",
    flags=("--arrangement",),
    type=str,
    metavar="|".join(_ARRANGEMENTS),
    choices=tuple(_ARRANGEMENTS),
    default="ladder",
    help="Thresholds made by addition, or a multiplication by the step's reciprocal.",
)
_CODE_BITS = Option(
    name="bits",
    flags=("--activation-bits",),
    metavar="A",
    help=f"Width of a code, 2 to 8; default: {default_of(StepQuantizer, 'bits')}, or the layer's.",
)
_SIGNED = Option(
    name="signed",
    flags=("--signed-activations", "--signed"),
    type=bool,
    default=default_of(StepQuantizer, "signed"),
    help="Two's complement codes.",
)
_FRACTION = Option(
    name="step_fraction_bits",
    flags=("--step-fraction-bits",),
    metavar="T",
    help=f"Fraction bits of the step, 0 to 24; default: {_STEP_FRACTION_BITS}, or the layer's.",
)


class _QuantizerUnit(Unit):
    """Features to codes, by a step that comes late."""

    name = "quantizer"
    title = "an ASQ activation quantizer"
    purpose = "features to codes, by a step that comes late and is a port"
    options = (_ARRANGEMENT, _CODE_BITS, _SIGNED, FEATURE_BITS, _FRACTION)
    verify_options = (*options, STEPS_OF["feature"])
    examples = (
        "asq-hw rtl quantizer --activation-bits 4 -o build/quantizer",
        "asq-hw verify quantizer --feature-bits 10 --method exhaustive",
        "asq-hw synth quantizer --target ice40",
    )
    layer = LayerUse.OPTIONAL

    def design(self, given: Given, layer: LayerUnits | None = None) -> StepQuantizer:
        """The quantizer of a layer, or the one that the options describe."""
        kind, signed = _ARRANGEMENTS[given["arrangement"]], given["signed"]
        sizes = {name: given[name] for name in ("bits", "feature_bits", "step_fraction_bits")}
        if layer is not None:
            return layer.quantizer(kind, signed=signed, **sizes)
        return kind(signed=signed, **{"step_fraction_bits": _STEP_FRACTION_BITS, **stated(sizes)})

    def rungs(
        self,
        designs: Sequence[Design],
        given: Given,
        effort: Effort,
        layer: LayerUnits | None = None,
    ) -> Rungs:
        """Beside the others, every feature with many steps."""
        return {
            **super().rungs(designs, given, effort, layer),
            Method.EXHAUSTIVE: lambda: of_each(designs, exhaustive_quantizer, steps=given["steps"]),
        }


QUANTIZER = _QuantizerUnit()
