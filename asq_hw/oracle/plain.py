"""Layers without weights (section 6), one sample at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from asq_hw.network.layers import Add, AveragePool, Flatten, GlobalAveragePool, Input, MaxPool, Relu
from asq_hw.oracle.arithmetic import rshift, sat
from asq_hw.oracle.windows import MapShape, positions, window_starts

__all__ = ["Tensor", "each", "plain_shape", "run_input", "run_plain"]

Tensor = list[list[list[int]]]
"""One sample's (C, H, W)."""

PlainLayer = Add | Relu | Flatten | MaxPool | AveragePool | GlobalAveragePool


def run_input(layer: Input, image: Tensor) -> Tensor:
    """Pixels to the first feature map."""
    multipliers, offsets = layer.multiplier.tolist(), layer.offset.tolist()
    bits = layer.output.bits
    return [
        [
            [sat(rshift(pixel * multiplier + offset, layer.shift), bits) for pixel in row]
            for row in plane
        ]
        for plane, multiplier, offset in zip(image, multipliers, offsets, strict=True)
    ]


def run_plain(
    layer: PlainLayer,
    sources: tuple[Tensor, ...],
    bits: int,
) -> Tensor:
    """What the layer makes of its sources, whose integers have `bits` bits."""
    source = sources[0]
    match layer:
        case Add():
            return each(lambda a, b: sat(a + b, bits), *sources)
        case Relu():
            top = layer.maximum
            return each(lambda x: max(x, 0) if top is None else min(max(x, 0), top), source)
        case Flatten():
            return [[[value]] for plane in source for row in plane for value in row]
        case MaxPool():
            return _pool(layer, source, max)
        case AveragePool():
            return _pool(layer, source, lambda window: _mean(layer, window, bits))
        case GlobalAveragePool():
            return [[[_mean(layer, [v for row in plane for v in row], bits)]] for plane in source]
        case _:
            assert_never(layer)


def plain_shape(layer: PlainLayer, read: list[MapShape]) -> MapShape:
    """The shape of what the layer makes of maps that have the shapes `read`."""
    channels, height, width, bits = read[0]
    match layer:
        case Add() | Relu():
            return read[0]
        case Flatten():
            return MapShape(channels * height * width, 1, 1, bits)
        case MaxPool() | AveragePool():
            return MapShape(channels, *positions(layer, read[0]), bits)
        case GlobalAveragePool():
            return MapShape(channels, 1, 1, bits)
        case _:
            assert_never(layer)


def each(function: Callable[..., int], *sources: Tensor) -> Tensor:
    """`function` of the elements that stand at one place."""
    return [
        [
            [function(*values) for values in zip(*rows, strict=True)]
            for rows in zip(*planes, strict=True)
        ]
        for planes in zip(*sources, strict=True)
    ]


def _mean(layer: AveragePool | GlobalAveragePool, values: list[int], bits: int) -> int:
    return sat(rshift(layer.multiplier * sum(values), layer.shift), bits)


def _pool(
    layer: MaxPool | AveragePool, source: Tensor, function: Callable[[list[int]], int]
) -> Tensor:
    """`function` of what each window holds; the padding holds nothing."""
    height, width = len(source[0]), len(source[0][0])
    tops, lefts = window_starts(layer, height, axis=0), window_starts(layer, width, axis=1)
    rows, columns = layer.kernel_size
    return [
        [
            [
                function(
                    [
                        plane[y][x]
                        for y in range(max(top, 0), min(top + rows, height))
                        for x in range(max(left, 0), min(left + columns, width))
                    ]
                )
                for left in lefts
            ]
            for top in tops
        ]
        for plane in source
    ]
