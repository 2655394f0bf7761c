"""Operators on maps of a QONNX graph, as layers or as what is computed behind one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from asq_hw.interchange.reading.folding import axes_of
from asq_hw.interchange.reading.graph import Constant, Node
from asq_hw.interchange.reading.quantized.drafts import InputDraft, PlainDraft, WeightedDraft
from asq_hw.interchange.reading.quantized.network import WEIGHTED, Reading
from asq_hw.interchange.reading.quantized.quant import QUANT_OPERATORS, quant_of
from asq_hw.interchange.reading.quantized.values import Fixed, Map
from asq_hw.interchange.reading.quantized.weights import weighted
from asq_hw.interchange.reading.windows import Window, window_of
from asq_hw.network.feature_map import FeatureFormat, Shape
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Concat,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Pad,
    Relu,
    Select,
)
from asq_hw.network.layers.windows import window_positions
from asq_hw.numbers.fixedpoint import quantize_multiplier
from asq_hw.numbers.widths import MAX_SHIFT, MULTIPLIER_BITS

__all__ = ["OPERATORS"]

Inputs = Sequence[Fixed | Map | None]
Operator = Callable[[Reading, Node, Inputs], Map]


def only_map(node: Node, inputs: Inputs) -> Map:
    """The first input, which must be a map, and the only one."""
    maps = [one for one in inputs if isinstance(one, Map)]
    if len(maps) != 1 or not isinstance(inputs[0], Map):
        raise node.refused(f"{node.operator} must have one map, as its first input")
    return maps[0]


def constant(node: Node, inputs: Inputs, place: int, what: str) -> Constant:
    """An input that must be a constant."""
    found = inputs[place] if place < len(inputs) else None
    if not isinstance(found, Fixed):
        raise node.refused(f"{what} must be a constant")
    return found.values


def _quant(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """What is read of a map in codes; a layer of its own only where codes are read in codes."""
    value = inputs[0]
    if not isinstance(value, Map):
        raise node.refused("the scale of a Quant node must be a constant")
    arrays = [one.values if isinstance(one, Fixed) else None for one in inputs[1:]]
    codes = quant_of(node, arrays).activation()
    if value.codes == codes:
        return value
    draft = reading.plain(value, f"{node.inputs[0]}_codes")
    return Map(draft=draft, codes=codes, rank=value.rank)


def _moved(
    reading: Reading, node: Node, value: Map, shape: Shape, make: Callable[[str, str], Layer]
) -> Map:
    """A layer that moves values, or chooses among them: codes of them stay what they are."""
    draft = PlainDraft(
        name=reading.free_name(node.name),
        sources=(value.draft,),
        shape=shape,
        largest=value.draft.bound,
        make=lambda name, sources, form: make(name, sources[0]),
    )
    return Map(draft=reading.keep(draft), codes=value.codes, rank=4)


def _relu(reading: Reading, node: Node, inputs: Inputs) -> Map:
    value = only_map(node, inputs)
    made = _moved(
        reading, node, value, value.draft.shape, lambda name, source: Relu(name=name, source=source)
    )
    return Map(draft=made.draft, codes=made.codes, rank=value.rank)


def _clip(reading: Reading, node: Node, inputs: Inputs) -> Map:
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


def _max_pool(reading: Reading, node: Node, inputs: Inputs) -> Map:
    value = only_map(node, inputs)
    window = window_of(node, value.shape, node.integers("kernel_shape", []))
    padding, shape = _pool_padding(node, value, window)
    if window.dilation != (1, 1):
        raise node.refused("a dilated pool has no integer form")
    return _moved(
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


def _average_pool(reading: Reading, node: Node, inputs: Inputs) -> Map:
    value = only_map(node, inputs)
    window = window_of(node, value.shape, node.integers("kernel_shape", []))
    padding, shape = _pool_padding(node, value, window)
    if any(padding) and not node.integer("count_include_pad", 0):
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


def _global_average_pool(reading: Reading, node: Node, inputs: Inputs) -> Map:
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


def _reduce_mean(reading: Reading, node: Node, inputs: Inputs) -> Map:
    value = only_map(node, inputs)
    arrays = [one.values if isinstance(one, Fixed) else None for one in inputs]
    axes = sorted(axis % len(value.shape) for axis in axes_of(node, arrays, reading.graph, 18))
    if value.rank != 4 or axes != [2, 3]:
        raise node.refused("a mean must be taken over height and width")
    made = _global_average_pool(reading, node, inputs[:1])
    return Map(draft=made.draft, rank=4 if node.integer("keepdims", 1) else 2)


def _concat(reading: Reading, node: Node, inputs: Inputs) -> Map:
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


def _pad(reading: Reading, node: Node, inputs: Inputs) -> Map:
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
    return padded(reading, node, value, (pads[1], pads[5]), (pads[2], pads[6]), (pads[3], pads[7]))


def padded(
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
    return _moved(
        reading,
        node,
        value,
        shape,
        lambda name, source: Pad(
            name=name, source=source, channels=channels, rows=rows, columns=columns
        ),
    )


def _slice(reading: Reading, node: Node, inputs: Inputs) -> Map:
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
    own = value.shape
    chosen = [range(size) for size in own]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen[axis % 4] = range(*slice(start, end, step).indices(own[axis % 4]))
    if chosen[0] != range(1) or min(steps, default=1) < 1 or not all(map(len, chosen)):
        raise node.refused("a slice must keep the images, have steps from 1 on, and not be empty")
    _, channels, rows, columns = chosen
    return _moved(
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


def _flatten(reading: Reading, node: Node, inputs: Inputs) -> Map:
    value = only_map(node, inputs)
    if node.integer("axis", 1) != 1:
        raise node.refused("what lies in several images cannot be one vector")
    return _vector(reading, node, value)


def _vector(reading: Reading, node: Node, value: Map) -> Map:
    channels, height, width = value.draft.shape
    if height * width == 1:
        return Map(draft=value.draft, codes=value.codes, rank=2)
    made = _moved(
        reading,
        node,
        value,
        (channels * height * width, 1, 1),
        lambda name, source: Flatten(name=name, source=source),
    )
    return Map(draft=made.draft, codes=made.codes, rank=2)


def _reshape(reading: Reading, node: Node, inputs: Inputs) -> Map:
    value = only_map(node, inputs)
    target = [int(one) for one in constant(node, inputs, 1, "the shape").reshape(-1)]
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


def _squeeze(reading: Reading, node: Node, inputs: Inputs) -> Map:
    value = only_map(node, inputs)
    arrays = [one.values if isinstance(one, Fixed) else None for one in inputs]
    axes = sorted(axis % len(value.shape) for axis in axes_of(node, arrays, reading.graph, 13))
    if value.rank != 4 or axes not in ([], [2, 3]) or value.draft.shape[1:] != (1, 1):
        raise node.refused("height and width of 1 must be left out together")
    return Map(draft=value.draft, codes=value.codes, rank=2)


def _add(reading: Reading, node: Node, inputs: Inputs) -> Map:
    maps = [one for one in inputs if isinstance(one, Map)]
    if len(maps) == 1:
        return _affine(reading, node, inputs)
    first, second = (
        reading.plain(one, f"{name}_codes") for one, name in zip(maps, node.inputs, strict=True)
    )
    if first.shape != second.shape:
        raise node.refused(f"maps of {first.shape} and {second.shape} cannot be added")
    draft = PlainDraft(
        name=reading.free_name(node.name),
        sources=(first, second),
        shape=first.shape,
        largest=first.bound + second.bound,
        make=lambda name, names, form: Add(name=name, sources=(names[0], names[1])),
    )
    return Map(draft=reading.keep(draft), rank=maps[0].rank)


def _affine(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """A constant for each channel, added or multiplied: computed by the layer before."""
    maps = [one for one in inputs if isinstance(one, Map)]
    if len(maps) != 1 or len(inputs) != 2:
        raise node.refused(f"{node.operator} of two maps has no integer form here")
    (value,) = maps
    is_first = isinstance(inputs[1], Map)
    numbers = _by_channel(node, constant(node, inputs, 0 if is_first else 1, "an operand"), value)
    one, none = np.ones_like(numbers), np.zeros_like(numbers)
    match node.operator, is_first:
        case ("Add", _):
            factor, offset = one, numbers
        case ("Mul", _):
            factor, offset = numbers, none
        case ("Sub", False):
            factor, offset = one, -numbers
        case ("Sub", True):
            factor, offset = -one, numbers
        case ("Div", False) if numbers.all():
            factor, offset = 1 / numbers, none
        case _:
            raise node.refused("a number over a map has no integer form")
    return _scaled(reading, node, value, factor, offset)


def _by_channel(node: Node, numbers: Constant, value: Map) -> NDArray[np.float64]:
    """A constant as one number for each channel."""
    channels = value.draft.shape[0]
    shape = (1, channels, 1, 1) if value.rank == 4 else (1, channels)
    try:
        found = np.broadcast_to(numbers.astype(np.float64), shape).reshape(-1)
    except ValueError:
        raise node.refused(
            f"a constant of {numbers.shape} must be one number for each of {channels} channels"
        ) from None
    if not np.isfinite(found).all():
        raise node.refused("constants must be finite")
    return np.array(found)


def _batch_norm(reading: Reading, node: Node, inputs: Inputs) -> Map:
    value = only_map(node, inputs)
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (
        constant(node, inputs, place, name).astype(np.float64)
        for place, name in enumerate(names, start=1)
    )
    if {one.shape for one in (scale, bias, mean, variance)} != {(value.draft.shape[0],)}:
        raise node.refused(f"batch norm must have {value.draft.shape[0]} numbers of each kind")
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + node.number("epsilon", 1e-5))
    if not np.isfinite(factor).all():
        raise node.refused("batch norm must be finite")
    return _scaled(reading, node, value, factor, bias - mean * factor)


def _scaled(
    reading: Reading,
    node: Node,
    value: Map,
    factor: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> Map:
    """Let the layer before multiply and add."""
    draft = value.draft
    if value.codes is not None or not reading.is_alone(draft):
        raise node.refused(
            f"{node.operator} must follow a convolution or linear layer, and be alone in that"
        )
    if isinstance(draft, WeightedDraft):
        draft.factor, draft.offset = draft.factor * factor, draft.offset * factor + offset
    elif isinstance(draft, InputDraft) and (factor > 0).all():
        draft.mean, draft.std = draft.mean - offset * draft.std / factor, draft.std / factor
    else:
        raise node.refused(f"{node.operator} must follow a convolution or linear layer")
    return value


def _passed(reading: Reading, node: Node, inputs: Inputs) -> Map:
    del reading
    return only_map(node, inputs)


def _last(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """What keeps the order of scores."""
    value = only_map(node, inputs)
    if node.output != reading.graph.scores or value.rank != 2:
        raise node.refused(f"{node.operator} is left out behind the scores, and nowhere else")
    return value


OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(QUANT_OPERATORS, _quant),
    **dict.fromkeys(WEIGHTED, weighted),
    "BatchNormalization": _batch_norm,
    "Add": _add,
    **dict.fromkeys(("Sub", "Mul", "Div"), _affine),
    "Relu": _relu,
    "Clip": _clip,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "ReduceMean": _reduce_mean,
    "Concat": _concat,
    "Pad": _pad,
    "Slice": _slice,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Identity": _passed,
    "Dropout": _passed,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Sigmoid"), _last),
}
"""By operator."""
