"""The activation quantizer as a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from asq_hw.errors import InputError
from asq_hw.network.activation import FixedStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.widths import MAX_STEP_FRACTION_BITS, STEP_BITS
from rtl.design import Design
from rtl.quantizer.activation import FeatureQuantizer
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.odd_ladder import OddLadderQuantizer
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.quantizer.shift import ShiftQuantizer
from rtl.units.features import FEATURE_BITS, STEPS_OF, stated
from rtl.units.option import Given, Option, default_of
from rtl.units.unit import Effort, LayerUse, NetworkUnit, Rungs, of_each
from rtl.verify.checks import Check, Method
from rtl.verify.met import Extent, Integers, Met, Traced
from rtl.verify.quantizer import exhaustive_quantizer

__all__ = ["QUANTIZER"]

_ARRANGEMENTS: Mapping[str, type[FeatureQuantizer]] = {
    "ladder": LadderQuantizer,
    "reciprocal": ReciprocalQuantizer,
    "odd-ladder": OddLadderQuantizer,
    "shift": ShiftQuantizer,
    "constant": ConstantQuantizer,
}
_STEP_FRACTION_BITS = 8
"""Without a layer: as many as the packaged network's layers have."""

_FEATURES = 2048
"""Elements of one sample's feature map that one is given, at most."""

_ARRANGEMENT = Option(
    name="arrangement",
    flags=("--arrangement",),
    type=str,
    metavar="|".join(_ARRANGEMENTS),
    choices=tuple(_ARRANGEMENTS),
    default="ladder",
    help="Thresholds made by addition, a multiplication by the step's reciprocal, thresholds of "
    "post-dual's odd codes, a shift by the exponent of steps that are powers of two, or constant "
    "thresholds of a step that is a constant of the network.",
)
_CODE_BITS = Option(
    name="bits",
    flags=("--activation-bits",),
    metavar="A",
    help=f"Width of a code, {MIN_BITS} to {MAX_BITS}; default: "
    f"{default_of(FeatureQuantizer, 'bits')}, or the layer's.",
)
_SIGNED = Option(
    name="signed",
    flags=("--signed-activations", "--signed"),
    type=bool,
    default=default_of(FeatureQuantizer, "signed"),
    help="Two's complement codes.",
)
_FRACTION = Option(
    name="step_fraction_bits",
    flags=("--step-fraction-bits",),
    metavar="T",
    help=f"Fraction bits of the step, 0 to {MAX_STEP_FRACTION_BITS}; default: "
    f"{_STEP_FRACTION_BITS}, or the layer's.",
)

_STEP = Option(
    name="step",
    flags=("--step",),
    metavar="D",
    help=f"The step of --arrangement constant, 1 to {(1 << STEP_BITS) - 1}; default: "
    f"{default_of(ConstantQuantizer, 'step')}, or the layer's.",
)


