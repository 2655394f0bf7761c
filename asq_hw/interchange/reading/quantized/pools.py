"""Pooling of maps."""

from __future__ import annotations

import math
from collections.abc import Callable

from asq_hw.interchange.reading.folding import axes_of
from asq_hw.interchange.reading.graph import Node
from asq_hw.interchange.reading.quantized.drafts import PlainDraft
from asq_hw.interchange.reading.quantized.inputs import Inputs, only_map
from asq_hw.interchange.reading.quantized.moving import moved
from asq_hw.interchange.reading.quantized.network import Reading
from asq_hw.interchange.reading.quantized.values import Fixed, Map
from asq_hw.interchange.reading.windows import Window, window_of
from asq_hw.network.feature_map import Shape
from asq_hw.network.layers import (
    AveragePool,
    GlobalAveragePool,
    Layer,
    MaxPool,
)
from asq_hw.network.layers.windows import window_positions
from asq_hw.numbers.fixedpoint import quantize_multiplier
from asq_hw.numbers.widths import MAX_SHIFT, MULTIPLIER_BITS

__all__ = ["average_pool", "global_average_pool", "max_pool", "reduce_mean"]


def max_pool(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``MaxPool``: codes of the largest values are the largest codes."""
    value = only_map(node, inputs)
    window = window_of(node, value.shape, node.integers("kernel_shape", []))
    padding, shape = _pool_padding(node, value, window)
    return moved(
        reading,
        node,
        value,
        shape,
        lambda name, source: MaxPool(
            name=name,
            source=source,
            kernel_size=window.kernel,
            stride=window.stride,
            padding=padding,
        ),
    )


def _pool_padding(node: Node, value: Map, window: Window) -> tuple[tuple[int, int], Shape]:
    """The padding, the same on both sides, and the shape of what a pool makes."""
    if window.dilation != (1, 1):
        raise node.refused("a dilated pool has no integer form")
    if window.padding is None:
        raise node.refused("a pool must have the same padding on both sides")
    channels, *sizes = value.draft.shape
    places = [
        window_positions(size, kernel, stride, padding)
        for size, kernel, stride, padding in zip(
            sizes, window.kernel, window.stride, window.padding, strict=True
        )
    ]
    rest = [
        (size + 2 * padding - kernel) % stride
        for size, kernel, stride, padding in zip(
            sizes, window.kernel, window.stride, window.padding, strict=True
        )
    ]
    if node.integer("ceil_mode", 0) and any(rest):
        raise node.refused("ceil mode with windows over the edge has no integer form")
    if min(places) < 1:
        raise node.refused(f"a window of {window.kernel} does not fit into {value.draft.shape}")
    return window.padding, (channels, places[0], places[1])


def average_pool(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``AveragePool``, of values that codes stand for."""
    value = only_map(node, inputs)
    window = window_of(node, value.shape, node.integers("kernel_shape", []))
    padding, shape = _pool_padding(node, value, window)
    is_counted = node.integer("count_include_pad", 0)
    if any(padding) and not is_counted:
        raise node.refused("an average must count the padding, or have none")
    multiplier, shift = _mean(math.prod(window.kernel))
    return _averaged(
        reading,
        node,
        value,
        shape,
        lambda name, source: AveragePool(
            name=name,
            source=source,
            kernel_size=window.kernel,
            stride=window.stride,
            padding=padding,
            multiplier=multiplier,
            shift=shift,
        ),
    )


def global_average_pool(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``GlobalAveragePool``, of values that codes stand for."""
    value = only_map(node, inputs)
    if value.rank != 4:
        raise node.refused(f"{node.operator} must have images")
    channels, height, width = value.draft.shape
    multiplier, shift = _mean(height * width)
    return _averaged(
        reading,
        node,
        value,
        (channels, 1, 1),
        lambda name, source: GlobalAveragePool(
            name=name, source=source, multiplier=multiplier, shift=shift
        ),
    )


def _mean(count: int) -> tuple[int, int]:
    """``1 / count`` as a multiplier and a shift."""
    if count == 1:
        return 1, 0
    return quantize_multiplier(1 / count, MULTIPLIER_BITS, maximum_shift=MAX_SHIFT)


def _averaged(
    reading: Reading, node: Node, value: Map, shape: Shape, make: Callable[[str, str], Layer]
) -> Map:
    source = reading.plain(value, f"{node.inputs[0]}_codes")
    draft = PlainDraft(
        name=reading.free_name(node.name),
        sources=(source,),
        shape=shape,
        largest=source.bound,
        make=lambda name, sources, form: make(name, sources[0]),
    )
    return Map(draft=reading.keep(draft))


def reduce_mean(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``ReduceMean`` over height and width."""
    value = only_map(node, inputs)
    arrays = [one.values if isinstance(one, Fixed) else None for one in inputs]
    axes = sorted(axis % len(value.shape) for axis in axes_of(node, arrays, reading.graph, 18))
    if value.rank != 4 or axes != [2, 3]:
        raise node.refused("a mean must be taken over height and width")
    node.get("noop_with_empty_axes")  # there are axes
    made = global_average_pool(reading, node, inputs[:1])
    return Map(draft=made.draft, rank=4 if node.integer("keepdims", 1) else 2)
