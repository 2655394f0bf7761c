"""Shapes and widths of the feature maps (sections 2, 5 and 6)."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    Linear,
    MaxPool,
    Relu,
)

__all__ = ["MapShape", "kernel_size", "map_shapes", "sources", "window_starts"]

Windowed = Conv | MaxPool | AveragePool


class MapShape(NamedTuple):
    """One sample's (C, H, W), and the signed integers' bits."""

    channels: int
    height: int
    width: int
    bits: int

    @property
    def tensor(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width


def sources(layer: Layer) -> tuple[str, ...]:
    """Names of the feature maps that a layer reads."""
    match layer:
        case Input():
            return ()
        case Add():
            return tuple(layer.sources)
        case _:
            return (layer.source,)


def map_shapes(network: IntegerNetwork) -> dict[str, MapShape]:
    """Shape of every layer's feature map, in the order of execution."""
    shapes: dict[str, MapShape] = {}
    for layer in network.layers:
        shapes[layer.name] = _map_shape(layer, [shapes[name] for name in sources(layer)])
    return shapes


def _map_shape(layer: Layer, read: list[MapShape]) -> MapShape:
    match layer:
        case Input():
            return MapShape(len(layer.multiplier), layer.height, layer.width, layer.output.bits)
        case Conv():
            outputs = len(layer.weight_codes)
            return MapShape(outputs, *_positions(layer, read[0]), layer.output.bits)
        case Linear():
            return MapShape(len(layer.weight_codes), 1, 1, layer.output.bits)
        case Add() | Relu():
            return read[0]
        case Flatten():
            channels, height, width, bits = read[0]
            return MapShape(channels * height * width, 1, 1, bits)
        case MaxPool() | AveragePool():
            return MapShape(read[0].channels, *_positions(layer, read[0]), read[0].bits)
        case GlobalAveragePool():
            return MapShape(read[0].channels, 1, 1, read[0].bits)
        case _:
            assert_never(layer)


def kernel_size(layer: Windowed) -> tuple[int, int]:
    """Height and width of a window."""
    if isinstance(layer, Conv):
        _, _, height, width = layer.weight_codes.shape
        return int(height), int(width)
    return layer.kernel_size


def _positions(layer: Windowed, read: MapShape) -> tuple[int, int]:
    """How many windows there are in a column and in a row."""
    return (
        len(window_starts(layer, read.height, axis=0)),
        len(window_starts(layer, read.width, axis=1)),
    )


def window_starts(layer: Windowed, size: int, axis: int) -> list[int]:
    """First coordinate of every window along one axis; negative in the padding.

    Windows begin a stride apart, from the padding's first element on, as long as the last element
    of the window still lies inside the map or its padding.
    """
    padding = layer.padding[axis]
    last = size + padding - kernel_size(layer)[axis]
    return list(range(-padding, last + 1, layer.stride[axis]))
