"""Sums, ReLUs, and values that are moved (docs/arithmetic.md, section 6), one sample at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.instruction_sets import LANES, Form
from asq_hw.sim.kernels.elementwise_vector import VALUES, Addition, add_values
from asq_hw.sim.kernels.llvm import address
from asq_hw.sim.plain_records import AddRecord, FlattenRecord, PlaceRecord, ReluRecord, SelectRecord

__all__ = ["add", "flatten", "place", "relu", "select"]

Maps = NDArray[np.signedinteger]
Constants = NDArray[np.int64]


@jit
def add(layer: AddRecord, maps: Maps, form: Form) -> int:
    """The saturated and then clamped sum of two maps; returns how many were saturated."""
    size, ends = layer.values, layer.range
    low, high = np.int32(ends.low), np.int32(ends.high)
    floor, ceiling = np.int32(ends.floor), np.int32(ends.ceiling)
    first = maps[layer.source : layer.source + size]
    second = maps[layer.other : layer.other + size]
    out = maps[layer.destination : layer.destination + size]
    saturated, done = 0, 0
    if form.lanes == LANES and size >= VALUES:
        vectors = size // VALUES
        addition = Addition(
            first=address(maps, layer.source),
            second=address(maps, layer.other),
            out=address(maps, layer.destination),
            vectors=vectors,
            low=ends.low,
            high=ends.high,
            floor=ends.floor,
            ceiling=ends.ceiling,
        )
        saturated += add_values(form, maps, addition)
        done = vectors * VALUES
    for i in range(done, size):
        value = np.int32(np.int32(first[i]) + np.int32(second[i]))  # at most 25 bits
        fitted = min(max(value, low), high)
        saturated += fitted != value
        out[i] = min(max(fitted, floor), ceiling)
    return saturated


@jit
def relu(layer: ReluRecord, maps: Maps) -> None:
    """The map with every value brought into ``floor .. ceiling``."""
    low, high = np.int32(layer.floor), np.int32(layer.ceiling)
    source = maps[layer.source : layer.source + layer.values]
    out = maps[layer.destination : layer.destination + layer.values]
    for i in range(layer.values):
        out[i] = min(max(source[i], low), high)


@jit
def flatten(layer: FlattenRecord, maps: Maps) -> None:
    """Channels-last to channels-first: the contract counts ``(c, y, x)``."""
    channels, pixels = layer.channels, layer.pixels
    for i in range(pixels):
        for c in range(channels):
            maps[layer.destination + c * pixels + i] = maps[layer.source + i * channels + c]


@jit
def place(layer: PlaceRecord, maps: Maps) -> None:
    """A map copied into a larger one; both are channels-last."""
    pixel = layer.out_channels
    if layer.clears:
        size = layer.out_height * layer.out_width * pixel
        maps[layer.destination : layer.destination + size] = 0
    for y in range(layer.height):
        line = (layer.row + y) * layer.out_width + layer.column
        for x in range(layer.width):
            start = layer.source + (y * layer.width + x) * layer.channels
            end = layer.destination + (line + x) * pixel + layer.channel
            for c in range(layer.channels):
                maps[end + c] = maps[start + c]


@jit
def select(layer: SelectRecord, channels: Constants, maps: Maps) -> None:
    """Some values of a map, which become one of their own; both are channels-last.

    `channels` are the source's channel for each of the output's.
    """
    end = layer.destination
    for y in range(layer.height):
        line = (layer.row + y * layer.row_stride) * layer.source_width + layer.column
        for x in range(layer.width):
            start = layer.source + (line + x * layer.column_stride) * layer.source_channels
            for c in range(layer.channels):
                maps[end + c] = maps[start + channels[c]]
            end += layer.channels
