"""The adapter as a kind."""

from __future__ import annotations

from rtl.quantizer.adapter import Adapter
from rtl.quantizer.of_layer import LayerUnits
from rtl.units.option import Given, Option
from rtl.units.unit import LayerUse, Unit

__all__ = ["ADAPTER"]

_MEAN_BITS = Option(
    name="mean_bits",
    flags=("--mean-bits",),
    help="Width of a mean, at least what the layer's means need, which is the default.",
)


class _AdapterUnit(Unit):
    """Channel means to a step."""

    name = "adapter"
    title = "the adapter of a network's layer"
    purpose = "channel means to a step"
    options = (_MEAN_BITS,)
    examples = (
        "asq-hw rtl adapter -o build/adapter",
        "asq-hw verify adapter --method cosim --cycles 20000",
        "asq-hw synth adapter --target ecp5",
    )
    layer = LayerUse.ALWAYS
    is_adaptive = True

    def design(self, given: Given, layer: LayerUnits | None = None) -> Adapter:
        """The layer's adapter."""
        assert layer is not None, "an adapter is always a layer's"
        return layer.adapter(mean_bits=given["mean_bits"])


ADAPTER = _AdapterUnit()
