"""Operators on constants alone: what they make is a constant, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper

from asq_hw.errors import InputError
from asq_hw.interchange.reading.graph import MAX_ELEMENTS, Constant, Graph, Node

__all__ = ["FOLDED", "axes_of", "folded"]


def folded(node: Node, inputs: Sequence[Constant | None], graph: Graph) -> Constant | None:
    """What a node makes of constants; None where its operator is none that is computed here.

    Raises
    ------
    InputError
        If it fails on them.
    """
    function = FOLDED.get(node.operator)
    if function is None:
        return None
    try:
        with np.errstate(all="ignore"):
            made = np.asarray(function(node, inputs, graph))
    except InputError:
        raise
    except (ValueError, IndexError, TypeError, KeyError, OverflowError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise node.refused(f"{node.operator} fails: {reason}") from None
    node.check_all_read()
    return made


def axes_of(node: Node, inputs: Sequence[Constant | None], graph: Graph, since: int) -> list[int]:
    """Axes: an attribute, or from opset `since` on an input.

    Parameters
    ----------
    node : Node
        Whose they are.
    inputs : sequence of array or None
        What it is given; None where that is no constant, or left out.
    graph : Graph
        Its opset says which.
    since : int
        The first opset in which they are the second input.
    """
    if graph.opset < since:
        return node.integers("axes", [])
    second = inputs[1] if len(inputs) > 1 else None
    return [] if second is None else [int(axis) for axis in second.reshape(-1)]


def _elementwise(function: Callable[..., Any]) -> Callable[..., Constant]:
    def compute(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
        del graph
        shape = np.broadcast_shapes(*(one.shape for one in inputs))
        _check_size(node, math.prod(shape))
        return np.asarray(function(*inputs)).astype(inputs[0].dtype)

    return compute


def _check_size(node: Node, size: int) -> None:
    if size > MAX_ELEMENTS:
        raise node.refused(f"it makes {size} numbers; at most {MAX_ELEMENTS} are taken")


def _constant(node: Node, inputs: Sequence[Constant], graph: Graph) -> Any:
    del inputs, graph
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if (value := node.get(key)) is not None:
            kind = np.float32 if "float" in key else np.int64
            return value if key == "value" else np.asarray(value, dtype=kind)
    raise node.refused("a constant must have a value")


def _cast(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    del graph
    return inputs[0].astype(helper.tensor_dtype_to_np_dtype(node.integer("to", 1)))


def _identity(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    del node, graph
    return inputs[0]


def _reshape(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    del graph
    target = [int(size) for size in inputs[1].reshape(-1)]
    own, is_literal = inputs[0].shape, bool(node.integer("allowzero", 0))
    return inputs[0].reshape(
        [own[i] if size == 0 and not is_literal else size for i, size in enumerate(target)]
    )


def _transpose(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    del graph
    order = node.integers("perm", list(range(inputs[0].ndim))[::-1])
    return np.transpose(inputs[0], order)


def _unsqueeze(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    return np.expand_dims(inputs[0], tuple(axes_of(node, inputs, graph, 13)))


def _squeeze(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    axes = tuple(axes_of(node, inputs, graph, 13))
    return np.squeeze(inputs[0], axes or None)


def _concat(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    del graph
    _check_size(node, sum(one.size for one in inputs))
    return np.concatenate(inputs, node.integer("axis", 0))


def _gather(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    del graph
    data, places = inputs
    axis = node.integer("axis", 0)
    _check_size(node, data.size // max(1, data.shape[axis]) * places.size)
    return np.take(data, places.astype(np.int64), axis)


def _constant_of_shape(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    del graph
    shape = [int(size) for size in inputs[0].reshape(-1)]
    _check_size(node, math.prod(shape))
    value = node.get("value", np.zeros(1, dtype=np.float32))
    return np.full(shape, value.reshape(-1)[0], dtype=value.dtype)


def _slice(node: Node, inputs: Sequence[Constant], graph: Graph) -> Constant:
    if graph.opset < 10:
        raise node.refused("a slice of a constant is read from opset 10 on")
    starts, ends, *rest = ([int(value) for value in one.reshape(-1)] for one in inputs[1:])
    axes = rest[0] if rest else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    parts = [slice(None)] * inputs[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # An end far below 0 is behind the first element, going down.
        stop = None if step < 0 and end < -inputs[0].shape[axis] else end
        parts[axis] = slice(start, stop, step)
    return inputs[0][tuple(parts)]


FOLDED: dict[str, Callable[..., Any]] = {
    "Constant": _constant,
    "Cast": _cast,
    "Identity": _identity,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Concat": _concat,
    "Gather": _gather,
    "ConstantOfShape": _constant_of_shape,
    "Slice": _slice,
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(lambda a, b: a / b if a.dtype.kind == "f" else np.fix(a / b)),
    "Neg": _elementwise(np.negative),
    "Abs": _elementwise(np.abs),
    "Sqrt": _elementwise(np.sqrt),
    "Pow": _elementwise(np.power),
    "Reciprocal": _elementwise(np.reciprocal),
    "Exp": _elementwise(np.exp),
    "Log": _elementwise(np.log),
}
"""By operator."""
