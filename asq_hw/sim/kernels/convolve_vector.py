"""Convolution and linear layer in bytes: tiles of dot products, then requantization.

All three methods fill `sums` with vectors of 16 output channels, (vectors, pixels, 16), a block
of pixels and one or two vectors at a time, while they are near the processor. Kernels take
addresses: a tuple of arrays would make every call, and its compilation, many times as expensive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.instruction_sets import LANES, Form
from asq_hw.sim.kernels.depthwise_tiles import DepthwiseTile, depthwise_1, depthwise_2
from asq_hw.sim.kernels.dot_tiles import Tile, dot_1, dot_2, dot_halves
from asq_hw.sim.kernels.llvm import address
from asq_hw.sim.kernels.requantize_vector import (
    Sums,
    keep_sums,
    requantize_halves,
    requantize_one,
    requantize_one_split,
    requantize_pair,
    requantize_pair_split,
)
from asq_hw.sim.kernels.winograd import Codes, transform_codes, transform_sums
from asq_hw.sim.program import (
    PIXEL_TILE,
    TRANSFORM_CHANNELS,
    WINOGRAD_PRODUCTS,
    Memory,
    Method,
    Program,
    Requantization,
    Sample,
)
from asq_hw.sim.records import NOWHERE, ConvolutionRecord

__all__ = ["convolve_bytes"]

Maps = NDArray[np.signedinteger]


class Addresses(NamedTuple):
    """Addresses of what one layer reads and writes."""

    codes: int
    weights: int
    corrections: int
    corrections16: int
    quads: int
    windows: int
    outputs: int
    transformed: int
    products: int
    sums: int
    multipliers: int
    biases: int
    out: int
    channel_sums: int
    """0 where the sums of channels are not wanted."""
    accumulators: int
    """0 where the sums of products are not kept."""
    statistics: int


class Block(NamedTuple):
    """Sums of one or two vectors at some pixels."""

    first: int
    """Pixel, in the order of the sums."""
    pixels: int
    stride: int
    """Sums from one vector to the next."""


class Vector(NamedTuple):
    """Up to 16 output channels of a block, which are requantized together."""

    channel: int
    """The first."""
    channels: int
    """How many there are from it on."""
    start: int
    """Where its sums begin in the block."""
    odd: int
    """Sums from the even part to the odd one."""


@jit
def convolve_bytes(
    layer: ConvolutionRecord, program: Program, memory: Memory, sample: Sample, form: Form
) -> None:
    """Multiply, accumulate, requantize; the codes stand in ``codes8``.

    Parameters
    ----------
    layer : ConvolutionRecord
        The layer.
    program : Program
        Tables that the layer's record points into.
    memory : Memory
        The thread's arrays.
    sample : Sample
        Which sample of the batch, and where its results go.
    form : Portable, Avx2 or Vnni
        Which instructions the loops are compiled to; only its type matters.
    """
    maps, method = memory.maps[sample.row], layer.dot.method
    at = _addresses(layer, program, memory, sample)
    if method == Method.WINOGRAD:
        _convolve_winograd(layer, at, maps, form)
    elif method == Method.DEPTHWISE:
        _convolve_depthwise(layer, at, maps, form)
    elif method == Method.IMPLICIT_GEMM:
        for group in range(layer.dot.groups):
            _convolve_gemm(layer, at, group, maps, form)
    else:
        raise ValueError("no kernel for this method")


@jit
def _addresses(
    layer: ConvolutionRecord, program: Program, memory: Memory, sample: Sample
) -> Addresses:
    """Addresses for one sample; sums of channels are set to zero."""
    dot, requantization = layer.dot, layer.requantization
    maps, constants = memory.maps[sample.row], program.constants
    channel_sums, sums_at = 0, requantization.channel_sums_at
    if sums_at != NOWHERE:
        memory.channel_sums[sums_at:][: requantization.channels + LANES] = 0
        channel_sums = address(memory.channel_sums, sums_at)
    accumulators = 0
    if sample.keep:
        kept = memory.accumulators[sample.row]
        accumulators = address(kept, requantization.accumulators_at)
    return Addresses(
        codes=address(memory.codes8, layer.codes.start),
        weights=address(program.weights8, dot.weights_at),
        corrections=address(program.corrections, dot.corrections_at),
        corrections16=address(program.corrections16, dot.corrections_at),
        quads=address(constants, dot.quads_at),
        windows=address(constants, dot.windows_at),
        outputs=address(constants, dot.outputs_at),
        transformed=address(memory.transformed, 0),
        products=address(memory.products, 0),
        sums=address(memory.sums32, 0),
        multipliers=address(memory.multipliers32, 0),
        biases=address(program.biases, requantization.biases32_at),
        out=address(maps, requantization.destination),
        channel_sums=channel_sums,
        accumulators=accumulators,
        statistics=address(sample.statistics, 0),
    )


@jit
def _convolve_gemm(
    layer: ConvolutionRecord, at: Addresses, group: int, maps: Maps, form: Form
) -> None:
    """One group; the last tile may repeat the last pixel."""
    dot, method = layer.dot, layer.requantization.method
    quads, vectors = dot.quads, dot.columns // LANES
    panel = at.weights + group * vectors * quads * 4 * LANES
    corrections = at.corrections + 4 * group * vectors * LANES
    stride = dot.block * LANES
    for first in range(0, dot.pixels, dot.block):
        block = Block(first=first, pixels=min(dot.block, dot.pixels - first), stride=stride)
        for j in range(0, vectors, 2):
            for i in range(0, block.pixels, PIXEL_TILE):
                tile = Tile(
                    codes=at.codes + group * dot.group_channels,
                    windows=at.windows + 8 * (first + i),
                    quads=at.quads,
                    quad_count=quads,
                    weights=panel + j * quads * 4 * LANES,
                    corrections=corrections + 4 * LANES * j,
                    sums=at.sums + 4 * LANES * i,
                    stride=stride,
                    run=dot.run,
                )
                if method == Requantization.HALVES:
                    dot_halves(form, tile)
                elif vectors - j > 1:
                    dot_2(form, tile)
                else:
                    dot_1(form, tile)
            _requantize_two(layer, at, block, group * dot.group_outputs, j, maps, form)


@jit
def _convolve_depthwise(layer: ConvolutionRecord, at: Addresses, maps: Maps, form: Form) -> None:
    """A depthwise layer, 32 channels after the other: two vectors of each part."""
    dot = layer.dot
    taps, parts = dot.quads, dot.parts
    stride, wide = dot.block * LANES, 2 * LANES
    for first in range(0, dot.pixels, dot.block):
        block = Block(first=first, pixels=min(dot.block, dot.pixels - first), stride=stride)
        for j in range(dot.columns // (wide * parts)):
            for i in range(0, block.pixels, PIXEL_TILE):
                tile = DepthwiseTile(
                    codes=at.codes + j * wide,
                    windows=at.windows + 8 * (first + i),
                    taps=at.quads,
                    tap_count=taps,
                    weights=at.weights + j * taps * parts * wide,
                    corrections=at.corrections16 + 2 * j * parts * wide,
                    sums=at.sums + 4 * LANES * i,
                    stride=stride,
                )
                if parts == 2:
                    depthwise_2(form, tile)
                else:
                    depthwise_1(form, tile)
            for half in range(2):
                channel = j * wide + half * LANES
                left = layer.requantization.channels - channel
                vector = Vector(channel=channel, channels=left, start=half * stride, odd=0)
                _requantize(layer, at, block, vector, maps, form)


@jit
def _convolve_winograd(layer: ConvolutionRecord, at: Addresses, maps: Maps, form: Form) -> None:
    """Blocks of tiles of 2 x 2 outputs: 16 matrix products of transformed codes and weights."""
    dot, row = layer.dot, layer.dot.winograd.row
    quads, most, tiles = dot.quads, dot.block, dot.winograd.tiles
    plane, product = most * row, most * LANES
    for first in range(0, tiles, most):
        count = min(most, tiles - first)
        block = Block(first=4 * first, pixels=4 * count, stride=4 * product)
        for i in range(count):
            _transform_tile(layer, at, first + i, at.transformed + i * row, form)
        for j in range(0, dot.columns // LANES, 2):
            for t in range(WINOGRAD_PRODUCTS):
                vector = WINOGRAD_PRODUCTS * j + 2 * t  # a pair of vectors for each product
                for i in range(0, count, PIXEL_TILE):
                    tile = Tile(
                        codes=at.transformed + t * plane + i * row,
                        windows=at.windows,
                        quads=at.quads,
                        quad_count=quads,
                        weights=at.weights + vector * quads * 4 * LANES,
                        corrections=at.corrections + 4 * vector * LANES,
                        sums=at.products + 4 * (t * product + LANES * i),
                        stride=WINOGRAD_PRODUCTS * product,
                        run=dot.run,
                    )
                    dot_2(form, tile)
            for v in range(2):
                source = at.products + 4 * v * WINOGRAD_PRODUCTS * product
                transform_sums(form, source, product, count, at.sums + 4 * v * block.stride)
            _requantize_two(layer, at, block, 0, j, maps, form)


@jit
def _transform_tile(
    layer: ConvolutionRecord, at: Addresses, tile: int, out: int, form: Form
) -> None:
    """Transform the 4 x 4 codes that a tile of outputs reads."""
    winograd, region = layer.dot.winograd, layer.codes
    y, x = 2 * (tile // winograd.tiles_across), 2 * (tile % winograd.tiles_across)
    row, part = region.width * layer.channels, winograd.row // region.planes
    for p in range(region.planes):
        codes = Codes(
            codes=at.codes + p * region.plane + y * row + x * layer.channels,
            row=row,
            pixel=layer.channels,
            chunks=part // TRANSFORM_CHANNELS,
            out=out + p * part,
            plane=layer.dot.block * winograd.row,
            offset=winograd.offset,
        )
        transform_codes(form, codes)


@jit
def _requantize_two(
    layer: ConvolutionRecord,
    at: Addresses,
    block: Block,
    channel: int,
    number: int,
    maps: Maps,
    form: Form,
) -> None:
    """Requantize two vectors: an even and an odd one, or two of different channels.

    `channel` is the first of the group's, `number` that of the first vector in the group.
    """
    outputs, parts = layer.dot.group_outputs, layer.dot.parts
    for v in range(3 - parts):
        skip = LANES * (number // 2 if parts == 2 else number + v)
        if skip < outputs:
            vector = Vector(
                channel=channel + skip,
                channels=outputs - skip,
                start=v * block.stride,
                odd=block.stride,
            )
            _requantize(layer, at, block, vector, maps, form)


@jit
def _requantize(
    layer: ConvolutionRecord, at: Addresses, block: Block, vector: Vector, maps: Maps, form: Form
) -> None:
    """Requantize a vector and, where they are wanted, keep its sums."""
    record, channel, channel_sums = layer.requantization, vector.channel, 0
    if at.channel_sums:
        channel_sums = at.channel_sums + 8 * channel
    sums = Sums(
        sums=at.sums + 4 * vector.start,
        odd=vector.odd,
        out=at.out + maps.itemsize * channel,
        outputs=at.outputs + 8 * block.first,
        pixels=block.pixels,
        channels=vector.channels,
        multipliers=at.multipliers + 4 * channel,
        biases=at.biases + 4 * channel,
        shift=record.shift + record.fraction_bits,
        split=record.split_bits,
        low=record.range.low,
        high=record.range.high,
        floor=record.range.floor,
        ceiling=record.range.ceiling,
        statistics=at.statistics,
        channel_sums=channel_sums,
    )
    pair = layer.dot.parts == 2
    if record.method == Requantization.HALVES:
        requantize_halves(form, maps, sums)
    elif record.method == Requantization.SPLIT:
        if pair:
            requantize_pair_split(form, maps, sums)
        else:
            requantize_one_split(form, maps, sums)
    elif record.method == Requantization.WIDE:
        if pair:
            requantize_pair(form, maps, sums)
        else:
            requantize_one(form, maps, sums)
    else:
        raise ValueError("no kernel for this requantization")
    if at.accumulators:
        plane = layer.dot.pixels * record.channels
        for part in range(layer.dot.parts):
            kept = at.accumulators + 8 * (part * plane + channel)
            keep_sums(record.method, part, form, sums, kept)
