"""The finder of a shared exponent as a kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.widths import MAX_STEP_FRACTION_BITS, STEP_BITS
from rtl.quantizer.exponent import LEAST_OFFSET, ExponentFinder
from rtl.quantizer.of_layer import LayerUnits
from rtl.units.features import FEATURE_BITS, stated
from rtl.units.option import Given, Option, default_of
from rtl.units.unit import LayerUse, NetworkUnit
from rtl.verify.met import Met, Traced

__all__ = ["EXPONENT"]

_OFFSET = Option(
    name="offset",
    flags=("--offset",),
    metavar="O",
    help="Fraction bits of the step, less the exponent of the largest power of two among the "
    f"codes, {LEAST_OFFSET} to {MAX_STEP_FRACTION_BITS}; default: "
    f"{default_of(ExponentFinder, 'offset')}, or the layer's.",
)
_ENDS: Sequence[Option] = [
    Option(
        name=name,
        flags=(f"--{name}",),
        metavar="E",
        help=f"The {name} exponent of a step, 0 to {STEP_BITS - 1}; default: "
        f"{default_of(ExponentFinder, name)}, or the layer's.",
    )
    for name in ("lowest", "highest")
]
_SAMPLES = 4
"""Feature maps of a network that one is given, at most."""


class _ExponentUnit(NetworkUnit):
    """A sample's features to its step."""

    name = "exponent"
    title = "a finder of shared exponents, as in MX formats"
    purpose = "a sample's features to the step that the largest of them sets"
    options = (FEATURE_BITS, _OFFSET, *_ENDS)
    examples = (
        "asq-hw rtl exponent --feature-bits 16 -o build/exponent",
        "asq-hw verify exponent --method formal",
        "asq-hw synth exponent --target ecp5",
    )
    layer = LayerUse.OPTIONAL

    def design(self, given: Given, layer: LayerUnits | None = None) -> ExponentFinder:
        """The finder of a layer, or the one that the options describe."""
        return ExponentFinder(**stated(given)) if layer is None else layer.exponent(**given)

    def passes_over(self, given: Given, layer: LayerUnits) -> str:
        """Layers with other steps have none."""
        if isinstance(layer.layer.quantizer.step, SharedExponentStep):
            return ""
        return f"layer {layer.layer.name} has no shared exponent"

    def meets(self, units: LayerUnits, traced: Traced, random: np.random.Generator) -> Met:
        """Whole samples: traced ones, then those at every power of two and beside it."""
        features = traced.features.reshape(len(traced.features), -1)
        met = traced.extent.of(len(features), _SAMPLES)
        chosen = random.permutation(len(features))[:met]
        half = 1 << (units.source.format.bits - 1)
        powers = 1 << np.arange(units.source.format.bits)
        ends = np.concatenate([[0, -half], *(powers + offset for offset in (-1, 0)), 1 - powers])
        ends = ends[(ends >= -half) & (ends < half)]
        size = features.shape[1]
        rows = np.concatenate([features[chosen].reshape(-1), ends])
        last = np.zeros(len(rows), dtype=np.int64)
        known = np.zeros(len(rows), dtype=np.bool_)
        expected = np.zeros(len(rows), dtype=np.int64)
        ending = np.arange(1, met + 1) * size - 1
        last[ending], known[ending], expected[ending] = 1, True, traced.steps[chosen]
        last[met * size :] = 1
        return Met(rows={"last": last, "feature": rows}, expected=expected, known=known)


EXPONENT = _ExponentUnit()
