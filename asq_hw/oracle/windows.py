"""Windows of convolutions and pools (sections 5 and 6)."""

from __future__ import annotations

from typing import NamedTuple

from asq_hw.network.layers import AveragePool, Conv, MaxPool

__all__ = ["MapShape", "positions", "window_places", "window_starts"]

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


def window_places(layer: Windowed, axis: int) -> list[int]:
    """Where the elements of a window stand along one axis, from the first one's place on."""
    if isinstance(layer, Conv):
        size = int(layer.weight_codes.shape[2 + axis])
        return [place * layer.dilation[axis] for place in range(size)]
    return list(range(layer.kernel_size[axis]))


def positions(layer: Windowed, read: MapShape) -> tuple[int, int]:
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
    last = size + padding - 1 - window_places(layer, axis)[-1]
    return list(range(-padding, last + 1, layer.stride[axis]))
