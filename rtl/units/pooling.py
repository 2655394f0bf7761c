"""The pooling accumulator as a kind."""

from __future__ import annotations

from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.units.features import FEATURE_BITS, shift_of, stated
from rtl.units.option import Given, Option, default_of
from rtl.units.unit import LayerUse, Unit

__all__ = ["POOLING"]

_ELEMENTS = Option(
    name="elements",
    flags=("--elements",),
    help="Most features of a channel, up to 2^20; default: "
    f"{default_of(PoolingAccumulator, 'elements')}, or the layer's.",
)
_MULTIPLIER = Option(
    name="multiplier",
    flags=("--multiplier",),
    metavar="M",
    help="Of the sum, 1 to 65535; default: "
    f"{default_of(PoolingAccumulator, 'multiplier')}, or the layer's.",
)


class _PoolingUnit(Unit):
    """Features to the mean of their channel."""

    name = "pooling"
    title = "a pooling accumulator"
    purpose = "features to the mean of their channel"
    options = (FEATURE_BITS, _ELEMENTS, _MULTIPLIER, shift_of(PoolingAccumulator))
    examples = (
        "asq-hw rtl pooling --elements 49 --multiplier 1337 -o build/pooling",
        "asq-hw verify pooling --method formal",
        "asq-hw synth pooling --elements 49 --target gates",
    )
    layer = LayerUse.OPTIONAL
    is_adaptive = True

    def design(self, given: Given, layer: LayerUnits | None = None) -> PoolingAccumulator:
        """The pooling accumulator of a layer, or the one that the options describe."""
        return PoolingAccumulator(**stated(given)) if layer is None else layer.pooling(**given)


POOLING = _PoolingUnit()
