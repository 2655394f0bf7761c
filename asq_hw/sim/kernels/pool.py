"""Pooling (docs/arithmetic.md, section 6), and sums of channels, one sample at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.instruction_sets import LANES, Form
from asq_hw.sim.kernels.llvm import address
from asq_hw.sim.kernels.pool_vector import sum_channels
from asq_hw.sim.plain_records import AveragePoolRecord, MaxPoolRecord, WindowRecord

__all__ = ["average_pool", "max_pool", "sum_pixels", "sum_rows"]

_NEAR_VALUES = 8192
"""Values of a feature map that stay in a core's first cache."""
Maps = NDArray[np.signedinteger]
Sums = NDArray[np.int64]


@jit
def max_pool(layer: MaxPoolRecord, maps: Maps) -> None:
    """The largest value of every window; outside the map there is none."""
    window = layer.window
    channels, width = window.channels, window.width
    for y in range(window.out_height):
        top, bottom = _rows(window, y)
        for x in range(window.out_width):
            left, right = _columns(window, x)
            at = layer.destination + (y * window.out_width + x) * channels
            out = maps[at : at + channels]
            out[:] = layer.low
            for row in range(top, bottom):
                for column in range(left, right):
                    start = layer.source + (row * width + column) * channels
                    values = maps[start : start + channels]
                    for c in range(channels):
                        out[c] = max(out[c], values[c])


@jit
def average_pool(layer: AveragePoolRecord, maps: Maps, sums: Sums, form: Form) -> int:
    """Scaled sums of windows; returns how many were saturated.

    Parameters
    ----------
    layer : AveragePoolRecord
        The layer.
    maps : array
        The sample's feature maps.
    sums : int64 (C,)
        Scratch, in whole vectors.
    form : Portable, Avx2 or Vnni
        Which instructions the loops are compiled to; only its type matters.
    """
    window, shift, low, high = layer.window, layer.shift, layer.low, layer.high
    channels, most = window.channels, layer.summable_pixels
    half = (np.int64(1) << shift) >> 1
    saturated = 0
    for y in range(window.out_height):
        top, bottom = _rows(window, y)
        for x in range(window.out_width):
            left, right = _columns(window, x)
            sums[: channels + LANES] = 0
            for row in range(top, bottom):
                start = layer.source + (row * window.width + left) * channels
                if form.lanes == LANES:
                    sum_pixels(maps, start, channels, right - left, most, sums, form)
                else:
                    _add_pixels(maps, start, channels, right - left, sums)
            at = layer.destination + (y * window.out_width + x) * channels
            for c in range(channels):
                value = (sums[c] * layer.multiplier + half) >> shift
                fitted = min(max(value, low), high)
                saturated += fitted != value
                maps[at + c] = fitted
    return saturated


@jit
def sum_pixels(
    maps: Maps, start: int, channels: int, pixels: int, most: int, sums: Sums, form: Form
) -> None:
    """Add channels' sums over pixels that stand side by side, 16 channels at once.

    Pixels that fit the nearest cache are summed for all channels before the next are fetched.

    Parameters
    ----------
    maps : array
        The sample's feature maps.
    start : int
        Place of the first pixel's first channel.
    channels, pixels : int
        How many.
    most : int
        Pixels whose sums fit 32 bits.
    sums : int64 (channels,)
        What is added to, with room for whole vectors.
    form : Portable, Avx2 or Vnni
        Which instructions the loops are compiled to; only its type matters.
    """
    most = min(most, max(_NEAR_VALUES // channels, 1))
    for first in range(0, pixels, most):
        for c in range(0, channels, LANES):
            source, out = address(maps, start + first * channels + c), address(sums, c)
            sum_channels(form, maps, source, channels, min(most, pixels - first), out)


@jit
def _add_pixels(maps: Maps, start: int, channels: int, pixels: int, sums: Sums) -> None:
    """The same in plain loops."""
    for i in range(pixels):
        for c in range(channels):
            sums[c] += maps[start + i * channels + c]


@jit
def sum_rows(maps: Maps, start: int, channels: int, height: int, width: int, sums: Sums) -> None:
    """Sums of a whole map's channels. A row's come first, so that the loop is long.

    Parameters
    ----------
    maps : array
        The sample's feature maps.
    start : int
        Place of the map.
    channels, height, width : int
        Its shape.
    sums : int64 (width * channels,)
        The result is in its first `channels`.
    """
    row_size = width * channels
    row_sums = sums[:row_size]
    row_sums[:] = 0
    for y in range(height):
        values = maps[start + y * row_size : start + (y + 1) * row_size]
        for i in range(row_size):
            row_sums[i] += values[i]
    for x in range(1, width):
        for c in range(channels):
            sums[c] += row_sums[x * channels + c]


@jit
def _rows(window: WindowRecord, y: int) -> tuple[int, int]:
    """First row of a window, and the row after its last, inside the map."""
    start = y * window.stride_y - window.padding_y
    return max(start, 0), min(start + window.kernel_height, window.height)


@jit
def _columns(window: WindowRecord, x: int) -> tuple[int, int]:
    start = x * window.stride_x - window.padding_x
    return max(start, 0), min(start + window.kernel_width, window.width)
