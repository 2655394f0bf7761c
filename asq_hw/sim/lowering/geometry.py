"""Where the windows of a layer with weights stand; a linear layer is a convolution of one pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from asq_hw.network.layers import Conv, Linear

__all__ = ["Geometry", "geometry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Of a convolution; pairs are (vertical, horizontal)."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    dilation: tuple[int, int] = (1, 1)


def geometry(layer: Conv | Linear) -> Geometry:
    """A layer's windows."""
    match layer:
        case Conv():
            return Geometry(
                kernel_size=layer.kernel_size,
                stride=layer.stride,
                padding=layer.padding,
                groups=layer.groups,
                dilation=layer.dilation,
            )
        case Linear():
            return Geometry(kernel_size=(1, 1), stride=(1, 1), padding=(0, 0), groups=1)
        case _:
            assert_never(layer)
