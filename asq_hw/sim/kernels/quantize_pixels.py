"""Pixels, or other integers, to the first feature map (docs/arithmetic.md, section 6).

One sample at a time. Its integers come as bytes, one or two of each, the lower one first: so there
is one compiled function for all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.plain_records import InputRecord
from asq_hw.sim.program import Program

__all__ = ["quantize_pixels"]

_BYTE_VALUES = 1 << 8
_WIDE_VALUES = 1 << 16


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
    image : uint8 (C, H, W * bytes)
        The sample's integers.
    maps : array
        The sample's feature maps.
    """
    if layer.value_bytes == 1:
        return _quantize_bytes(layer, program, image, maps)
    return _quantize_pairs(layer, program, image, maps)


@jit
def _quantize_bytes(
    layer: InputRecord,
    program: Program,
    image: NDArray[np.uint8],
    maps: NDArray[np.signedinteger],
) -> int:
    """Integers of one byte, by a table for each channel."""
    channels, low, high, shift = layer.channels, layer.low, layer.high, layer.shift
    half = (np.int64(1) << shift) >> 1
    pixels = image.reshape(channels, layer.pixels)
    fitted = np.empty((channels, _BYTE_VALUES), dtype=np.int32)
    beyond = np.empty(_BYTE_VALUES, dtype=np.bool_)
    saturated = 0
    for c in range(channels):
        multiplier = program.constants[layer.multipliers_at + c]
        offset = program.constants[layer.offsets_at + c]
        any_beyond = False
        for byte in range(_BYTE_VALUES):
            pixel = byte - _BYTE_VALUES if layer.signed and byte >= _BYTE_VALUES // 2 else byte
            value = (pixel * multiplier + offset + half) >> shift
            fitted[c, byte] = min(max(value, low), high)
            beyond[byte] = fitted[c, byte] != value
            any_beyond |= beyond[byte]
        if any_beyond:
            for i in range(layer.pixels):
                saturated += beyond[pixels[c, i]]
    out = maps[layer.destination : layer.destination + channels * layer.pixels]
    for i in range(layer.pixels):
        for c in range(channels):
            out[i * channels + c] = fitted[c, pixels[c, i]]
    return saturated


@jit
def _quantize_pairs(
    layer: InputRecord,
    program: Program,
    image: NDArray[np.uint8],
    maps: NDArray[np.signedinteger],
) -> int:
    """Integers of two bytes, one by one."""
    channels, low, high, shift = layer.channels, layer.low, layer.high, layer.shift
    half = (np.int64(1) << shift) >> 1
    pairs = image.reshape(channels, layer.pixels, 2)
    out = maps[layer.destination : layer.destination + channels * layer.pixels]
    saturated = 0
    for c in range(channels):
        multiplier = program.constants[layer.multipliers_at + c]
        offset = program.constants[layer.offsets_at + c]
        for i in range(layer.pixels):
            number = np.int64(pairs[c, i, 0]) + (np.int64(pairs[c, i, 1]) << 8)
            if layer.signed and number >= _WIDE_VALUES // 2:
                number -= _WIDE_VALUES
            value = (number * multiplier + offset + half) >> shift
            fitted = min(max(value, low), high)
            out[i * channels + c] = fitted
            saturated += fitted != value
    return saturated
