"""Windows that move over a feature map: those of convolutions and pools."""

from __future__ import annotations

from typing import Protocol

from asq_hw.errors import InputError
from asq_hw.network.feature_map import Shape
from asq_hw.numbers.validation import check_pair

__all__ = [
    "MAX_KERNEL_SIZE",
    "MAX_PADDING",
    "MAX_STRIDE",
    "Windowed",
    "check_pool_window",
    "output_size",
    "window_positions",
]

MAX_KERNEL_SIZE = 64
"""Largest height and width of a pool's window."""
MAX_STRIDE = 64
MAX_PADDING = 64
"""Largest padding of a convolution; a pool's is at most half its kernel."""


class Windowed(Protocol):
    """A layer whose windows are this large, this far apart, and begin in this padding."""

    @property
    def name(self) -> str:
        """Of the layer."""

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of what a window spans."""

    @property
    def stride(self) -> tuple[int, int]:
        """Distance of two windows, down and across."""

    @property
    def padding(self) -> tuple[int, int]:
        """Rows above and below, columns left and right."""


def window_positions(size: int, kernel: int, stride: int, padding: int) -> int:
    """How many windows fit along one axis; 0 or less where none does.

    Parameters
    ----------
    size : int
        Of the map, along the axis.
    kernel, stride : int
        Of the windows.
    padding : int
        On either side of the map.
    """
    return (size + 2 * padding - kernel) // stride + 1


def output_size(layer: Windowed, shape: Shape) -> tuple[int, int]:
    """Rows and columns of windows over a map of `shape`; InputError where none fits."""
    height, width = (
        window_positions(size, kernel, stride, padding)
        for size, kernel, stride, padding in zip(
            shape[1:], layer.window, layer.stride, layer.padding, strict=True
        )
    )
    if height < 1 or width < 1:
        raise InputError(f"{layer.name}: a window of {layer.window} does not fit into {shape}")
    return height, width


class Pool(Windowed, Protocol):
    """A layer whose windows are whole."""

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Height and width of a window."""


def check_pool_window(layer: Pool) -> None:
    """Check a pool's window and put it into pairs of integers."""
    kernel = check_pair(f"{layer.name}: kernel size", layer.kernel_size, 1, MAX_KERNEL_SIZE)
    padding = check_pair(f"{layer.name}: padding", layer.padding, 0, MAX_KERNEL_SIZE // 2)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise InputError(
            f"{layer.name}: padding must be at most half the kernel {kernel}, not {padding}"
        )
    stride = check_pair(f"{layer.name}: stride", layer.stride, 1, MAX_STRIDE)
    for field, pair in (("kernel_size", kernel), ("stride", stride), ("padding", padding)):
        object.__setattr__(layer, field, pair)
