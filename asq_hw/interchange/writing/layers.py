"""Each kind of layer as nodes of a graph (docs/arithmetic.md, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asq_hw.errors import InputError
from asq_hw.interchange.writing.dialect import Dialect, Step, window_attributes
from asq_hw.interchange.writing.graph import GraphWriter
from asq_hw.interchange.writing.integers import add, multiply, rshift
from asq_hw.interchange.writing.known import check_known
from asq_hw.interchange.writing.steps import Quantizing, write_step
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    Linear,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Relu,
    Select,
)
from asq_hw.numbers.fixedpoint import (
    SQRT2_FRACTION_BITS,
    SQRT2_MULTIPLIER,
    shift_right_half_up,
)
from asq_hw.numbers.products import SPLIT_FRACTION_BITS

__all__ = ["LAYER_WRITERS", "Writing", "write_layer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """A network that is being written.

    Parameters
    ----------
    graph : GraphWriter
        The nodes so far.
    dialect : Dialect
        How.
    maps : mapping of str to FeatureMap
        Shape and format of each layer's output, which is called like the layer.
    pixels : str
        The graph's input, integers (N, C, H, W).
    steps : dict of str to Step
        Of the layers so far.
    """

    graph: GraphWriter
    dialect: Dialect
    maps: Mapping[str, FeatureMap]
    pixels: str
    steps: dict[str, Step] = field(default_factory=dict)

    def integers(self, name: str) -> str:
        """X of a layer's output, int64."""
        return self.dialect.integers(self.graph, name, self.maps[name].format)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWriter:
    """How a kind of layer is written.

    Parameters
    ----------
    write : callable
        Adds the nodes whose last output is called like the layer.
    fields : frozenset of str
        What it takes into account beside name and sources.
    """

    write: Callable[[Writing, Any], None]
    fields: frozenset[str] = frozenset()


def write_layer(writing: Writing, layer: Layer) -> None:
    """Add a layer's nodes.

    Raises
    ------
    InputError
        If it, or something of it, has no form in the dialect.
    """
    writer = LAYER_WRITERS.get(type(layer))
    if writer is None:
        raise InputError(
            f"{layer.name}: a layer of the kind {layer.kind} has no form in {writing.dialect.title}"
        )
    check_known(layer.name, layer, writer.fields | {"name", "source", "sources"})
    writing.graph.enter(layer.name)
    writer.write(writing, layer)


def _input(writing: Writing, layer: Input) -> None:
    graph = writing.graph
    values = graph.cast(writing.pixels, np.int64)
    scaled = multiply(graph, values, _by_channel(layer.multiplier))
    shifted = rshift(graph, add(graph, scaled, _by_channel(layer.offset)), layer.shift)
    writing.dialect.stored(graph, shifted, layer.output, layer.name)


def _weighted(writing: Writing, layer: Conv | Linear) -> None:
    graph, dialect = writing.graph, writing.dialect
    form = writing.maps[layer.source].format
    step = write_step(
        layer.name,
        Quantizing(
            graph=graph,
            quantizer=layer.quantizer,
            integers=lambda: writing.integers(layer.source),
            earlier=writing.steps,
        ),
    )
    writing.steps[layer.name] = step
    codes = dialect.codes(graph, layer.source, form, layer.quantizer, step)
    even, odd = layer.decoded_weights()
    total, fraction = dialect.dot(graph, layer, codes, even), 0
    if layer.weight_grid.uses_sqrt2:
        fraction = SPLIT_FRACTION_BITS
        total = _joined(graph, total, dialect.dot(graph, layer, codes, odd))
    multiplied = graph.op("Mul", total, _multipliers(graph, layer, step))
    shifted = rshift(graph, multiplied, layer.shift + fraction)
    biased = add(graph, shifted, _by_channel(layer.bias))
    dialect.stored(graph, biased, layer.output, layer.name)


