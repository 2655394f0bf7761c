"""A graph in floating point as a module of torch's."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from asq_hw.errors import InputError
from asq_hw.interchange.reading.floating.call import Call
from asq_hw.interchange.reading.floating.operators import OPERATORS
from asq_hw.interchange.reading.folding import folded
from asq_hw.interchange.reading.graph import MAX_ELEMENTS, Constant, Graph, Node

__all__ = ["to_module"]

_IMAGES = 2
"""In a batch that shapes are found with."""

_MOVED = frozenset({"Gather", "Concat", "Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that put sizes of maps in other places, and compute nothing of them."""


def to_module(graph: Graph) -> fx.GraphModule:
    """Make a module whose layers are called like the nodes.

    Raises
    ------
    InputError
        If a node has no counterpart, or does not fit what it is given; with its name.
    """
    unknown = [
        node
        for node in graph.nodes
        if node.operator not in OPERATORS and node.operator not in ("Constant", "Shape", "Gather")
    ]
    computed = _depending_on_images(graph)
    if refused := [node for node in unknown if node.output in computed]:
        kinds = {node.operator: node.name for node in reversed(refused)}
        named = ", ".join(f"{kind} ({name})" for kind, name in sorted(kinds.items()))
        raise InputError(f"operators without an integer form: {named}")
    return _Builder(graph).build()


def _depending_on_images(graph: Graph) -> set[str]:
    found = {graph.image}
    for node in graph.nodes:
        if found & set(node.inputs):
            found.update(node.outputs)
    return found


@dataclass(slots=True)
class _Builder:
    """What was made so far: constants, and tensors with the nodes of torch's graph."""

    source: Graph
    root: nn.Module = field(default_factory=nn.Module)
    made: fx.Graph = field(default_factory=fx.Graph)
    constants: dict[str, Constant] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: dict[str, fx.Node] = field(default_factory=dict)
    sizes: set[str] = field(default_factory=set)
    """Constants that hold the number of images, written as 0."""
    mode: FakeTensorMode = field(default_factory=lambda: FakeTensorMode(allow_non_fake_inputs=True))
    """In which tensors have shapes, and no values."""

    def build(self) -> fx.GraphModule:
        self.constants |= self.source.constants
        self.nodes[self.source.image] = self.made.placeholder("images")
        with self.mode:
            self.tensors[self.source.image] = torch.empty(_IMAGES, *self.source.shape)
        with torch.random.fork_rng(devices=[]):  # new layers draw weights, before they get theirs
            for node in self.source.nodes:
                self._add(node)
        for name in self.source.outputs:
            if name not in self.nodes:
                raise InputError(f"the output {name!r} must not be a constant")
        found = {name: self.nodes[name] for name in self.source.outputs}
        self.made.output(found if len(found) > 1 else next(iter(found.values())))
        return fx.GraphModule(self.root, self.made, _class_name(self.source.name)).eval()

    def _add(self, node: Node) -> None:
        if node.operator == "Shape":
            self._add_shape(node)
            return
        inputs = [self._input(name) for name in node.inputs]
        if not any(isinstance(one, Tensor) for one in inputs):
            self._fold(node, inputs)
            return
        operator = OPERATORS.get(node.operator)
        if operator is None:
            raise node.refused(f"{node.operator} of maps has no integer form")
        if named := self.sizes & set(node.inputs):
            self._check_sizes(node, min(named))
        module = operator(Call(node=node, graph=self.source, inputs=inputs))
        node.check_all_read()
        tensors = [one for one in inputs if isinstance(one, Tensor)]
        self.tensors[node.output] = self._run(node, module.eval(), tensors)
        target = self._name(node)
        self.root.add_module(target, module)
        arguments = tuple(self.nodes[name] for name in node.inputs if name in self.nodes)
        self.nodes[node.output] = self.made.call_module(target, arguments)

    def _check_sizes(self, node: Node, name: str) -> None:
        """Make sure that a batch's size, written as 0, is what a map keeps where it is reshaped."""
        if node.operator != "Reshape":
            raise node.refused(f"{name!r}, the size of a batch, must not be computed with")
        if (self.constants[name].reshape(-1)[1:] == 0).any():
            raise node.refused(f"{name!r} must keep the images of a batch first")

    def _input(self, name: str) -> Constant | Tensor | None:
        if not name:
            return None
        if name in self.tensors:
            return self.tensors[name]
        if name not in self.constants:
            raise InputError(f"{name!r} is a further output of a node, which is not supported")
        return self.constants[name]

    def _add_shape(self, node: Node) -> None:
        """Sizes of a map; that of the batch is 0, which keeps it where a map is reshaped."""
        found = self._input(node.inputs[0])
        if isinstance(found, Tensor):
            sizes = [0, *found.shape[1:]]
            self.sizes.add(node.output)
        else:
            sizes = [] if found is None else list(found.shape)
        rank = len(sizes)
        start = slice(node.integer("start", 0), node.integer("end", rank))
        self.constants[node.output] = np.array(sizes[start], dtype=np.int64)

    def _fold(self, node: Node, inputs: Sequence[Constant | Tensor | None]) -> None:
        constants = [one for one in inputs if not isinstance(one, Tensor)]
        made = folded(node, constants, self.source)
        if made is None:
            raise node.refused(f"{node.operator} of constants is not computed")
        if self.sizes & set(node.inputs):
            if node.operator not in _MOVED:
                raise node.refused("the size of a batch must not be computed with")
            self.sizes.add(node.output)
        self.constants[node.output] = made

    def _run(self, node: Node, module: nn.Module, tensors: Sequence[Tensor]) -> Tensor:
        """What a module makes of tensors without values."""
        try:
            with self.mode, _quiet():
                made = module(*tensors)
        except InputError:
            raise
        except Exception as error:  # torch raises many kinds
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise node.refused(f"{node.operator} fails: {reason}") from None
        assert isinstance(made, Tensor)
        if made.dim() < 1 or made.shape[0] != _IMAGES or made.numel() == 0:
            raise node.refused("a map must not be empty, and have as many images as were given")
        if made.numel() > _IMAGES * MAX_ELEMENTS:
            raise node.refused(f"a map of {tuple(made.shape[1:])} is too large")
        return made

    def _name(self, node: Node) -> str:
        """A free name of a module, as like the node's as may be."""
        wanted = re.sub(r"\W+", "_", node.name, flags=re.ASCII).strip("_") or node.operator
        wanted = wanted if not wanted[0].isdigit() else f"{node.operator}_{wanted}"
        free, number = wanted, 0
        while hasattr(self.root, free):
            number += 1
            free = f"{wanted}_{number}"
        return free


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from printing what fails: it is told in one line."""
    logger = logging.getLogger(fake_tensor.__name__)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _class_name(name: str) -> str:
    return re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "network"
