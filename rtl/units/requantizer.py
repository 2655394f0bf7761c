"""The requantizer as a kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from asq_hw.network.bounds import Range
from rtl.design import Design
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.requantizer import MAX_MULTIPLIER_BITS, MAX_VALUE_BITS, Requantizer
from rtl.units.features import FEATURE_BITS, STEPS_OF, shift_of, stated
from rtl.units.option import Given, Option, default_of
from rtl.units.unit import Effort, LayerUse, NetworkUnit, Rungs, of_each
from rtl.verify.checks import Method
from rtl.verify.met import Integers, Met, Traced, rounded
from rtl.verify.quantizer import MOST_TRIED_BITS, exhaustive_requantizer

__all__ = ["REQUANTIZER"]

_OUTPUTS = 40_000
"""Outputs of a network that one is given, at most, where a part of them is drawn."""
_DRAWN = 20_000
"""Operations that are drawn."""

_VALUE_BITS = Option(
    name="value_bits",
    flags=("--value-bits",),
    help=f"Width of a dot product, 2 to {MAX_VALUE_BITS}; default: "
    f"{default_of(Requantizer, 'value_bits')} (verify: {MOST_TRIED_BITS}), or the layer's.",
)
_MULTIPLIER_BITS = Option(
    name="multiplier_bits",
    flags=("--multiplier-bits",),
    help=f"Width of a multiplier, 2 to {MAX_MULTIPLIER_BITS}; default: "
    f"{default_of(Requantizer, 'multiplier_bits')}, or the layer's.",
)
_PAIR = Option(
    name="pair",
    flags=("--pair",),
    type=bool,
    default=default_of(Requantizer, "pair"),
    help="Take even and odd sums and join them first.",
)


class _RequantizerUnit(NetworkUnit):
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
            given = {**given, "value_bits": MOST_TRIED_BITS}
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

    def meets(self, units: LayerUnits, traced: Traced, random: np.random.Generator) -> Met:
        """Traced sums of all channels, then the ends of sums and multipliers with the biases."""
        layer, outputs = units.layer, traced.outputs
        multipliers = np.array(
            [
                rounded(layer.multiplier * step, 1, layer.narrow_shift)
                for step in traced.steps.tolist()
            ]
        )
        chosen = random.permutation(outputs.size)[: traced.extent.of(outputs.size, _OUTPUTS)]
        sample, channel = np.unravel_index(chosen, outputs.shape)[:2]
        sums = [values.reshape(-1)[chosen] for values in traced.sums]
        drawn = [_from(random, bound) for bound in (*units.sums, units.multipliers)]
        bias = layer.bias[random.integers(0, len(layer.bias), _DRAWN)]
        columns = [*sums, multipliers[sample, channel], layer.bias[channel]]
        names = ("even", "odd") if len(sums) == 2 else ("value",)
        rows = {
            name: np.concatenate([first, second])
            for name, first, second in zip(
                (*names, "multiplier", "bias"), columns, [*drawn, bias], strict=True
            )
        }
        nothing = np.zeros(_DRAWN, dtype=np.int64)
        return Met(
            rows=rows,
            expected=np.concatenate([outputs.reshape(-1)[chosen], nothing]),
            known=np.arange(len(chosen) + _DRAWN) < len(chosen),
        )


def _from(random: np.random.Generator, bound: Range) -> Integers:
    """Integers of a range: one in two is an end."""
    ends = random.choice([bound.low, bound.high], _DRAWN)
    drawn = random.integers(bound.low, bound.high, _DRAWN, endpoint=True)
    return np.where(random.random(_DRAWN) < 0.5, ends, drawn)


REQUANTIZER = _RequantizerUnit()
