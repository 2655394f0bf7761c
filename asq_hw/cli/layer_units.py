"""Units around the dot product, from options or from a network's layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asq_hw.cli.options import BUNDLED, model_path
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from rtl.design import Design
    from rtl.quantizer.activation import StepQuantizer
    from rtl.quantizer.of_layer import LayerUnits
    from rtl.quantizer.pooling import PoolingAccumulator
    from rtl.quantizer.requantizer import Requantizer
    from rtl.verify.checks import Check, Method

__all__ = [
    "adaptive_units",
    "layer_units",
    "network_rung",
    "pooling_accumulator",
    "requantizer",
    "step_quantizer",
]

_STEP_FRACTION_BITS = 8

Given = int | None


def layer_units(model: str, layer: str | None) -> LayerUnits | None:
    """The units of a model's layer; None where no layer is named."""
    if layer is None:
        if model != BUNDLED:
            raise InputError(f"layer must be named with --layer for the model {model}")
        return None
    return _units(model, layer, adaptive=False)


def adaptive_units(model: str, layer: str | None) -> LayerUnits:
    """The units of the layer of that name, or of the first one that has an adapter."""
    return _units(model, layer, adaptive=True)


def _units(model: str, layer: str | None, *, adaptive: bool) -> LayerUnits:
    from asq_hw.modelfile import load
    from rtl.quantizer.of_layer import LayerUnits

    return LayerUnits.of(load(model_path(model)), layer, adaptive=adaptive)


def pooling_accumulator(units: LayerUnits | None, **given: Given) -> PoolingAccumulator:
    """The pooling accumulator of a layer, or the one that the options describe."""
    from rtl.quantizer.pooling import PoolingAccumulator

    return PoolingAccumulator(**_stated(given)) if units is None else units.pooling(**given)


def requantizer(units: LayerUnits | None, *, pair: bool, **given: Given) -> Requantizer:
    """The requantizer of a layer, or the one that the options describe."""
    from rtl.quantizer.requantizer import Requantizer

    if units is None:
        return Requantizer(pair=pair, **_stated(given))
    return units.requantizer(pair=pair, **given)


def step_quantizer(
    units: LayerUnits | None,
    arrangement: str,
    *,
    bits: int | None = None,
    signed: bool,
    feature_bits: int | None = None,
    step_fraction_bits: int | None = None,
) -> StepQuantizer:
    """The quantizer of a layer, or the one that the options describe, in that arrangement."""
    from rtl.quantizer.ladder import LadderQuantizer
    from rtl.quantizer.reciprocal import ReciprocalQuantizer

    kinds: dict[str, type[StepQuantizer]] = {
        "ladder": LadderQuantizer,
        "reciprocal": ReciprocalQuantizer,
    }
    if arrangement not in kinds:
        known = ", ".join(kinds)
        raise InputError(f"arrangement must be one of {known}, not {arrangement!r}")
    kind = kinds[arrangement]
    given = {"bits": bits, "feature_bits": feature_bits, "step_fraction_bits": step_fraction_bits}
    if units is not None:
        return units.quantizer(kind, signed=signed, **given)
    return kind(signed=signed, **({"step_fraction_bits": _STEP_FRACTION_BITS} | _stated(given)))


def network_rung(
    unit: str, design: Design, units: LayerUnits | None
) -> dict[Method, Callable[[], list[Check]]]:
    """The rung that a unit has beside the others if it is made for a network's layer."""
    from rtl.verify.checks import Method
    from rtl.verify.network import check_in_network

    if units is None:
        return {}
    return {Method.NETWORK: lambda: check_in_network(unit, design, units)}


def _stated(given: dict[str, Given]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