class _QuantizerUnit(NetworkUnit):
    """Features to codes, by a step that comes late, or a constant one."""

    name = "quantizer"
    title = "an ASQ activation quantizer"
    purpose = "features to codes, by a step that comes late and is a port, or by a constant one"
    options = (_ARRANGEMENT, _CODE_BITS, _SIGNED, FEATURE_BITS, _FRACTION, _STEP)
    verify_options = (*options, STEPS_OF["feature"])
    examples = (
        "asq-hw rtl quantizer --activation-bits 4 -o build/quantizer",
        "asq-hw verify quantizer --feature-bits 10 --method exhaustive",
        "asq-hw synth quantizer --target ice40",
    )
    layer = LayerUse.OPTIONAL

    def design(self, given: Given, layer: LayerUnits | None = None) -> FeatureQuantizer:
        """The quantizer of a layer, or the one that the options describe."""
        kind, signed = _ARRANGEMENTS[given["arrangement"]], given["signed"]
        sizes = {name: given[name] for name in ("bits", "feature_bits", "step_fraction_bits")}
        if kind is ConstantQuantizer:
            sizes["step"] = given["step"]
        elif given.get("step") is not None:
            raise InputError(
                f"step is given to a quantizer of --arrangement {given['arrangement']} "
                "at run time: only --arrangement constant is made for one"
            )
        if layer is not None:
            if reason := _lacks(kind, layer):
                raise InputError(reason)
            return layer.quantizer(kind, signed=signed, **sizes)
        return kind(signed=signed, **{"step_fraction_bits": _STEP_FRACTION_BITS, **stated(sizes)})

    def passes_over(self, given: Given, layer: LayerUnits) -> str:
        """Layers without odd codes have no ladder for them, those of other steps no shift."""
        return _lacks(_ARRANGEMENTS[given["arrangement"]], layer)

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

    def _in_network(
        self, designs: Sequence[Design], layer: LayerUnits, extent: Extent
    ) -> list[Check]:
        """Odd codes come of ``post-dual`` alone."""
        from rtl.verify.network import check_in_network  # it compiles the simulator

        if all(isinstance(design, ConstantQuantizer) for design in designs):
            alone = partial(check_in_network, self.meets_features)
            return of_each(designs, alone, units=layer, extent=extent)
        if not any(isinstance(design, OddLadderQuantizer) for design in designs):
            return super()._in_network(designs, layer, extent)
        dual = replace(layer, product=Product(kind=ProductKind.POST_DUAL))
        check = partial(check_in_network, self.meets_odd_codes)
        return of_each(designs, check, units=dual, extent=extent)

    def meets(self, units: LayerUnits, traced: Traced, random: np.random.Generator) -> Met:
        """Each sample's step and features, then the ends of steps with those of features."""
        return _met(units, traced, traced.codes, random)

    def meets_features(self, units: LayerUnits, traced: Traced, random: np.random.Generator) -> Met:
        """The same for a constant step, without operations that load one."""
        met = self.meets(units, traced, random)
        taken = met.rows["load"] == 0
        return Met(
            rows={"feature": met.rows["feature"][taken]},
            expected=met.expected[taken],
            known=met.known[taken],
        )

    def meets_odd_codes(
        self, units: LayerUnits, traced: Traced, random: np.random.Generator
    ) -> Met:
        """The same with odd codes as what comes out."""
        assert traced.odd_codes is not None
        return _met(units, traced, traced.odd_codes, random)


def _met(units: LayerUnits, traced: Traced, made: Integers, random: np.random.Generator) -> Met:
    features = traced.features.reshape(len(traced.features), -1)
    codes = made.reshape(features.shape)
    met = traced.extent.of(features.shape[1], _FEATURES)
    places = random.permutation(features.shape[1])[:met]
    half = 1 << (units.source.format.bits - 1)
    bound = units.steps
    steps = np.array([bound.low, bound.high, *random.integers(bound.low, bound.high + 1, 6)])
    drawn = np.concatenate(
        [
            np.repeat([[-half, half - 1, -half + 1, half - 2, 0, -1]], len(steps), axis=0),
            random.integers(-half, half, (len(steps), 500)),
        ],
        axis=1,
    )
    parts = [
        _loaded(traced.steps, features[:, places], codes[:, places], known=True),
        _loaded(steps, drawn, np.zeros_like(drawn), known=False),
    ]
    load, step, feature, code, known = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    return Met(
        rows={"load": load, "step": step, "feature": feature},
        expected=code,
        known=known.astype(np.bool_),
    )


def _lacks(kind: type[FeatureQuantizer], layer: LayerUnits) -> str:
    """What is to be said of a layer that has no quantizer of a kind; empty where it has."""
    name = layer.layer.name
    if kind is OddLadderQuantizer:
        dual = Product(kind=ProductKind.POST_DUAL)
        if not dual.uses_odd_codes(layer.layer.weight_grid):
            return f"layer {name} has no odd codes: its weights have no odd part"
    if kind is ConstantQuantizer and not isinstance(layer.layer.quantizer.step, FixedStep):
        return f"layer {name} has no constant step: its samples have their own"
    if kind is ShiftQuantizer:
        match layer.layer.quantizer.step:
            case SharedExponentStep():
                return ""
            case FixedStep(step=step) if step.bit_count() == 1:
                return ""
        return f"layer {name} has steps that are no powers of two, which no shift divides by"
    return ""


def _loaded(
    steps: Integers, features: Integers, codes: Integers, *, known: bool
) -> tuple[Integers, ...]:
    """Columns of a step and the features behind it, for each step in turn."""
    zeros = np.zeros((len(steps), 1), dtype=np.int64)
    load = np.concatenate([zeros + 1, np.zeros_like(features)], axis=1)
    step = np.repeat(steps.reshape(-1, 1), features.shape[1] + 1, axis=1)
    feature = np.concatenate([zeros, features], axis=1)
    code = np.concatenate([zeros, codes], axis=1)
    counts = np.where(load == 1, 0, int(known))
    return tuple(column.reshape(-1) for column in (load, step, feature, code, counts))


QUANTIZER = _QuantizerUnit()
