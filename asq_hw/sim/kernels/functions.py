"""Products of maps, and functions of single values (docs/arithmetic.md, section 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.plain_records import LookupRecord, ProductRecord
from asq_hw.sim.program import Program

__all__ = ["look_up", "multiply"]

Maps = NDArray[np.signedinteger]


@jit
def multiply(layer: ProductRecord, maps: Maps) -> int:
    """The scaled product of two maps; returns how many values were saturated."""
    channels, shift, step = layer.channels, layer.shift, layer.other_channel
    low, high = np.int64(layer.low), np.int64(layer.high)
    half = (np.int64(1) << shift) >> 1
    saturated = 0
    for y in range(layer.height):
        for x in range(layer.width):
            start = (y * layer.width + x) * channels
            source, out = layer.source + start, layer.destination + start
            other = layer.other + y * layer.other_row + x * layer.other_column
            for c in range(channels):
                product = np.int64(maps[source + c]) * np.int64(maps[other + c * step])
                value = (product + half) >> shift
                fitted = min(max(value, low), high)
                saturated += fitted != value
                maps[out + c] = fitted
    return saturated


@jit
def look_up(layer: LookupRecord, program: Program, maps: Maps) -> int:
    """Values between those of a table; returns how many were saturated.

    Parameters
    ----------
    layer : LookupRecord
        The layer.
    program : Program
        Constants that the layer's record points into.
    maps : array
        The sample's feature maps.
    """
    channels, shift, constants = layer.channels, layer.shift, program.constants
    low, high = np.int64(layer.low), np.int64(layer.high)
    distance = np.int64(1) << shift
    half = distance >> 1
    saturated = 0
    for i in range(layer.pixels):
        source, out = layer.source + i * channels, layer.destination + i * channels
        for c in range(channels):
            height = np.int64(maps[source + c]) - layer.lowest
            at = layer.values_at + c * layer.table + (height >> shift)
            part = height & (distance - 1)
            weighted = constants[at] * (distance - part) + constants[at + 1] * part
            value = (weighted + half) >> shift
            fitted = min(max(value, low), high)
            saturated += fitted != value
            maps[out + c] = fitted
    return saturated
