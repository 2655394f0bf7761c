"""Where every feature map and every padded map of codes stands in a thread's memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from asq_hw.network.activation import AdaptiveStep
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear, Relu
from asq_hw.numbers.validation import IntArray
from asq_hw.sim.lowering.packing import PackedWeights
from asq_hw.sim.program import PIXEL_TILE, VECTOR, Lane, Memory, Method

__all__ = [
    "CodeMap",
    "Layout",
    "aligned",
    "allocate",
    "block_pixels",
    "memory_bytes",
    "pixels_at_once",
    "plan_memory",
    "transformed_row",
]

_BLOCK_SUMS = 8192
"""Sums of a block of pixels: 32 KiB in 32-bit lanes, so that they stay near the processor."""
_BLOCK_PIXELS = 64
"""Pixels of a block in the lane of bytes: up to 16 KiB of sums."""
_FEW_CHANNELS, _BLOCK_TILES, _BLOCK_TILES_MANY = 128, 16, 56
"""Pieces of a block: few where weights are small, so that sums stay near the processor; more where
weights come from farther away and are to be used often."""
_LOOP_SUMS = 256
"""Sums of one loop over requantizations: enough to make the start of the loop cheap."""
_CODE_TYPES = {Lane.INT8: np.uint8, Lane.INT32: np.int32, Lane.INT64: np.int64}
_CODE_NAMES = {Lane.INT8: "codes8", Lane.INT32: "codes32", Lane.INT64: "codes64"}

_ALIGN = 64
"""Bytes of a cache line; maps start at multiples of as many values."""
_SLACK = 64
"""Codes behind a padded map that a last quad may read, with weights of zero."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodeMap:
    """A padded map of codes, (height, width, planes, channels), in the memory of its lane."""

    lane: Lane
    start: int
    height: int
    width: int
    padding: tuple[int, int]
    channels: int
    values: IntArray
    """What the padding holds in each plane."""

    @property
    def pixel(self) -> int:
        """Codes of one pixel."""
        return self.values.size * self.channels

    @property
    def geometry(self) -> tuple[object, ...]:
        """Everything but the place."""
        shape = (self.height, self.width, self.channels)
        return (self.lane, *shape, self.padding, tuple(self.values.tolist()))

    @property
    def size(self) -> int:
        """Codes, what may be read behind them included: a piece may reach a row too far."""
        return self.held + (self.width + 1) * self.pixel + _SLACK

    @property
    def held(self) -> int:
        """Codes, padding included."""
        return self.height * self.width * self.pixel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Places by layer's name, and sizes of the arrays in `Memory`."""

    maps: Mapping[str, int]
    indices: Mapping[str, int]
    accumulators: Mapping[str, int]
    codes: Mapping[str, CodeMap]
    map_count: int
    index_count: int
    accumulator_count: int
    pooled: Mapping[str, int]
    """By layer and by map: where sums of channels go that are made while requantizing."""
    pooled_count: int
    sum_counts: Mapping[Lane, int]
    multiplier_count: int
    vector_size: int
    transformed_count: int
    narrow: bool
    """Whether feature maps fit 16 bits."""

    @property
    def kept_bytes(self) -> int:
        """Bytes of one sample's row in the arrays that keep intermediate tensors."""
        return (
            (2 if self.narrow else 4) * self.map_count
            + self.index_count
            + 8 * self.accumulator_count
        )


def plan_memory(
    network: IntegerNetwork,
    packed: Mapping[str, PackedWeights],
    fused: Mapping[str, Relu],
    *,
    keep: bool,
) -> Layout:
    """Place everything; without `keep`, maps that are no longer read give their place to others."""
    maps = network.feature_maps()
    weighted = [layer for layer in network.layers if isinstance(layer, Conv | Linear)]
    places, map_count = _place_maps(network, maps, fused, keep=keep)
    indices, accumulators, index_count, accumulator_count = {}, {}, 1, 1
    sums = dict.fromkeys(Lane, 0)
    for layer in weighted:
        source, made = maps[layer.source].size, maps[layer.name].size
        indices[layer.name] = index_count if keep else 0
        accumulators[layer.name] = accumulator_count if keep else 0
        index_count = index_count + source if keep else max(index_count, source)
        accumulator_count += made * packed[layer.name].parts if keep else 0
        lane = packed[layer.name].lane
        sums[lane] = max(sums[lane], sum_count(packed[layer.name]))
    pooled, pooled_count = ({}, 0) if keep else _place_pooled(network, maps, packed, fused)
    return Layout(
        maps=places,
        indices=indices,
        accumulators=accumulators,
        codes=_place_codes(weighted, maps, packed),
        map_count=map_count,
        index_count=index_count,
        accumulator_count=accumulator_count,
        pooled=pooled,
        pooled_count=pooled_count,
        sum_counts=sums,
        multiplier_count=max(
            (layer.out_channels * pixels_at_once(packed[layer.name], layer) for layer in weighted),
            default=1,
        ),
        vector_size=max(_vector_lengths(network, maps)) + VECTOR,
        transformed_count=max(map(_transformed_count, packed.values()), default=0),
        narrow=all(feature.format.bits <= 16 for feature in maps.values()),
    )