def _joined(graph: GraphWriter, even: str, odd: str) -> str:
    """Even and odd sums as one integer, the product ``post-split``."""
    irrational = multiply(graph, odd, SQRT2_MULTIPLIER)
    rounded = rshift(graph, irrational, SQRT2_FRACTION_BITS - SPLIT_FRACTION_BITS)
    return graph.op("Add", multiply(graph, even, 1 << SPLIT_FRACTION_BITS), rounded)


def _multipliers(graph: GraphWriter, layer: Conv | Linear, step: Step) -> str:
    """``m``, one for each output channel, and for each sample where the step is."""
    if isinstance(step, int):
        products = [step * factor for factor in layer.multiplier.tolist()]
        narrowed = [shift_right_half_up(value, layer.narrow_shift) for value in products]
        return graph.constant(_by_channel(np.array(narrowed)))
    product = graph.op("Mul", step, graph.constant(_by_channel(layer.multiplier)))
    return rshift(graph, product, layer.narrow_shift)


def _by_channel(values: Any) -> Any:
    """A vector as (1, C, 1, 1)."""
    return np.asarray(values).reshape(1, -1, 1, 1)


def _add(writing: Writing, layer: Add) -> None:
    total = writing.graph.op("Add", *layer.sources)
    writing.dialect.saturated(writing.graph, total, writing.maps[layer.name].format, layer.name)


def _multiply(writing: Writing, layer: Multiply) -> None:
    graph = writing.graph
    product = graph.op("Mul", *(writing.integers(source) for source in layer.sources))
    writing.dialect.stored(graph, rshift(graph, product, layer.shift), layer.output, layer.name)


def _lookup(writing: Writing, layer: Lookup) -> None:
    graph, source = writing.graph, writing.maps[layer.source]
    place = add(graph, writing.integers(layer.source), 1 << (source.format.bits - 1))
    width = 1 << layer.shift
    rest = graph.op("BitwiseAnd", place, graph.constant(width - 1))
    segment = graph.op("Div", place, graph.constant(width))
    rows, columns = layer.values.shape
    if rows > 1:  # the tables of all channels behind one another
        segment = add(graph, segment, _by_channel(np.arange(rows) * columns))
    table = graph.constant(layer.values.reshape(-1))
    below = graph.op("Gather", table, segment)
    above = graph.op("Gather", table, add(graph, segment, 1))
    left = graph.op("Mul", below, graph.op("Sub", graph.constant(width), rest))
    total = graph.op("Add", left, graph.op("Mul", above, rest))
    writing.dialect.stored(graph, rshift(graph, total, layer.shift), layer.output, layer.name)


def _concat(writing: Writing, layer: Concat) -> None:
    writing.graph.op("Concat", *layer.sources, output=layer.name, axis=1)


def _pad(writing: Writing, layer: Pad) -> None:
    graph = writing.graph
    before, behind = zip((0, 0), layer.channels, layer.rows, layer.columns, strict=True)
    zero = writing.dialect.number(graph, 0, writing.maps[layer.name].format)
    pads = graph.constant([*before, *behind])
    graph.op("Pad", layer.source, pads, zero, output=layer.name, mode="constant")


def _relu(writing: Writing, layer: Relu) -> None:
    graph, form = writing.graph, writing.maps[layer.name].format
    low = writing.dialect.number(graph, 0, form)
    if layer.maximum is None:
        graph.op("Max", layer.source, low, output=layer.name)
        return
    high = writing.dialect.number(graph, layer.maximum, form)
    graph.op("Clip", layer.source, low, high, output=layer.name)


def _select(writing: Writing, layer: Select) -> None:
    graph = writing.graph
    ends = [
        first + stride * (size - 1) + 1
        for first, stride, size in zip(layer.first, layer.stride, layer.size, strict=True)
    ]
    bounds = (list(layer.first), ends, [2, 3], list(layer.stride))
    part = graph.op("Slice", layer.source, *map(graph.constant, bounds))
    graph.op("Gather", part, graph.constant(layer.channels), output=layer.name, axis=1)


