"""Operators on maps of a QONNX graph, as layers or as what is computed behind one."""

from __future__ import annotations

from collections.abc import Callable

from asq_hw.interchange.reading.dropout import check_dropout
from asq_hw.interchange.reading.graph import Node
from asq_hw.interchange.reading.quantized.behind import affine, batch_norm
from asq_hw.interchange.reading.quantized.drafts import PlainDraft
from asq_hw.interchange.reading.quantized.inputs import Inputs, constant, only_map
from asq_hw.interchange.reading.quantized.moving import (
    clip,
    concat,
    flatten,
    pad,
    relu,
    reshape,
    select,
    squeeze,
)
from asq_hw.interchange.reading.quantized.network import WEIGHTED, Reading
from asq_hw.interchange.reading.quantized.pools import (
    average_pool,
    global_average_pool,
    max_pool,
    reduce_mean,
)
from asq_hw.interchange.reading.quantized.quant import QUANT_OPERATORS, quant_of
from asq_hw.interchange.reading.quantized.values import Fixed, Map
from asq_hw.interchange.reading.quantized.weights import weighted
from asq_hw.network.layers import (
    Add,
)

__all__ = ["OPERATORS"]

Operator = Callable[[Reading, Node, Inputs], Map]


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


def _add(reading: Reading, node: Node, inputs: Inputs) -> Map:
    maps = [one for one in inputs if isinstance(one, Map)]
    if len(maps) == 1:
        return affine(reading, node, inputs)
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


def _dropout(reading: Reading, node: Node, inputs: Inputs) -> Map:
    del reading
    training = inputs[2] if len(inputs) > 2 else None
    check_dropout(node, None if training is None else constant(node, inputs, 2, "its training"))
    return only_map(node, inputs)


def _passed(reading: Reading, node: Node, inputs: Inputs) -> Map:
    del reading
    return only_map(node, inputs)


def _last(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """What keeps the order of scores, which the only output is."""
    value = only_map(node, inputs)
    axis = 1 if node.operator == "Sigmoid" else node.integer("axis", 1)
    if reading.graph.outputs != (node.output,) or value.rank != 2 or axis not in (1, -1):
        raise node.refused(
            f"{node.operator} is left out behind scores that are the only output, and nowhere else"
        )
    return value


OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(QUANT_OPERATORS, _quant),
    **dict.fromkeys(WEIGHTED, weighted),
    "BatchNormalization": batch_norm,
    "Add": _add,
    **dict.fromkeys(("Sub", "Mul", "Div"), affine),
    "Relu": relu,
    "Clip": clip,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "ReduceMean": reduce_mean,
    "Concat": concat,
    "Pad": pad,
    "Slice": select,
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Identity": _passed,
    "Dropout": _dropout,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Sigmoid"), _last),
}
"""By operator."""
