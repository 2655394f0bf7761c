"""What moves values of a map, or chooses among them, and keeps them as they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from asq_hw.interchange.reading.folding import axes_of
from asq_hw.interchange.reading.graph import Node
from asq_hw.interchange.reading.quantized.drafts import PlainDraft
from asq_hw.interchange.reading.quantized.inputs import Inputs, constant, only_map
from asq_hw.interchange.reading.quantized.network import Reading
from asq_hw.interchange.reading.quantized.values import Fixed, Map
from asq_hw.network.feature_map import FeatureFormat, Shape
from asq_hw.network.layers import (
    Concat,
    Flatten,
    Layer,
    Pad,
    Relu,
    Select,
)

__all__ = ["clip", "concat", "flatten", "moved", "pad", "relu", "reshape", "select", "squeeze"]


def moved(
    reading: Reading, node: Node, value: Map, shape: Shape, make: Callable[[str, str], Layer]
) -> Map:
    """A layer that moves values, or chooses among them: codes of them stay what they are.

    Parameters
    ----------
    reading : Reading
        The network that is being read.
    node : Node
        What the layer is called like.
    value : Map
        What it reads.
    shape : (int, int, int)
        Of what it makes.
    make : callable
        Makes the layer of its name and its source's.
    """
    draft = PlainDraft(
        name=reading.free_name(node.name),
        sources=(value.draft,),
        shape=shape,
        largest=value.draft.bound,
        make=lambda name, sources, form: make(name, sources[0]),
    )
    return Map(draft=reading.keep(draft), codes=value.codes, rank=4)


def relu(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``Relu``: codes of what it makes are what it makes of codes."""
    value = only_map(node, inputs)
    made = moved(
        reading, node, value, value.draft.shape, lambda name, source: Relu(name=name, source=source)
    )
    return Map(draft=made.draft, codes=made.codes, rank=value.rank)


