"""A graph of ONNX as plain data, checked: one input, nodes in order, known tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from asq_hw.errors import InputError
from asq_hw.interchange.reading.file import opset_of

__all__ = ["MAX_ELEMENTS", "Constant", "Graph", "Node", "graph_of"]

Constant = NDArray[Any]

MAX_ELEMENTS = 1 << 28
"""Most elements of a constant, and of one image's map."""

_WITHOUT_EFFECT = frozenset({"momentum", "ratio", "saturate", "seed", "storage_order"})
"""Attributes that change nothing of what a trained network's maps are."""

_MAX_NODES = 10_000
_MAX_NAME = 1000
_RANKS = (2, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node.

    Parameters
    ----------
    name : str
        Its own, or else its output's.
    operator : str
        Its type, behind its domain where that is not ONNX's own.
    inputs, outputs : tuple of str
        Tensors; an empty string where an optional one is left out.
    attributes : mapping of str
        Numbers, strings, lists of them, and arrays.
    defaults : mapping of str
        What ONNX says of attributes that a node leaves out, where it says something.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]

    def refused(self, reason: str) -> InputError:
        """The error that names the node."""
        return InputError(f"{self.name}: {reason}")

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute, whatever it is."""
        self._read.add(key)
        return self.attributes.get(key, default)

    def check_all_read(self) -> None:
        """Raise InputError if an attribute says something that nobody has asked for."""
        for key, value in self.attributes.items():
            if key in self._read or key in _WITHOUT_EFFECT or self.defaults.get(key) == value:
                continue
            raise self.refused(f"{self.operator} with {key} = {value!r} has no integer form")

    def integers(self, key: str, default: Sequence[int]) -> list[int]:
        """An attribute that is a list of integers."""
        found = self.get(key, list(default))
        if not isinstance(found, list) or not all(isinstance(value, int) for value in found):
            raise self.refused(f"{key} must be integers, not {found!r}")
        return found

    def integer(self, key: str, default: int) -> int:
        """An attribute that is an integer."""
        found = self.get(key, default)
        if not isinstance(found, int):
            raise self.refused(f"{key} must be an integer, not {found!r}")
        return found

    def number(self, key: str, default: float) -> float:
        """An attribute that is a number."""
        found = self.get(key, default)
        if not isinstance(found, int | float) or not math.isfinite(found):
            raise self.refused(f"{key} must be a number, not {found!r}")
        return float(found)

    def text(self, key: str, default: str) -> str:
        """An attribute that is a string."""
        found = self.get(key, default)
        if not isinstance(found, str):
            raise self.refused(f"{key} must be a string, not {found!r}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A network.

    Parameters
    ----------
    name : str
    image : str
        Its input.
    shape : tuple of int
        Channels, height and width of an image, or the channels of a vector.
    batch : int or None
        Number of images that it is written for; None where any number may come.
    outputs : tuple of str
        What it gives out.
    nodes : tuple of Node
        In the order of execution; those whose output nobody reads are left out.
    constants : mapping of str to array
    opset : int
        Version of ONNX's operators.
    """

    name: str
    image: str
    shape: tuple[int, ...]
    batch: int | None
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    opset: int


def graph_of(model: onnx.ModelProto) -> Graph:
    """Check a file's graph.

    Raises
    ------
    InputError
        If it has not one input of images or vectors, its size is not told, it has no output, a
        tensor is missing or made twice, or nodes form a circle.
    """
    graph = model.graph
    if len(graph.node) > _MAX_NODES:
        raise InputError(f"a network of {len(graph.node)} nodes; at most {_MAX_NODES} are read")
    _check_names(graph)
    constants: dict[str, Constant] = {}
    for tensor in graph.initializer:
        if tensor.name in constants:
            raise InputError(f"the tensor {tensor.name!r} is there twice")
        constants[tensor.name] = _array(tensor)
    inputs = [one for one in graph.input if one.name not in constants]
    outputs = tuple(one.name for one in graph.output)
    if len(inputs) != 1 or not outputs or len(set(outputs)) != len(outputs):
        raise InputError(
            f"a network must have one input, and outputs of different names, not {len(inputs)} "
            f"and {len(outputs)}: {', '.join(outputs)[:200]}"
        )
    batch, shape = _image(inputs[0])
    nodes = [_node(one, opset_of(model)) for one in graph.node]
    _check_order(nodes, {inputs[0].name, *constants})
    used = _used(nodes, outputs)
    made = {name for node in used for name in node.outputs}
    if missing := [name for name in outputs if name not in made]:
        raise InputError(f"no node makes the output {missing[0]!r}")
    return Graph(
        name=graph.name,
        image=inputs[0].name,
        shape=shape,
        batch=batch,
        outputs=outputs,
        nodes=tuple(used),
        constants=constants,
        opset=opset_of(model),
    )


