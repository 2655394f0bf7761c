"""MODEL and ``--layer``: the layers of a network that a unit is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.options import BUNDLED, model_path
from asq_hw.cli.parameters import declared
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from rtl.quantizer.of_layer import LayerUnits
    from rtl.units.unit import LayerUse

__all__ = ["EVERY_LAYER", "layer_of", "layer_parameters", "layers_of", "model_read"]

EVERY_LAYER = "all"
"""Named in place of a layer: each layer of the model in turn."""

_MODEL = "model"
_LAYER = "layer"


def layer_parameters(use: LayerUse, *, several: bool = False) -> list[Parameter]:
    """What names the layer that a unit is for, or `several`; nothing where it knows none."""
    from rtl.units.unit import LayerUse

    match use:
        case LayerUse.NEVER:
            return []
        case LayerUse.OPTIONAL:
            what = "Layer of MODEL that the unit is for: widths follow from it."
        case LayerUse.ALWAYS:
            what = "Layer that the unit is for; default: the first that has one."
    model = typer.Argument(metavar="MODEL", help=f"Model file; {BUNDLED} is the packaged network.")
    if several:
        what = f"{what} {EVERY_LAYER!r}: each one in turn."
    metavar = f"L|{EVERY_LAYER}" if several else "L"
    layer = typer.Option("--layer", metavar=metavar, help=what)
    return [
        declared(_MODEL, Annotated[str, model], BUNDLED),
        declared(_LAYER, Annotated[str | None, layer], None),
    ]


def model_read(use: LayerUse, values: Mapping[str, Any]) -> dict[str, Path | None]:
    """The model file that a command reads, to be held against what it writes."""
    from rtl.units.unit import LayerUse

    return {} if use is LayerUse.NEVER else {"model": model_path(values[_MODEL])}


def layers_of(
    use: LayerUse, values: dict[str, Any], *, adaptive: bool
) -> Sequence[LayerUnits | None]:
    """The layer that `values` name, as `layer_of`; for `EVERY_LAYER`, each one of the model.

    With `adaptive`, these are the ones that have an adapter.
    """
    from asq_hw.modelfile import load
    from rtl.quantizer.of_layer import LayerUnits

    if values.get(_LAYER) != EVERY_LAYER:
        return [layer_of(use, values)]
    del values[_LAYER]
    return LayerUnits.every(load(model_path(values.pop(_MODEL))), adaptive=adaptive)


def layer_of(use: LayerUse, values: dict[str, Any]) -> LayerUnits | None:
    """The layer that `values` name, which are taken out; None where no layer is named."""
    from rtl.quantizer.of_layer import LayerUnits
    from rtl.units.unit import LayerUse

    if use is LayerUse.NEVER:
        return None
    model, layer = values.pop(_MODEL), values.pop(_LAYER)
    if layer is None and use is LayerUse.OPTIONAL:
        if model != BUNDLED:
            raise InputError(f"layer must be named with --layer for the model {model}")
        return None
    from asq_hw.modelfile import load

    return LayerUnits.of(load(model_path(model)), layer, adaptive=use is LayerUse.ALWAYS)