def clip(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """From 0 to a maximum, as ReLU6 is."""
    value = only_map(node, inputs)
    if reading.graph.opset < 11:
        bounds = [node.number("min", -math.inf), node.number("max", math.inf)]
    else:
        bounds = [
            float(constant(node, inputs, place, "a bound").reshape(-1)[0]) for place in (1, 2)
        ]
    low, high = bounds
    if low != 0 or not 0 < high < math.inf:
        raise node.refused(f"a map must be clipped from 0 to a maximum, not {low:g}..{high:g}")
    source = reading.plain(value, f"{node.inputs[0]}_codes")

    def make(name: str, sources: tuple[str, ...], form: FeatureFormat) -> Layer:
        maximum = max(1, round(high * 2.0**form.fraction_bits))
        return Relu(name=name, source=sources[0], maximum=maximum)

    draft = PlainDraft(
        name=reading.free_name(node.name),
        sources=(source,),
        shape=source.shape,
        largest=max(source.bound, high),
        make=make,
    )
    return Map(draft=reading.keep(draft), codes=None, rank=value.rank)


def concat(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``Concat`` of channels; codes stay where all maps have the same."""
    maps = [one for one in inputs if isinstance(one, Map)]
    if len(maps) != len(inputs) or node.integer("axis", 1) % len(maps[0].shape) != 1:
        raise node.refused("maps must be put behind one another by their channels")
    codes = maps[0].codes if len({one.codes for one in maps}) == 1 else None
    sources = tuple(
        one.draft if codes is not None else reading.plain(one, f"{name}_codes")
        for one, name in zip(maps, node.inputs, strict=True)
    )
    if len({source.shape[1:] for source in sources}) != 1:
        raise node.refused("maps that are put behind one another must have one size")
    draft = PlainDraft(
        name=reading.free_name(node.name),
        sources=sources,
        shape=(sum(source.shape[0] for source in sources), *sources[0].shape[1:]),
        largest=max(source.bound for source in sources),
        make=lambda name, names, form: Concat(name=name, sources=names),
    )
    return Map(draft=reading.keep(draft), codes=codes, rank=maps[0].rank)


def pad(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``Pad`` with zeros, which are codes of every scale."""
    value = only_map(node, inputs)
    if node.text("mode", "constant") != "constant" or value.rank != 4:
        raise node.refused("a map must be padded with zeros")
    if reading.graph.opset < 11:
        pads, filled = node.integers("pads", []), node.number("value", 0.0)
    else:
        pads = [int(one) for one in constant(node, inputs, 1, "pads").reshape(-1)]
        has_value = len(inputs) > 2 and inputs[2] is not None
        filled = float(constant(node, inputs, 2, "the value").reshape(-1)[0]) if has_value else 0.0
    if len(inputs) > 3 or len(pads) != 8 or pads[0] or pads[4] or min(pads) < 0 or filled:
        raise node.refused(f"a map must be padded with zeros, by 8 numbers from 0 on, not {pads}")
    return _padded(reading, node, value, (pads[1], pads[5]), (pads[2], pads[6]), (pads[3], pads[7]))


def _padded(
    reading: Reading,
    node: Node,
    value: Map,
    channels: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> Map:
    """A map inside of zeros."""
    if not any((*channels, *rows, *columns)):
        return value
    own = value.draft.shape
    shape = (own[0] + sum(channels), own[1] + sum(rows), own[2] + sum(columns))
    return moved(
        reading,
        node,
        value,
        shape,
        lambda name, source: Pad(
            name=name, source=source, channels=channels, rows=rows, columns=columns
        ),
    )


def select(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """Some channels, and every n-th row and column."""
    value = only_map(node, inputs)
    if reading.graph.opset < 10 or value.rank != 4:
        raise node.refused("a slice is read of images, from opset 10 on")
    given = [
        [int(one) for one in constant(node, inputs, place, "a slice").reshape(-1)]
        for place in range(1, len(inputs))
    ]
    starts, ends, *rest = given
    axes = rest[0] if rest else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    if len({axis % 4 for axis in axes}) < len(axes):
        raise node.refused(f"the axes {axes} must be named once each")
    own = value.shape
    chosen = [range(size) for size in own]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen[axis % 4] = range(*slice(start, end, step).indices(own[axis % 4]))
    if chosen[0] != range(1) or min(steps, default=1) < 1 or not all(map(len, chosen)):
        raise node.refused("a slice must keep the images, have steps from 1 on, and not be empty")
    _, channels, rows, columns = chosen
    return moved(
        reading,
        node,
        value,
        (len(channels), len(rows), len(columns)),
        lambda name, source: Select(
            name=name,
            source=source,
            channels=np.array(channels),
            first=(rows.start, columns.start),
            stride=(rows.step, columns.step),
            size=(len(rows), len(columns)),
        ),
    )


def flatten(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``Flatten``."""
    value = only_map(node, inputs)
    if node.integer("axis", 1) != 1:
        raise node.refused("what lies in several images cannot be one vector")
    return _vector(reading, node, value)


def _vector(reading: Reading, node: Node, value: Map) -> Map:
    channels, height, width = value.draft.shape
    if height * width == 1:
        return Map(draft=value.draft, codes=value.codes, rank=2)
    made = moved(
        reading,
        node,
        value,
        (channels * height * width, 1, 1),
        lambda name, source: Flatten(name=name, source=source),
    )
    return Map(draft=made.draft, codes=made.codes, rank=2)


def reshape(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``Reshape`` to a vector, or to what a map is."""
    value = only_map(node, inputs)
    target = [int(one) for one in constant(node, inputs, 1, "the shape").reshape(-1)]
    if node.integer("allowzero", 0) and 0 in target:
        raise node.refused("a map must not be empty")
    size, own = math.prod(value.shape), value.shape
    known = [own[i] if one == 0 and i < len(own) else one for i, one in enumerate(target)]
    # As many images as there are: one here.
    known[0] = 1 if known and known[0] in (-1, 1, reading.graph.batch) else 0
    if known.count(-1) == 1:
        known[known.index(-1)] = size // max(1, math.prod(one for one in known if one != -1))
    if len(known) == 2 and known[0] == 1 and known[1] == size:
        return _vector(reading, node, value)
    if len(known) == 4 and tuple(known) == (1, *value.draft.shape):
        return Map(draft=value.draft, codes=value.codes, rank=4)
    raise node.refused(f"a map of {own[1:]} cannot become {target}: a vector, or what it is")


def squeeze(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``Squeeze`` of height and width."""
    value = only_map(node, inputs)
    arrays = [one.values if isinstance(one, Fixed) else None for one in inputs]
    axes = sorted(axis % len(value.shape) for axis in axes_of(node, arrays, reading.graph, 13))
    if value.rank != 4 or axes not in ([], [2, 3]) or value.draft.shape[1:] != (1, 1):
        raise node.refused("height and width of 1 must be left out together")
    return Map(draft=value.draft, codes=value.codes, rank=2)
