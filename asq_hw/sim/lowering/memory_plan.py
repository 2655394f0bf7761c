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
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.sim.instruction_sets import LANES
from asq_hw.sim.lowering.code_map import SLACK, CodeMap
from asq_hw.sim.lowering.geometry import geometry
from asq_hw.sim.lowering.packing import PackedWeights
from asq_hw.sim.program import (
    PIXEL_TILE,
    TRANSFORM_CHANNELS,
    WINOGRAD_PRODUCTS,
    ComputeType,
    Memory,
    Method,
)

__all__ = [
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
"""Pixels of a block of sums of bytes: up to 16 KiB of sums."""
_FEW_CHANNELS, _BLOCK_TILES, _BLOCK_TILES_MANY = 128, 16, 56
"""Tiles of a block: few where weights are small, so that sums stay near the processor; more where
weights come from farther away and are to be used often."""
_LOOP_SUMS = 256
"""Sums of one loop over requantizations: enough to make the start of the loop cheap."""
_CODES: Mapping[ComputeType, tuple[str, npt.DTypeLike]] = {
    ComputeType.INT8: ("codes8", np.uint8),
    ComputeType.INT32: ("codes32", np.int32),
    ComputeType.INT64: ("codes64", np.int64),
}
"""Arrays of codes in `Memory`, and their types."""

_ALIGN = 64
"""Bytes of a cache line; maps start at multiples of as many values."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """Places by layer's name, and sizes of the arrays in `Memory`."""

    maps: Mapping[str, int]
    indices: Mapping[str, int]
    odd_indices: Mapping[str, int]
    """Of layers whose activations have odd codes."""
    accumulators: Mapping[str, int]
    codes: Mapping[str, CodeMap]
    map_count: int
    index_count: int
    accumulator_count: int
    channel_sums: Mapping[str, int]
    """By layer and by map: where sums of channels go that are made while requantizing."""
    channel_sum_count: int
    sum_counts: Mapping[ComputeType, int]
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
    """Place everything; without `keep`, maps that are no longer read give their place to others.

    Parameters
    ----------
    network : IntegerNetwork
        Layers and the shapes of their maps.
    packed : mapping of PackedWeights
        By layer.
    fused : mapping of Relu
        Layers that are computed together with the one that they are named by here.
    keep : bool
        Whether every map keeps its place to the end.
    """
    maps = network.feature_maps()
    weighted = [layer for layer in network.layers if isinstance(layer, Conv | Linear)]
    places, map_count = _place_maps(network, maps, fused, keep=keep)
    indices, odd_indices, accumulators = {}, {}, {}
    index_count, accumulator_count = 1, 1
    sums = dict.fromkeys(ComputeType, 0)
    for layer in weighted:
        source, made = maps[layer.source].size, maps[layer.name].size
        indices[layer.name] = first = index_count if keep else 0
        if packed[layer.name].odd_codes:
            odd_indices[layer.name] = first + source
            source *= 2
        accumulators[layer.name] = accumulator_count if keep else 0
        index_count = max(index_count, first + source)
        accumulator_count += made * packed[layer.name].parts if keep else 0
        kind = packed[layer.name].compute_type
        sums[kind] = max(sums[kind], sum_count(packed[layer.name]))
    channel_sums, channel_sum_count = _place_channel_sums(network, maps, packed, fused, keep=keep)
    return Layout(
        maps=places,
        indices=indices,
        odd_indices=odd_indices,
        accumulators=accumulators,
        codes=_place_codes(weighted, maps, packed),
        map_count=map_count,
        index_count=index_count,
        accumulator_count=accumulator_count,
        channel_sums=channel_sums,
        channel_sum_count=channel_sum_count,
        sum_counts=sums,
        multiplier_count=max(
            (layer.out_channels * pixels_at_once(packed[layer.name], layer) for layer in weighted),
            default=1,
        ),
        vector_size=max(_vector_lengths(network, maps)) + LANES,
        transformed_count=max(map(_transformed_count, packed.values()), default=0),
        narrow=all(feature.format.bits <= 16 for feature in maps.values()),
    )


def block_pixels(packed: PackedWeights) -> int:
    """Pixels, or Winograd's tiles, whose sums are computed before they are requantized.

    They are a multiple of `PIXEL_TILE`. All columns are computed at once; of bytes two vectors, or
    two of each part.
    """
    if packed.compute_type is not ComputeType.INT8:
        return max(_BLOCK_SUMS // packed.columns // PIXEL_TILE, 1) * PIXEL_TILE
    if packed.method is not Method.WINOGRAD:
        return _BLOCK_PIXELS
    few = packed.weights.shape[4] <= _FEW_CHANNELS
    return _BLOCK_TILES if few else _BLOCK_TILES_MANY


def sum_count(packed: PackedWeights) -> int:
    """Sums of a block, and what else is computed beside them."""
    block = block_pixels(packed)
    if packed.compute_type is not ComputeType.INT8:
        return (block + 1) * packed.columns
    vectors = {Method.IMPLICIT_GEMM: 2, Method.DEPTHWISE: 4, Method.WINOGRAD: 8}[packed.method]
    return vectors * block * LANES


def transformed_row(packed: PackedWeights) -> int:
    """Bytes of one tile's channels in a plane of transformed codes: whole vectors of each plane."""
    planes, channels = len(packed.tables), int(packed.weights.shape[4])
    return planes * -(-channels // TRANSFORM_CHANNELS) * TRANSFORM_CHANNELS


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
    codes = {kind: made[name] for kind, (name, _) in _CODES.items()}
    for region in layout.codes.values():
        if any(region.padding) and region.values.any():
            padded = codes[region.compute_type][region.start : region.start + region.held]
            padded.reshape(region.values.size, -1)[:] = region.values[:, None]
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
        name: ((_code_count(layout, kind),), code_type)
        for kind, (name, code_type) in _CODES.items()
    }
    narrow_or_wide = np.int16 if layout.narrow else np.int32
    return {
        "maps": ((rows, layout.map_count + SLACK), narrow_or_wide),
        "indices": ((rows, layout.index_count), np.uint8),
        "accumulators": ((rows, layout.accumulator_count), np.int64),
        **codes,
        "sums32": ((max(counts[ComputeType.INT8], counts[ComputeType.INT32]),), np.int32),
        "sums64": ((counts[ComputeType.INT64],), np.int64),
        "transformed": ((WINOGRAD_PRODUCTS * layout.transformed_count,), np.uint8),
        "products": ((WINOGRAD_PRODUCTS * 2 * LANES * _BLOCK_TILES_MANY,), np.int32),
        "multipliers": ((layout.multiplier_count,), np.int64),
        "multipliers32": ((layout.multiplier_count + LANES,), np.int32),
        "channel_sums": ((layout.channel_sum_count,), np.int64),
        "vectors": ((2, layout.vector_size), np.int64),
        "halves": ((2, layout.vector_size), np.int32),
    }


def _transformed_count(packed: PackedWeights) -> int:
    """Bytes of one plane of transformed codes, for a block of tiles."""
    if packed.method is not Method.WINOGRAD:
        return 0
    return block_pixels(packed) * transformed_row(packed)


def _code_count(layout: Layout, kind: ComputeType) -> int:
    regions = (region for region in layout.codes.values() if region.compute_type is kind)
    return max((region.start + region.size for region in regions), default=0)


def _place_codes(
    weighted: list[Conv | Linear],
    maps: Mapping[str, FeatureMap],
    packed: Mapping[str, PackedWeights],
) -> dict[str, CodeMap]:
    """Maps of the same geometry share a place, since padding stays; so do all without any."""
    regions = [_code_map(layer, maps, packed[layer.name]) for layer in weighted]
    used = dict.fromkeys(ComputeType, 0)
    for region in regions:
        if not any(region.padding):
            used[region.compute_type] = max(used[region.compute_type], region.size)
    placed: dict[object, int] = {}
    codes = {}
    for layer, region in zip(weighted, regions, strict=True):
        if any(region.padding):
            start = placed.setdefault(region.geometry, used[region.compute_type])
            if start == used[region.compute_type]:
                used[region.compute_type] += region.size
            region = replace(region, start=start)
        codes[layer.name] = region
    return codes


def _code_map(
    layer: Conv | Linear, maps: Mapping[str, FeatureMap], packed: PackedWeights
) -> CodeMap:
    """The layer's padded map, not placed yet."""
    channels, height, width = maps[layer.source].shape
    padding = geometry(layer).padding
    return CodeMap(
        compute_type=packed.compute_type,
        start=0,
        height=height + 2 * padding[0],
        width=width + 2 * padding[1],
        padding=padding,
        channels=channels,
        values=packed.padding,
    )


def _place_channel_sums(
    network: IntegerNetwork,
    maps: Mapping[str, FeatureMap],
    packed: Mapping[str, PackedWeights],
    fused: Mapping[str, Relu],
    *,
    keep: bool,
) -> tuple[dict[str, int], int]:
    """Places, in whole vectors, for the sums of all channels that an adapter will ask for.

    Only layers that compute in bytes sum them up, and not where a ReLU stays a step of its own,
    as all do with `keep`.
    """
    if keep:
        return {}, 0
    wanted = {
        layer.source
        for layer in network.layers
        if isinstance(layer, Conv | Linear)
        and isinstance(layer.quantizer.step, AdaptiveStep | LogLinearStep)
    }
    places: dict[str, int] = {}
    total = 0
    for name, weights in packed.items():
        made = fused[name].name if name in fused else name
        if weights.compute_type is ComputeType.INT8 and made in wanted:
            places[name] = places[made] = total
            total += (maps[name].shape[0] // LANES + 2) * LANES
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
    last_read = {output.layer: len(network.layers) for output in network.outputs}
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