def _check_names(graph: onnx.GraphProto) -> None:
    """Refuse names that cannot be told in one line; what is no UTF-8 comes as bytes."""
    names = [graph.name]
    for group in (graph.input, graph.output, graph.initializer):
        names += [one.name for one in group]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    for name in names:
        if not isinstance(name, str) or len(name) > _MAX_NAME or not name.isprintable():
            raise InputError(
                f"a name must be at most {_MAX_NAME} printable characters, not {name[:40]!r}"
            )


def _array(tensor: onnx.TensorProto) -> Constant:
    """A tensor's values; its size is checked before memory is taken."""
    size = math.prod(tensor.dims)
    if min(tensor.dims, default=0) < 0 or size > MAX_ELEMENTS:
        raise InputError(f"the tensor {tensor.name!r} has an impossible shape {list(tensor.dims)}")
    if tensor.data_location == TensorProto.EXTERNAL:
        raise InputError(f"the tensor {tensor.name!r} is kept in another file")
    try:
        return np.asarray(numpy_helper.to_array(tensor)).reshape(tuple(tensor.dims))
    except (TypeError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"the tensor {tensor.name!r} is broken: {reason}") from None


def _image(info: onnx.ValueInfoProto) -> tuple[int | None, tuple[int, ...]]:
    kind = info.type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        raise InputError(f"the input {info.name!r} must be of the type float")
    sizes = [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim]
    if len(sizes) not in _RANKS:
        raise InputError(
            f"the input {info.name!r} must be images (N, C, H, W) or vectors (N, C), not {sizes}"
        )
    batch, *shape = sizes
    known = [size for size in shape if size is not None and size > 0]
    if len(known) != len(shape):
        raise InputError(
            f"the input {info.name!r} must have a fixed number of channels, height and width; "
            "export it without dynamic axes but the first"
        )
    if math.prod(known) > MAX_ELEMENTS:
        raise InputError(f"the input {info.name!r} of {known} is too large")
    return batch or None, tuple(known)


def _node(node: onnx.NodeProto, opset: int) -> Node:
    operator = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    name = node.name or next(iter(node.output), "") or operator
    if not node.output or not node.output[0]:
        raise InputError(f"{name}: a node must make something")
    attributes = {}
    for attribute in node.attribute:
        if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            raise InputError(f"{name}: {operator} decides what is computed, which is not supported")
        if attribute.type == onnx.AttributeProto.TENSOR:
            attributes[attribute.name] = _array(attribute.t)
        else:
            attributes[attribute.name] = _value(name, attribute)
    return Node(
        name=name,
        operator=operator,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
        defaults=_defaults(node, opset),
    )


def _defaults(node: onnx.NodeProto, opset: int) -> dict[str, Any]:
    """Of ONNX's own operators; what others have must be asked for."""
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset, ""):
        return {}
    declared = onnx.defs.get_schema(node.op_type, opset, "").attributes.values()
    return {
        one.name: _value(node.op_type, one.default_value)
        for one in declared
        if one.default_value.type != onnx.AttributeProto.UNDEFINED
    }


def _value(name: str, attribute: onnx.AttributeProto) -> Any:
    try:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode()
        return list(value) if not isinstance(value, int | float | str) else value
    except (ValueError, TypeError):
        raise InputError(f"{name}: the attribute {attribute.name!r} is broken") from None


def _check_order(nodes: Sequence[Node], known: set[str]) -> None:
    """Raise InputError unless every tensor is made once, before it is read."""
    made = {name for node in nodes for name in node.outputs}
    for node in nodes:
        for name in node.inputs:
            if name and name not in known:
                raise node.refused(
                    f"reads {name!r}, which is made behind it: nodes must be in order, and in no "
                    "circle"
                    if name in made
                    else f"reads {name!r}, which is missing: neither a node nor the file has it"
                )
        for name in node.outputs:
            if name and name in known:
                raise node.refused(f"makes {name!r}, which is there already")
            known.add(name)


def _used(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Node]:
    """The nodes that the outputs are made of."""
    wanted, found = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            wanted.update(node.inputs)
            found.append(node)
    return found[::-1]
