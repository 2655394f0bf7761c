"""Records of the layers without weights."""

from __future__ import annotations

from typing import assert_never

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
from asq_hw.numbers.fixedpoint import integer_range
from asq_hw.sim.lowering.context import Context, relu_ends, summable_pixels
from asq_hw.sim.plain_records import (
    AddRecord,
    AveragePoolRecord,
    FlattenRecord,
    InputRecord,
    LookupRecord,
    MaxPoolRecord,
    PlaceRecord,
    ProductRecord,
    ReluRecord,
    SelectRecord,
    WindowRecord,
)

__all__ = [
    "add_record",
    "average_pool_record",
    "concat_records",
    "flatten_record",
    "input_record",
    "lookup_record",
    "max_pool_record",
    "pad_record",
    "product_record",
    "relu_record",
    "select_record",
]


def input_record(layer: Input, context: Context) -> InputRecord:
    """Pixels, or other integers, to the first feature map."""
    low, high = integer_range(layer.output.bits)
    return InputRecord(
        destination=context.layout.maps[layer.name],
        channels=layer.channels,
        pixels=layer.height * layer.width,
        value_bytes=layer.integers.dtype.itemsize,
        signed=int(layer.signed),
        multipliers_at=context.tables.add_constants(layer.multiplier),
        offsets_at=context.tables.add_constants(layer.offset),
        shift=layer.shift,
        low=low,
        high=high,
    )


def add_record(layer: Add, context: Context) -> AddRecord:
    """The sum of two maps."""
    first, second = layer.sources
    return AddRecord(
        source=context.layout.maps[first],
        other=context.layout.maps[second],
        destination=context.layout.maps[layer.name],
        values=context.maps[layer.name].size,
        range=context.output_range(layer.name),
    )


def product_record(layer: Multiply, context: Context) -> ProductRecord:
    """The product of two maps, of which the second may have sizes of 1."""
    first, second = layer.sources
    channels, height, width = context.maps[first].shape
    shape = context.maps[second].shape
    steps = (1, shape[2] * shape[0], shape[0])  # of a map that is channels-last
    channel, row, column = (
        0 if size == 1 else step for size, step in zip(shape, steps, strict=True)
    )
    low, high = integer_range(layer.output.bits)
    return ProductRecord(
        source=context.layout.maps[first],
        other=context.layout.maps[second],
        destination=context.layout.maps[layer.name],
        channels=channels,
        height=height,
        width=width,
        other_row=row,
        other_column=column,
        other_channel=channel,
        shift=layer.shift,
        low=low,
        high=high,
    )


def lookup_record(layer: Lookup, context: Context) -> LookupRecord:
    """A function of single values, one for all channels or one for each."""
    source = context.maps[layer.source]
    channels, height, width = source.shape
    tables, values = layer.values.shape
    low, high = integer_range(layer.output.bits)
    return LookupRecord(
        source=context.layout.maps[layer.source],
        destination=context.layout.maps[layer.name],
        channels=channels,
        pixels=height * width,
        values_at=context.tables.add_constants(layer.values),
        table=0 if tables == 1 else values,
        lowest=integer_range(source.format.bits)[0],
        shift=layer.shift,
        low=low,
        high=high,
    )


def concat_records(layer: Concat, context: Context) -> list[PlaceRecord]:
    """One source after the other, at the channels behind those before it."""
    channels = [context.maps[source].shape[0] for source in layer.sources]
    return [
        _place(source, layer.name, context, channel=sum(channels[:number]))
        for number, source in enumerate(layer.sources)
    ]


def pad_record(layer: Pad, context: Context) -> PlaceRecord:
    """A map inside of zeros."""
    return _place(
        layer.source,
        layer.name,
        context,
        channel=layer.channels[0],
        row=layer.rows[0],
        column=layer.columns[0],
        clears=True,
    )


def select_record(layer: Select, context: Context) -> SelectRecord:
    """Some channels, rows and columns."""
    channels, _, width = context.maps[layer.source].shape
    return SelectRecord(
        source=context.layout.maps[layer.source],
        destination=context.layout.maps[layer.name],
        source_channels=channels,
        source_width=width,
        channels_at=context.tables.add_constants(layer.channels),
        channels=len(layer.channels),
        height=layer.size[0],
        width=layer.size[1],
        row=layer.first[0],
        column=layer.first[1],
        row_stride=layer.stride[0],
        column_stride=layer.stride[1],
    )


def _place(
    source: str,
    name: str,
    context: Context,
    *,
    channel: int,
    row: int = 0,
    column: int = 0,
    clears: bool = False,
) -> PlaceRecord:
    channels, height, width = context.maps[source].shape
    out_channels, out_height, out_width = context.maps[name].shape
    return PlaceRecord(
        source=context.layout.maps[source],
        destination=context.layout.maps[name],
        channels=channels,
        height=height,
        width=width,
        out_channels=out_channels,
        out_height=out_height,
        out_width=out_width,
        channel=channel,
        row=row,
        column=column,
        clears=int(clears),
    )


def relu_record(layer: Relu, context: Context) -> ReluRecord:
    """A ReLU that is a step of its own."""
    floor, ceiling = relu_ends(layer, context.maps)
    return ReluRecord(
        source=context.layout.maps[layer.source],
        destination=context.layout.maps[layer.name],
        values=context.maps[layer.name].size,
        floor=floor,
        ceiling=ceiling,
    )


def flatten_record(layer: Flatten, context: Context) -> FlattenRecord:
    """Channels-last to channels-first."""
    channels, height, width = context.maps[layer.source].shape
    return FlattenRecord(
        source=context.layout.maps[layer.source],
        destination=context.layout.maps[layer.name],
        channels=channels,
        pixels=height * width,
    )


def max_pool_record(layer: MaxPool, context: Context) -> MaxPoolRecord:
    """Largest values of windows."""
    return MaxPoolRecord(
        source=context.layout.maps[layer.source],
        destination=context.layout.maps[layer.name],
        window=_window(layer, context),
        low=integer_range(context.maps[layer.name].format.bits)[0],
    )


def average_pool_record(
    layer: AveragePool | GlobalAveragePool, context: Context
) -> AveragePoolRecord:
    """Scaled sums of windows."""
    low, high = integer_range(context.maps[layer.name].format.bits)
    return AveragePoolRecord(
        source=context.layout.maps[layer.source],
        destination=context.layout.maps[layer.name],
        window=_window(layer, context),
        summable_pixels=summable_pixels(context.maps[layer.source]),
        multiplier=layer.multiplier,
        shift=layer.shift,
        low=low,
        high=high,
    )


def _window(layer: MaxPool | AveragePool | GlobalAveragePool, context: Context) -> WindowRecord:
    """A pooling layer's geometry; a global one has one window as large as the map."""
    channels, height, width = context.maps[layer.source].shape
    out_height, out_width = context.maps[layer.name].shape[1:]
    match layer:
        case GlobalAveragePool():
            kernel, stride, padding = (height, width), (1, 1), (0, 0)
        case MaxPool() | AveragePool():
            kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
        case _:
            assert_never(layer)
    return WindowRecord(
        channels=channels,
        height=height,
        width=width,
        out_height=out_height,
        out_width=out_width,
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride_y=stride[0],
        stride_x=stride[1],
        padding_y=padding[0],
        padding_x=padding[1],
    )
