"""Windows of convolutions and pools (sections 5 and 6)."""

from __future__ import annotations

from typing import NamedTuple

from asq_hw.network.layers import AveragePool, Conv, MaxPool

__all__ = ["MapShape", "kernel_size", "positions", "window_starts"]

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


def kernel_size(layer: Windowed) -> tuple[int, int]:
    """Height and width of a window."""
    if isinstance(layer, Conv):
        _, _, height, width = layer.weight_codes.shape
        return int(height), int(width)
    return layer.kernel_size


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
    last = size + padding - kernel_size(layer)[axis]
    return list(range(-padding, last + 1, layer.stride[axis]))
