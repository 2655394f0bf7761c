"""Shapes and widths of the feature maps (sections 2, 5 and 6)."""

from __future__ import annotations

from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Input, Layer, Linear
from asq_hw.oracle.plain import plain_shape
from asq_hw.oracle.windows import MapShape, positions

__all__ = ["map_shapes"]


def map_shapes(network: IntegerNetwork) -> dict[str, MapShape]:
    """Shape of every layer's feature map, in the order of execution."""
    shapes: dict[str, MapShape] = {}
    for layer in network.layers:
        shapes[layer.name] = _map_shape(layer, [shapes[name] for name in layer.source_names])
    return shapes


def _map_shape(layer: Layer, read: list[MapShape]) -> MapShape:
    match layer:
        case Input():
            return MapShape(len(layer.multiplier), layer.height, layer.width, layer.output.bits)
        case Conv():
            outputs = len(layer.weight_codes)
            return MapShape(outputs, *positions(layer, read[0]), layer.output.bits)
        case Linear():
            return MapShape(len(layer.weight_codes), 1, 1, layer.output.bits)
        case _:
            return plain_shape(layer, read)
