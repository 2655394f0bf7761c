"""Layers without weights (docs/arithmetic.md, section 6), one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.kernels.quantize_vector import VALUES, add_values, sum_channels
from asq_hw.sim.program import VECTOR, Form, Program

__all__ = ["add", "average_pool", "flatten", "max_pool", "quantize_pixels", "relu"]

Maps = NDArray[np.signedinteger]
Record = Any
"""A row of one of the tables in `asq_hw.sim.program`."""
_PIXELS = 128
"""Values of 24 bits whose sum fits 32."""


@jit
def quantize_pixels(layer: Record, program: Program, image: NDArray[np.uint8], maps: Maps) -> int:
    """The first feature map; returns how many values were saturated. `image` is (C, H, W)."""
    channels, low, high, shift = layer["channels"], layer["low"], layer["high"], layer["shift"]
    half = (np.int64(1) << shift) >> 1
    pixels = image.reshape(channels, layer["pixels"])
    fitted, beyond = np.empty((channels, 256), dtype=np.int32), np.empty(256, dtype=np.bool_)
    saturated = 0
    for c in range(channels):
        multiplier = program.constants[layer["multiplier_at"] + c]
        offset = program.constants[layer["offset_at"] + c]
        any_beyond = False
        for pixel in range(256):
            value = (pixel * multiplier + offset + half) >> shift
            fitted[c, pixel] = min(max(value, low), high)
            beyond[pixel] = fitted[c, pixel] != value
            any_beyond |= beyond[pixel]
        if any_beyond:
            for i in range(layer["pixels"]):
                saturated += beyond[pixels[c, i]]
    out = maps[layer["destination"] : layer["destination"] + channels * layer["pixels"]]
    for i in range(layer["pixels"]):
        for c in range(channels):
            out[i * channels + c] = fitted[c, pixels[c, i]]
    return saturated


@jit
def add(layer: Record, maps: Maps, form: Form) -> int:
    """The saturated and then clamped sum of two maps; returns how many were saturated."""
    size = layer["channels"] * layer["pixels"]
    low, high = np.int32(layer["low"]), np.int32(layer["high"])
    floor, ceiling = np.int32(layer["floor"]), np.int32(layer["ceiling"])
    first = maps[layer["source"] : layer["source"] + size]
    second = maps[layer["other"] : layer["other"] + size]
    out = maps[layer["destination"] : layer["destination"] + size]
    saturated, done = 0, 0
    if form.lanes == VECTOR and size >= VALUES:
        count = size // VALUES
        saturated += add_values(
            form, maps, first.ctypes.data, second.ctypes.data, out.ctypes.data, count,
            layer["low"], layer["high"], layer["floor"], layer["ceiling"],
        )  # fmt: skip
        done = count * VALUES
    for i in range(done, size):
        value = np.int32(np.int32(first[i]) + np.int32(second[i]))  # at most 25 bits
        fitted = min(max(value, low), high)
        saturated += fitted != value
        out[i] = min(max(fitted, floor), ceiling)
    return saturated


@jit
def relu(layer: Record, maps: Maps) -> None:
    """The map with every value brought into ``floor .. ceiling``."""
    size = layer["channels"] * layer["pixels"]
    low, high = np.int32(layer["floor"]), np.int32(layer["ceiling"])
    source = maps[layer["source"] : layer["source"] + size]
    out = maps[layer["destination"] : layer["destination"] + size]
    for i in range(size):
        out[i] = min(max(source[i], low), high)


@jit
def flatten(layer: Record, maps: Maps) -> None:
    """Channels-last to channels-first: the contract counts ``(c, y, x)``."""
    channels, pixels = layer["channels"], layer["pixels"]
    for i in range(pixels):
        for c in range(channels):
            maps[layer["destination"] + c * pixels + i] = maps[layer["source"] + i * channels + c]


@jit
def max_pool(layer: Record, maps: Maps) -> None:
    """The largest value of every window; outside the map there is none."""
    channels, width = layer["channels"], layer["width"]
    for y in range(layer["out_height"]):
        top, bottom = _rows(layer, y)
        for x in range(layer["out_width"]):
            left, right = _columns(layer, x)
            at = layer["destination"] + (y * layer["out_width"] + x) * channels
            out = maps[at : at + channels]
            out[:] = layer["low"]
            for row in range(top, bottom):
                for column in range(left, right):
                    start = layer["source"] + (row * width + column) * channels
                    values = maps[start : start + channels]
                    for c in range(channels):
                        out[c] = max(out[c], values[c])


@jit
def average_pool(layer: Record, maps: Maps, sums: NDArray[np.int64], form: Form) -> int:
    """Scaled sums of windows; returns how many were saturated.

    `sums` is scratch, (C,) in whole vectors.
    """
    channels, width = layer["channels"], layer["width"]
    shift, low, high = layer["shift"], layer["low"], layer["high"]
    half = (np.int64(1) << shift) >> 1
    saturated = 0
    for y in range(layer["out_height"]):
        top, bottom = _rows(layer, y)
        for x in range(layer["out_width"]):
            left, right = _columns(layer, x)
            sums[: channels + VECTOR] = 0
            for row in range(top, bottom):
                start = layer["source"] + (row * width + left) * channels
                _sum_row(maps, start, channels, right - left, sums, form)
            at = layer["destination"] + (y * layer["out_width"] + x) * channels
            for c in range(channels):
                value = (sums[c] * layer["multiplier"] + half) >> shift
                fitted = min(max(value, low), high)
                saturated += fitted != value
                maps[at + c] = fitted
    return saturated


@jit
def _sum_row(
    maps: Maps, start: int, channels: int, pixels: int, sums: NDArray[np.int64], form: Form
) -> None:
    """Add a window's row to `sums`, 16 channels at once where there are vectors."""
    if form.lanes < VECTOR:
        for i in range(pixels):
            for c in range(channels):
                sums[c] += maps[start + i * channels + c]
        return
    for first in range(0, pixels, _PIXELS):
        for c in range(0, channels, VECTOR):
            source = maps.ctypes.data + maps.itemsize * (start + first * channels + c)
            count = min(_PIXELS, pixels - first)
            sum_channels(form, maps, source, channels, count, sums.ctypes.data + 8 * c)


@jit
def _rows(layer: Record, y: int) -> tuple[int, int]:
    """First row of a window, and the row after its last, inside the map."""
    start = y * layer["stride_y"] - layer["padding_y"]
    return max(start, 0), min(start + layer["kernel_height"], layer["height"])


@jit
def _columns(layer: Record, x: int) -> tuple[int, int]:
    start = x * layer["stride_x"] - layer["padding_x"]
    return max(start, 0), min(start + layer["kernel_width"], layer["width"])
