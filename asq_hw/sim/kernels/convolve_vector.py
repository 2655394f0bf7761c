"""Convolution and linear layer in the lane of bytes: tiles of dot products, then requantization.

All three methods fill `sums` with vectors of 16 output channels, (vectors, pixels, 16), a block
of pixels and one or two vectors at a time, while they are near the processor. Kernels take
addresses: a tuple of arrays would make every call, and its compilation, many times as expensive.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.kernels.dot_tiles import dot_1, dot_2, dot_halves, taps_1, taps_2
from asq_hw.sim.kernels.requantize_vector import (
    finish_halves,
    finish_one,
    finish_one_split,
    finish_pair,
    finish_pair_split,
    keep_sums,
)
from asq_hw.sim.kernels.winograd import transform_codes, transform_sums
from asq_hw.sim.program import PIXEL_TILE, VECTOR, Finish, Form, Memory, Method, Program

__all__ = ["convolve_bytes"]

Maps = NDArray[np.signedinteger]
Statistics = NDArray[np.int64]
Record = Any
"""A row of one of the tables in `asq_hw.sim.program`."""


class Places(NamedTuple):
    """Addresses of what one layer reads and writes."""

    codes: int
    weights: int
    starts: int
    starts16: int
    quads: int
    pixels: int
    places: int
    transformed: int
    products: int
    sums: int
    multipliers: int
    biases: int
    out: int
    pools: int
    """0 where the sums of channels are not wanted."""
    accumulators: int
    """0 where the sums of products are not kept."""


@jit
def convolve_bytes(
    layer: Record,
    program: Program,
    memory: Memory,
    row: int,
    keep: bool,
    statistics: Statistics,
    form: Form,
) -> None:
    """Multiply, accumulate, requantize; the codes stand in ``codes8``."""
    maps, constants = memory.maps[row], program.constants.ctypes.data
    kept = memory.accumulators[row].ctypes.data + 8 * layer["accumulators"]
    pools = 0
    if layer["pools"] >= 0:
        memory.pooled[layer["pools"] :][: layer["out_channels"] + VECTOR] = 0
        pools = memory.pooled.ctypes.data + 8 * layer["pools"]
    at = Places(
        memory.codes8.ctypes.data + layer["codes"],
        program.weights8.ctypes.data + layer["weights"],
        program.starts.ctypes.data + 4 * layer["starts_at"],
        program.starts16.ctypes.data + 2 * layer["starts_at"],
        constants + 8 * layer["quads_at"],
        constants + 8 * layer["pixels_at"],
        constants + 8 * layer["places_at"],
        memory.transformed.ctypes.data,
        memory.products.ctypes.data,
        memory.sums32.ctypes.data,
        memory.multipliers32.ctypes.data,
        program.biases.ctypes.data + 4 * layer["biases_at"],
        maps.ctypes.data + maps.itemsize * layer["destination"],
        pools,
        kept if keep else 0,
    )
    if layer["method"] == Method.WINOGRAD:
        _convolve_winograd(layer, at, maps, statistics, form)
    elif layer["method"] == Method.TAPS:
        _convolve_taps(layer, at, maps, statistics, form)
    else:
        for group in range(layer["groups"]):
            _convolve_quads(layer, at, group, maps, statistics, form)


@jit
def _convolve_quads(
    layer: Record, at: Places, group: int, maps: Maps, statistics: Statistics, form: Form
) -> None:
    """One group; the last tile may repeat the last pixel."""
    quads, block, vectors = layer["quads"], layer["block"], layer["columns"] // VECTOR
    run = layer["run"]
    panel = at.weights + group * vectors * quads * 4 * VECTOR
    starts = at.starts + 4 * group * vectors * VECTOR
    codes = at.codes + group * layer["group_channels"]
    channel = group * layer["group_outputs"]
    stride = block * VECTOR
    for first in range(0, layer["pixels"], block):
        count = min(block, layer["pixels"] - first)
        for j in range(0, vectors, 2):
            weights, begin = panel + j * quads * 4 * VECTOR, starts + 4 * VECTOR * j
            for i in range(0, count, PIXEL_TILE):
                pixels, out = at.pixels + 8 * (first + i), at.sums + 4 * VECTOR * i
                if layer["finish"] == Finish.HALVES:
                    dot_halves(form, codes, pixels, at.quads, quads, weights, begin, out, stride,
                               run)  # fmt: skip
                elif vectors - j > 1:
                    dot_2(form, codes, pixels, at.quads, quads, weights, begin, out, stride, run)
                else:
                    dot_1(form, codes, pixels, at.quads, quads, weights, begin, out, stride, run)
            _finish_two(layer, at, channel, j, first, count, stride, maps, statistics, form)


@jit
def _convolve_taps(
    layer: Record, at: Places, maps: Maps, statistics: Statistics, form: Form
) -> None:
    """A depthwise layer, 32 channels after the other: two vectors of each part."""
    taps, block, parts = layer["quads"], layer["block"], 1 + layer["pair"]
    stride, wide = block * VECTOR, 2 * VECTOR
    for first in range(0, layer["pixels"], block):
        count = min(block, layer["pixels"] - first)
        for j in range(layer["columns"] // (wide * parts)):
            codes, weights = at.codes + j * wide, at.weights + j * taps * parts * wide
            begin = at.starts16 + 2 * j * parts * wide
            for i in range(0, count, PIXEL_TILE):
                pixels, out = at.pixels + 8 * (first + i), at.sums + 4 * VECTOR * i
                if parts == 2:
                    taps_2(form, codes, pixels, at.quads, taps, weights, begin, out, stride)
                else:
                    taps_1(form, codes, pixels, at.quads, taps, weights, begin, out, stride)
            for half in range(2):
                channel = j * wide + half * VECTOR
                _finish(layer, at, channel, layer["out_channels"] - channel, first, count,
                        half * stride, 0, maps, statistics, form)  # fmt: skip


@jit
def _convolve_winograd(
    layer: Record, at: Places, maps: Maps, statistics: Statistics, form: Form
) -> None:
    """Blocks of pieces of 2 x 2 outputs: 16 matrix products of transformed codes and weights."""
    quads, block, channels = layer["quads"], layer["block"], layer["transformed_row"]
    plane, product = block * channels, block * VECTOR
    for first in range(0, layer["tiles"], block):
        count = min(block, layer["tiles"] - first)
        for i in range(count):
            _transform_piece(layer, at, first + i, at.transformed + i * channels, form)
        for j in range(0, layer["columns"] // VECTOR, 2):
            for t in range(16):
                vector = 2 * (8 * j + t)  # 16 pairs of vectors for every pair of columns
                weights = at.weights + vector * quads * 4 * VECTOR
                begin = at.starts + 4 * vector * VECTOR
                for i in range(0, count, PIXEL_TILE):
                    codes = at.transformed + t * plane + i * channels
                    out = at.products + 4 * (t * product + VECTOR * i)
                    dot_2(form, codes, at.pixels, at.quads, quads, weights, begin, out,
                          16 * product, layer["run"])  # fmt: skip
            for v in range(2):
                source, out = at.products + 64 * v * product, at.sums + 16 * v * product
                transform_sums(form, source, product, count, out)
            _finish_two(layer, at, 0, j, 4 * first, 4 * count, 4 * product, maps, statistics, form)


@jit
def _transform_piece(layer: Record, at: Places, tile: int, out: int, form: Form) -> None:
    """Transform the 4 x 4 codes that a piece of outputs reads."""
    y, x = 2 * (tile // layer["tiles_across"]), 2 * (tile % layer["tiles_across"])
    pixel, channels = layer["channels"], layer["transformed_row"]
    row = layer["padded_width"] * pixel
    chunks, plane = channels // (2 * VECTOR), layer["block"] * channels
    transform_codes(
        form, at.codes, y * row + x * pixel, row, pixel, chunks, out, plane,
        layer["transform_offset"],
    )  # fmt: skip


@jit
def _finish_two(
    layer: Record,
    at: Places,
    channel: int,
    vector: int,
    first: int,
    count: int,
    stride: int,
    maps: Maps,
    statistics: Statistics,
    form: Form,
) -> None:
    """Requantize two vectors: an even and an odd one, or two of different channels."""
    outputs, pair = layer["group_outputs"], layer["pair"]
    for v in range(2 - pair):
        skip = VECTOR * (vector // 2 if pair else vector + v)
        if skip < outputs:
            _finish(layer, at, channel + skip, outputs - skip, first, count, v * stride, stride,
                    maps, statistics, form)  # fmt: skip


@jit
def _finish(
    layer: Record,
    at: Places,
    channel: int,
    channels: int,
    first: int,
    count: int,
    sums_at: int,
    odd: int,
    maps: Maps,
    statistics: Statistics,
    form: Form,
) -> None:
    """Requantize a vector of outputs from `channel` on, of which `channels` are left."""
    sums, places = at.sums + 4 * sums_at, at.places + 8 * first
    out = at.out + maps.itemsize * channel
    multipliers, biases = at.multipliers + 4 * channel, at.biases + 4 * channel
    shift, split = layer["shift"] + layer["fraction_bits"], layer["split_bits"]
    low, high, floor, ceiling = layer["low"], layer["high"], layer["floor"], layer["ceiling"]
    counts, pair = statistics.ctypes.data, layer["pair"]
    pools = at.pools + 8 * channel if at.pools else 0
    if layer["finish"] == Finish.HALVES:
        finish_halves(form, maps, sums, odd, out, places, count, channels, multipliers, biases,
                      shift, split, low, high, floor, ceiling, counts, pools)  # fmt: skip
    elif layer["finish"] == Finish.SPLIT:
        if pair:
            finish_pair_split(form, maps, sums, odd, out, places, count, channels, multipliers,
                              biases, shift, split, low, high, floor, ceiling, counts,
                              pools)  # fmt: skip
        else:
            finish_one_split(form, maps, sums, odd, out, places, count, channels, multipliers,
                             biases, shift, split, low, high, floor, ceiling, counts,
                             pools)  # fmt: skip
    elif pair:
        finish_pair(form, maps, sums, odd, out, places, count, channels, multipliers, biases,
                    shift, split, low, high, floor, ceiling, counts, pools)  # fmt: skip
    else:
        finish_one(form, maps, sums, odd, out, places, count, channels, multipliers, biases,
                   shift, split, low, high, floor, ceiling, counts, pools)  # fmt: skip
    if at.accumulators:
        for part in range(1 + pair):
            kept = at.accumulators + 8 * (part * layer["pixels"] * layer["out_channels"] + channel)
            if layer["finish"] == Finish.HALVES:
                keep_sums(form, sums, kept, places, count, channels, 16 * part, 16)
            else:
                keep_sums(form, sums + 4 * part * odd, kept, places, count, channels, 0, 32)
