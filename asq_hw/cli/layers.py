"""MODEL and ``--layer``: the layers of a network that a unit is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asq_hw.cli.options import BUNDLED, MODEL_HELP, choose, model_path
from asq_hw.cli.parameters import declared
from asq_hw.errors import InputError
from asq_hw.numbers.products import Product, ProductKind

if TYPE_CHECKING:
    from rtl.quantizer.of_layer import LayerUnits
    from rtl.units.unit import LayerUse, Unit

__all__ = ["EVERY_LAYER", "layer_of", "layer_parameters", "layers_of"]

EVERY_LAYER = "all"
"""Named in place of a layer: each layer of the model that has such a unit, in turn."""

_MODEL = "model"
_LAYER = "layer"
_PRODUCT = "product"


def layer_parameters(use: LayerUse, *, takes_all: bool = False) -> list[Parameter]:
    """What names the layers that a unit is for; nothing where it knows none.

    With `takes_all`, `EVERY_LAYER` may be named.
    """
    from rtl.units.unit import LayerUse

    match use:
        case LayerUse.NEVER:
            return []
        case LayerUse.OPTIONAL:
            what = "Layer of MODEL that the unit is for: widths follow from it"
        case LayerUse.ALWAYS:
            what = "Layer of MODEL that the unit is for; default: the first that has one"
    help, metavar = (
        (f"{what}; {EVERY_LAYER}: every layer that has one.", f"L|{EVERY_LAYER}")
        if takes_all
        else (f"{what}.", "L")
    )
    model = typer.Argument(metavar="MODEL", help=MODEL_HELP)
    layer = typer.Option("--layer", metavar=metavar, help=help)
    product = typer.Option(
        "--product",
        metavar="|".join(ProductKind),
        help="How MODEL multiplies by odd powers; default: as it was trained to.",
    )
    return [
        declared(_MODEL, Annotated[str, model], BUNDLED),
        declared(_LAYER, Annotated[str | None, layer], None),
        declared(_PRODUCT, Annotated[str | None, product], None),
    ]


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
        if values.pop(_PRODUCT) is not None:
            raise InputError("product is that of a layer, which must be named with --layer")
        return None
    from asq_hw.modelfile import load

    units = LayerUnits.of(load(model_path(model)), layer, adaptive=use is LayerUse.ALWAYS)
    return _multiplied([units], values.pop(_PRODUCT))[0]


def layers_of(unit: Unit, values: dict[str, Any]) -> Sequence[LayerUnits | None]:
    """What `layer_of` gives; for `EVERY_LAYER`, each layer's units."""
    if values.get(_LAYER) != EVERY_LAYER:
        return [layer_of(unit.layer, values)]
    from asq_hw.modelfile import load
    from rtl.quantizer.of_layer import LayerUnits

    del values[_LAYER]
    every = LayerUnits.every(load(model_path(values.pop(_MODEL))), adaptive=unit.is_adaptive)
    return _multiplied(every, values.pop(_PRODUCT))


def _multiplied(layers: Sequence[LayerUnits], product: str | None) -> Sequence[LayerUnits]:
    """A network's layers where it runs with a product, which must be one that its widths allow."""
    if product is None:
        return layers
    made = Product(kind=choose(ProductKind, "product", product))
    layers[0].network.check_product(made)
    return [replace(units, product=made) for units in layers]
