"""Layers without weights (section 6), one sample at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, assert_never

from asq_hw.network.layers import (
    Add,
    AveragePool,
    Concat,
    Flatten,
    GlobalAveragePool,
    Input,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Relu,
    Select,
)
from asq_hw.oracle.arithmetic import rshift, sat
from asq_hw.oracle.windows import MapShape, positions, window_starts

__all__ = ["Tensor", "each", "plain_shape", "run_input", "run_plain"]

T = TypeVar("T")

Tensor = list[list[list[int]]]
"""One sample's (C, H, W)."""

PlainLayer = (
    Add
    | Multiply
    | Concat
    | Pad
    | Select
    | Relu
    | Lookup
    | Flatten
    | MaxPool
    | AveragePool
    | GlobalAveragePool
)


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
    """What the layer makes of its sources; its integers have `bits` bits."""
    source = sources[0]
    match layer:
        case Add():
            return each(lambda a, b: sat(a + b, bits), *sources)
        case Relu():
            top = layer.maximum
            return each(lambda x: max(x, 0) if top is None else min(max(x, 0), top), source)
        case Multiply():
            return _product(layer, *sources)
        case Lookup():
            return _looked_up(layer, source)
        case Concat():
            return [plane for planes in sources for plane in planes]
        case Pad():
            return _padded(layer, source)
        case Select():
            return _selected(layer, source)
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
        case Multiply() | Lookup():
            return MapShape(channels, height, width, layer.output.bits)
        case Concat():
            return MapShape(sum(one.channels for one in read), height, width, bits)
        case Pad():
            return MapShape(
                layer.channels[0] + channels + layer.channels[1],
                layer.rows[0] + height + layer.rows[1],
                layer.columns[0] + width + layer.columns[1],
                bits,
            )
        case Select():
            return MapShape(len(layer.channels), *layer.size, bits)
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


def _product(layer: Multiply, first: Tensor, second: Tensor) -> Tensor:
    """Each element times the one at its place, or the only one along an axis."""
    bits = layer.output.bits
    return [
        [
            [
                sat(rshift(a * _at(_at(_at(second, c), y), x), layer.shift), bits)
                for x, a in enumerate(row)
            ]
            for y, row in enumerate(plane)
        ]
        for c, plane in enumerate(first)
    ]


def _at(values: list[T], place: int) -> T:
    return values[place if len(values) > 1 else 0]


def _looked_up(layer: Lookup, source: Tensor) -> Tensor:
    """Between the values on both sides of X, as far from each as X is."""
    tables = layer.values.tolist()
    distance, bits = 2**layer.shift, layer.output.bits
    smallest = -((len(tables[0]) - 1) * distance // 2)

    def between(table: list[int], x: int) -> int:
        segment, part = divmod(x - smallest, distance)
        weighted = table[segment] * (distance - part) + table[segment + 1] * part
        return sat(rshift(weighted, layer.shift), bits)

    return [
        [[between(_at(tables, c), x) for x in row] for row in plane]
        for c, plane in enumerate(source)
    ]


def _padded(layer: Pad, source: Tensor) -> Tensor:
    """The planes with zeros around them, and planes of zeros around those."""
    left, right = layer.columns
    above, below = layer.rows
    width = left + len(source[0][0]) + right
    height = above + len(source[0]) + below
    planes = [
        [
            *([0] * width for _ in range(above)),
            *([0] * left + row + [0] * right for row in plane),
            *([0] * width for _ in range(below)),
        ]
        for plane in source
    ]
    front, back = (
        [[[0] * width for _ in range(height)] for _ in range(count)] for count in layer.channels
    )
    return front + planes + back


def _selected(layer: Select, source: Tensor) -> Tensor:
    """The listed planes, of each the rows and columns that are met."""
    (top, left), (down, across), (height, width) = layer.first, layer.stride, layer.size
    return [
        [
            [source[channel][top + down * y][left + across * x] for x in range(width)]
            for y in range(height)
        ]
        for channel in layer.channels.tolist()
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