def _flatten(writing: Writing, layer: Flatten) -> None:
    shape = writing.graph.constant([0, -1, 1, 1])
    writing.graph.op("Reshape", layer.source, shape, output=layer.name)


def _max_pool(writing: Writing, layer: MaxPool) -> None:
    attributes = window_attributes(layer)
    writing.dialect.max_pool(writing.graph, layer.source, layer.name, **attributes)


def _average_pool(writing: Writing, layer: AveragePool) -> None:
    graph, source = writing.graph, writing.maps[layer.source].shape
    total = writing.integers(layer.source)
    rows, columns = layer.padding
    if rows or columns:
        pads = graph.constant([0, 0, rows, columns, 0, 0, rows, columns])
        total = graph.op("Pad", total, pads, graph.constant(0), mode="constant")
    for axis, padding in ((2, rows), (3, columns)):
        size = source[axis - 1] + 2 * padding
        total = _window_sums(graph, layer, total, axis, size)
    _mean(writing, layer, total)


def _window_sums(graph: GraphWriter, layer: AveragePool, tensor: str, axis: int, size: int) -> str:
    """Sums over the windows' extent along one axis."""
    kernel, stride = layer.kernel_size[axis - 2], layer.stride[axis - 2]
    places = (size - kernel) // stride
    parts = []
    for first in range(kernel):
        bounds = (first, first + places * stride + 1, axis, stride)
        parts.append(graph.op("Slice", tensor, *(graph.constant([value]) for value in bounds)))
    total = parts[0]
    for part in parts[1:]:
        total = graph.op("Add", total, part)
    return total


def _global_average_pool(writing: Writing, layer: GlobalAveragePool) -> None:
    graph = writing.graph
    axes = graph.constant([2, 3])
    _mean(writing, layer, graph.op("ReduceSum", writing.integers(layer.source), axes, keepdims=1))


def _mean(writing: Writing, layer: AveragePool | GlobalAveragePool, total: str) -> None:
    graph = writing.graph
    shifted = rshift(graph, multiply(graph, total, layer.multiplier), layer.shift)
    writing.dialect.stored(graph, shifted, writing.maps[layer.name].format, layer.name)


_WEIGHTED = frozenset(
    {
        "quantizer",
        "weight_grid",
        "weight_codes",
        "multiplier",
        "narrow_shift",
        "shift",
        "bias",
        "output",
    }
)
_WINDOW = frozenset({"kernel_size", "stride", "padding"})
_MEAN = frozenset({"multiplier", "shift"})

LAYER_WRITERS: dict[type, LayerWriter] = {
    Input: LayerWriter(
        write=_input,
        fields=frozenset(
            {"height", "width", "multiplier", "offset", "shift", "output", "bits", "signed"}
        ),
    ),
    Conv: LayerWriter(
        write=_weighted, fields=_WEIGHTED | {"stride", "padding", "groups", "dilation"}
    ),
    Linear: LayerWriter(write=_weighted, fields=_WEIGHTED),
    Add: LayerWriter(write=_add),
    Multiply: LayerWriter(write=_multiply, fields=frozenset({"shift", "output"})),
    Lookup: LayerWriter(write=_lookup, fields=frozenset({"shift", "values", "output"})),
    Concat: LayerWriter(write=_concat),
    Pad: LayerWriter(write=_pad, fields=frozenset({"channels", "rows", "columns"})),
    Select: LayerWriter(write=_select, fields=frozenset({"channels", "first", "stride", "size"})),
    Relu: LayerWriter(write=_relu, fields=frozenset({"maximum"})),
    Flatten: LayerWriter(write=_flatten),
    MaxPool: LayerWriter(write=_max_pool, fields=_WINDOW),
    AveragePool: LayerWriter(write=_average_pool, fields=_WINDOW | _MEAN),
    GlobalAveragePool: LayerWriter(write=_global_average_pool, fields=_MEAN),
}
"""Every kind of layer that can be written."""
