"""MODEL and ``--layer``: the layers of a network that a unit is for."""

from __future__ import annotations

from collections.abc import Mapping
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

__all__ = ["layer_of", "layer_parameters", "model_read"]

_MODEL = "model"
_LAYER = "layer"


def layer_parameters(use: LayerUse) -> list[Parameter]:
    """What names the layer that a unit is for; nothing where it knows none."""
    from rtl.units.unit import LayerUse

    match use:
        case LayerUse.NEVER:
            return []
        case LayerUse.OPTIONAL:
            what = "Layer of MODEL that the unit is for: widths follow from it."
        case LayerUse.ALWAYS:
            what = "Layer that the unit is for; default: the first that has one."
    model = typer.Argument(metavar="MODEL", help=f"Model file; {BUNDLED} is the packaged network.")
    layer = typer.Option("--layer", metavar="L", help=what)
    return [
        declared(_MODEL, Annotated[str, model], BUNDLED),
        declared(_LAYER, Annotated[str | None, layer], None),
    ]


def model_read(use: LayerUse, values: Mapping[str, Any]) -> dict[str, Path | None]:
    """The model file that a command reads, to be held against what it writes."""
    from rtl.units.unit import LayerUse

    return {} if use is LayerUse.NEVER else {"model": model_path(values[_MODEL])}


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
