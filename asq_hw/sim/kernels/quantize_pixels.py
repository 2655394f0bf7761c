"""Pixels to the first feature map (docs/arithmetic.md, section 6), one sample at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.plain_records import InputRecord
from asq_hw.sim.program import Program

__all__ = ["quantize_pixels"]

_PIXEL_VALUES = 1 << 8


@jit
def quantize_pixels(
    layer: InputRecord,
    program: Program,
    image: NDArray[np.uint8],
    maps: NDArray[np.signedinteger],
) -> int:
    """Fill in the first map; returns how many values were saturated.

    Parameters
    ----------
    layer : InputRecord
        The layer.
    program : Program
        Tables that the layer's record points into.
    image : uint8 (C, H, W)
        The sample's pixels.
    maps : array
        The sample's feature maps.
    """
    channels, low, high, shift = layer.channels, layer.low, layer.high, layer.shift
    half = (np.int64(1) << shift) >> 1
    pixels = image.reshape(channels, layer.pixels)
    fitted = np.empty((channels, _PIXEL_VALUES), dtype=np.int32)
    beyond = np.empty(_PIXEL_VALUES, dtype=np.bool_)
    saturated = 0
    for c in range(channels):
        multiplier = program.constants[layer.multipliers_at + c]
        offset = program.constants[layer.offsets_at + c]
        any_beyond = False
        for pixel in range(_PIXEL_VALUES):
            value = (pixel * multiplier + offset + half) >> shift
            fitted[c, pixel] = min(max(value, low), high)
            beyond[pixel] = fitted[c, pixel] != value
            any_beyond |= beyond[pixel]
        if any_beyond:
            for i in range(layer.pixels):
                saturated += beyond[pixels[c, i]]
    out = maps[layer.destination : layer.destination + channels * layer.pixels]
    for i in range(layer.pixels):
        for c in range(channels):
            out[i * channels + c] = fitted[c, pixels[c, i]]
    return saturated
