"""Intermediate tensors of a batch, in the contract's order: channels first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.products import Product
from asq_hw.sim.lowering.memory_plan import Layout
from asq_hw.sim.lowering.planes import difference_range
from asq_hw.sim.program import Memory, Statistic

__all__ = ["TraceBatch", "read_batch", "tensor_shapes", "tensor_type"]

IntTensor = NDArray[np.integer]

_TYPES: dict[str, np.dtype[np.signedinteger]] = {
    "codes": np.dtype(np.int16),
    "sum": np.dtype(np.int64),
    "even": np.dtype(np.int64),
    "odd": np.dtype(np.int64),
}
"""Of tensors other than feature maps and steps, which are int32."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TraceBatch:
    """All tensors of the samples from `start` on, by the names that `tensor_shapes` gives."""

    start: int
    samples: int
    tensors: Mapping[str, IntTensor]


def tensor_shapes(network: IntegerNetwork, product: Product) -> dict[str, tuple[int, ...]]:
    """Names and shapes (without N) of all tensors, in the order they are computed in.

    A layer's feature map has the layer's name, (C, H, W). A convolution or linear layer has before
    it ``NAME-step`` (), ``NAME-codes`` (C, H, W) of its source, with ``post-dual`` and the
    square root of two ``NAME-odd-codes`` of the same, and its accumulators (O, H, W): ``NAME-even``
    and ``NAME-odd`` where they are two, else ``NAME-sum``. No layer's name has a hyphen, so nothing
    can collide.
    """
    maps = network.feature_maps()
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in network.layers:
        if isinstance(layer, Conv | Linear):
            shapes[f"{layer.name}-step"] = ()
            shapes[f"{layer.name}-codes"] = maps[layer.source].shape
            if product.uses_odd_codes(layer.weight_grid):
                shapes[f"{layer.name}-odd-codes"] = maps[layer.source].shape
            for part in _parts(layer, product):
                shapes[f"{layer.name}-{part}"] = maps[layer.name].shape
        shapes[layer.name] = maps[layer.name].shape
    return shapes


def tensor_type(name: str) -> np.dtype[np.signedinteger]:
    """Type that a tensor is stored in, by its name: the narrowest that holds all of its kind."""
    kind = name.rpartition("-")[2] if "-" in name else ""
    return _TYPES.get(kind, np.dtype(np.int32))


def read_batch(
    network: IntegerNetwork,
    product: Product,
    layout: Layout,
    memory: Memory,
    start: int,
    counts: NDArray[np.int64],
) -> TraceBatch:
    """Copy a batch's tensors out of the memory.

    Parameters
    ----------
    network : IntegerNetwork
        What was run.
    product : Product
        How weights with the square root of two were multiplied.
    layout : Layout
        Where tensors stand in the memory.
    memory : Memory
        The thread's arrays.
    start : int
        The batch's first sample.
    counts : int64 (N, layers, statistics)
        What the batch counted.
    """
    maps = network.feature_maps()
    samples = len(counts)
    tensors: dict[str, IntTensor] = {}

    def take(array: IntTensor, place: int, shape: tuple[int, int, int]) -> IntTensor:
        channels, height, width = shape
        values = array[:samples, place : place + channels * height * width]
        return values.reshape(samples, height, width, channels).transpose(0, 3, 1, 2)

    for number, layer in enumerate(network.layers):
        shape = maps[layer.name].shape
        if isinstance(layer, Conv | Linear):
            source, low = maps[layer.source].shape, layer.quantizer.grid.minimum
            indices = take(memory.indices, layout.indices[layer.name], source)
            tensors[f"{layer.name}-step"] = counts[:, number, Statistic.STEP_SIZE].astype(np.int32)
            tensors[f"{layer.name}-codes"] = codes = indices.astype(np.int16) + np.int16(low)
            if layer.name in layout.odd_indices:
                above = take(memory.indices, layout.odd_indices[layer.name], source)
                least = difference_range(layer.quantizer.grid)[0]
                odd = codes + above.astype(np.int16) + np.int16(least)
                tensors[f"{layer.name}-odd-codes"] = odd
            for index, part in enumerate(_parts(layer, product)):
                place = layout.accumulators[layer.name] + index * maps[layer.name].size
                tensors[f"{layer.name}-{part}"] = take(memory.accumulators, place, shape).copy()
        tensors[layer.name] = take(memory.maps, layout.maps[layer.name], shape).astype(np.int32)
    return TraceBatch(start=start, samples=samples, tensors=tensors)


def _parts(layer: Conv | Linear, product: Product) -> tuple[str, ...]:
    """Names of the layer's accumulators."""
    return ("even", "odd") if product.has_pair(layer.weight_grid) else ("sum",)