def block_pixels(packed: PackedWeights) -> int:
    """Pixels, or pieces, whose sums are computed before they are requantized, in whole tiles.

    All columns at once in the wide lanes; in that of bytes two vectors, or two of each part.
    """
    if packed.lane is not Lane.INT8:
        return max(_BLOCK_SUMS // packed.columns // PIXEL_TILE, 1) * PIXEL_TILE
    if packed.method is not Method.WINOGRAD:
        return _BLOCK_PIXELS
    few = packed.weights.shape[4] <= _FEW_CHANNELS
    return _BLOCK_TILES if few else _BLOCK_TILES_MANY


def sum_count(packed: PackedWeights) -> int:
    """Sums of a block, and what else is computed beside them."""
    block = block_pixels(packed)
    if packed.lane is not Lane.INT8:
        return (block + 1) * packed.columns
    vectors = {Method.QUADS: 2, Method.TAPS: 4, Method.WINOGRAD: 8}[packed.method]
    return vectors * block * VECTOR


def transformed_row(channels: int) -> int:
    """Bytes of one piece's channels in a plane of transformed codes: whole vectors."""
    return -(-channels // 32) * 32


def pixels_at_once(packed: PackedWeights, layer: Conv | Linear) -> int:
    """Pixels that are requantized in one loop, where their sums stand side by side."""
    if packed.columns // packed.parts != layer.out_channels:
        return 1
    return max(_LOOP_SUMS // layer.out_channels, 1)


def aligned(shape: int | tuple[int, ...], kind: npt.DTypeLike) -> NDArray[Any]:
    """An array of zeros that starts at a cache line: the kernels load whole lines."""
    size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(kind).itemsize
    memory = np.zeros(size + _ALIGN, dtype=np.uint8)
    start = -memory.ctypes.data % _ALIGN
    return memory[start : start + size].view(kind).reshape(shape)


def allocate(layout: Layout, rows: int) -> Memory:
    """One thread's memory; the padding in the maps of codes is filled in, for good."""
    made = {name: aligned(shape, kind) for name, (shape, kind) in _arrays(layout, rows).items()}
    codes = {lane: made[name] for lane, name in _CODE_NAMES.items()}
    for region in layout.codes.values():
        if any(region.padding) and region.values.any():
            padded = codes[region.lane][region.start : region.start + region.held]
            padded.reshape(-1, region.values.size, region.channels)[:] = region.values[:, None]
    return Memory(**made, stop=np.zeros(1, dtype=np.uint8))


def memory_bytes(layout: Layout, rows: int) -> int:
    """Bytes that `allocate` takes, for one thread."""
    return sum(
        math.prod(shape) * np.dtype(kind).itemsize for shape, kind in _arrays(layout, rows).values()
    )


def _arrays(layout: Layout, rows: int) -> dict[str, tuple[tuple[int, ...], npt.DTypeLike]]:
    """Shape and type of each array in `Memory`."""
    counts = layout.sum_counts
    codes = {
        name: ((_code_count(layout, lane),), _CODE_TYPES[lane])
        for lane, name in _CODE_NAMES.items()
    }
    narrow_or_wide = np.int16 if layout.narrow else np.int32
    return {
        "maps": ((rows, layout.map_count + _SLACK), narrow_or_wide),
        "indices": ((rows, layout.index_count), np.uint8),
        "accumulators": ((rows, layout.accumulator_count), np.int64),
        **codes,
        "sums32": ((max(counts[Lane.INT8], counts[Lane.INT32]),), np.int32),
        "sums64": ((counts[Lane.INT64],), np.int64),
        "transformed": ((16 * layout.transformed_count,), np.uint8),
        "products": ((16 * 2 * VECTOR * _BLOCK_TILES_MANY,), np.int32),
        "multipliers": ((layout.multiplier_count,), np.int64),
        "multipliers32": ((layout.multiplier_count + VECTOR,), np.int32),
        "pooled": ((layout.pooled_count,), np.int64),
        "vectors": ((2, layout.vector_size), np.int64),
        "halves": ((2, layout.vector_size), np.int32),
    }


def _transformed_count(packed: PackedWeights) -> int:
    """Bytes of one plane of transformed codes, for a block of pieces."""
    if packed.method is not Method.WINOGRAD:
        return 0
    return block_pixels(packed) * transformed_row(packed.weights.shape[4])


def _code_count(layout: Layout, lane: Lane) -> int:
    regions = (region for region in layout.codes.values() if region.lane is lane)
    return max((region.start + region.size for region in regions), default=0)


def _place_codes(
    weighted: list[Conv | Linear],
    maps: Mapping[str, FeatureMap],
    packed: Mapping[str, PackedWeights],
) -> dict[str, CodeMap]:
    """Maps of the same geometry share a place, since padding stays; so do all without any."""
    regions = [_code_map(layer, maps, packed[layer.name]) for layer in weighted]
    used = dict.fromkeys(Lane, 0)
    for region in regions:
        if not any(region.padding):
            used[region.lane] = max(used[region.lane], region.size)
    placed: dict[object, int] = {}
    codes = {}
    for layer, region in zip(weighted, regions, strict=True):
        if any(region.padding):
            start = placed.setdefault(region.geometry, used[region.lane])
            if start == used[region.lane]:
                used[region.lane] += region.size
            region = replace(region, start=start)
        codes[layer.name] = region
    return codes


def _code_map(
    layer: Conv | Linear, maps: Mapping[str, FeatureMap], packed: PackedWeights
) -> CodeMap:
    """The layer's padded map, not placed yet."""
    channels, height, width = maps[layer.source].shape
    padding = layer.padding if isinstance(layer, Conv) else (0, 0)
    return CodeMap(
        lane=packed.lane,
        start=0,
        height=height + 2 * padding[0],
        width=width + 2 * padding[1],
        padding=padding,
        channels=channels,
        values=packed.padding,
    )


def _place_pooled(
    network: IntegerNetwork,
    maps: Mapping[str, FeatureMap],
    packed: Mapping[str, PackedWeights],
    fused: Mapping[str, Relu],
) -> tuple[dict[str, int], int]:
    """Places, in whole vectors, for the sums of all channels that an adapter will ask for.

    Only layers in the lane of bytes sum them up, and not where a ReLU stays a step of its own.
    """
    wanted = {
        layer.source
        for layer in network.layers
        if isinstance(layer, Conv | Linear) and isinstance(layer.quantizer.step, AdaptiveStep)
    }
    places: dict[str, int] = {}
    total = 0
    for name, weights in packed.items():
        made = fused[name].name if name in fused else name
        if weights.lane is Lane.INT8 and made in wanted:
            places[name] = places[made] = total
            total += (maps[name].shape[0] // VECTOR + 2) * VECTOR
    return places, total


def _vector_lengths(network: IntegerNetwork, maps: Mapping[str, FeatureMap]) -> list[int]:
    """Lengths of everything that the scratch for adapters and pools must hold."""
    lengths = [feature.shape[0] * feature.shape[2] for feature in maps.values()]
    for layer in network.layers:
        if isinstance(layer, Conv | Linear) and isinstance(layer.quantizer.step, AdaptiveStep):
            lengths += [stage.weight.shape[0] for stage in layer.quantizer.step.stages]
    return lengths


def _place_maps(
    network: IntegerNetwork,
    maps: Mapping[str, FeatureMap],
    fused: Mapping[str, Relu],
    *,
    keep: bool,
) -> tuple[dict[str, int], int]:
    """First fit in the order of execution; a layer and the ReLU computed with it share a place."""
    absorbed = {relu.name for relu in fused.values()}
    last_read = {network.output.name: len(network.layers)}
    for number, layer in enumerate(network.layers):
        for source in layer.source_names:
            last_read[source] = max(number, last_read.get(source, 0))
    places: dict[str, int] = {}
    live: list[tuple[int, int, str]] = []
    total = 0
    for number, layer in enumerate(network.layers):
        if not keep:
            # What is read here for the last time outlives this step: kernels work not in place.
            live = [region for region in live if last_read.get(region[2], -1) >= number]
        if layer.name in absorbed:
            continue
        name = fused[layer.name].name if layer.name in fused else layer.name
        size = -(-maps[layer.name].size // _ALIGN) * _ALIGN
        start = 0
        for low, high, _ in sorted(live):
            if start + size <= low:
                break
            start = max(start, high)
        places[layer.name] = places[name] = start
        live.append((start, start + size, name))
        total = max(total, start + size)
    return places, total
