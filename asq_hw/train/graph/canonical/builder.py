"""Putting a network of torch's own layers together, operator by operator."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.train.graph.canonical.call import Call, Rule
from asq_hw.train.graph.canonical.capture import Capture, first_result, makes_nothing
from asq_hw.train.graph.canonical.findings import Finding, FindingKind, Refusal
from asq_hw.train.graph.canonical.naming import add_layer, layer_names
from asq_hw.train.graph.canonical.values import (
    Shape,
    Value,
    operator_name,
)
from asq_hw.train.graph.results import mapped
from asq_hw.train.graph.selection import Selection

__all__ = ["Builder"]

_MAP = 3
"""Dimensions of a map, without the batch."""

_RESHAPED_RESULT = "return the map, and reshape what was computed"

Tail = Callable[[Tensor], Tensor]


@dataclass(slots=True)
class _Made:
    """A layer of the network that is being made."""

    module: nn.Module
    wanted: str
    node: fx.Node


@dataclass(slots=True)
class Builder:
    """The network that is being made of a captured one.

    Parameters
    ----------
    capture : Capture
    original : nn.Module
        The network, for what its graph does not tell.
    activations : callable
        Returns what a node of the captured graph is on the example.
    """

    capture: Capture
    original: nn.Module
    activations: Callable[[fx.Node], Tensor]
    graph: fx.Graph = field(default_factory=fx.Graph)
    values: dict[fx.Node, Value] = field(default_factory=dict)
    parts: dict[fx.Node, list[Value]] = field(default_factory=dict)
    constants: dict[fx.Node, Any] = field(default_factory=dict)
    made: list[_Made] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    lost: set[fx.Node] = field(default_factory=set)
    """Results that are no tensors of a sample each, and what is made of them."""
    tails: dict[fx.Node, Tail] = field(default_factory=dict)
    """What stood behind a result and was left out."""

    def build(self, rules: dict[str, Rule]) -> nn.Module | None:
        """The network, or None if something in it was refused."""
        self.constants.update(self.capture.constants)
        shape = self._shape(self.capture.image)
        if len(shape) not in (1, _MAP):
            raise InputError(f"a network must take images or vectors, not {len(shape)} dimensions")
        image = self.graph.placeholder("x")
        self.values[self.capture.image] = Value(node=image, base=shape, shape=shape)
        for node in self.capture.graph.nodes:
            if node.op == "call_function" and not makes_nothing(node):
                self._read(node, rules)
        results = self._results()
        if any(finding.kind is FindingKind.REFUSED for finding in self.findings):
            return None
        return self._finished(results)

    def _read(self, node: fx.Node, rules: dict[str, Rule]) -> None:
        if self.lost & set(node.all_input_nodes):
            self.lost.add(node)  # what stopped the network before it was told
            return
        call = Call(self, node)
        try:
            if all(source in self.constants for source in node.all_input_nodes):
                self.constants[node] = self._computed(node)
                if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                    remedy = "take it out in evaluation mode"
                    raise Refusal(f"{call.operator} draws at random", remedy)
            elif node.target is operator.getitem:
                self._take_part(node, call)
            else:
                self.values[node] = self._made_by(call, rules)
        except Refusal as refusal:
            blamed = call if refusal.node is None else Call(self, refusal.node)
            blamed.note(FindingKind.REFUSED, refusal.what, refusal.remedy)
            if node not in self.constants:
                self._pass_over(node)

    def _made_by(self, call: Call, rules: dict[str, Rule]) -> Value:
        if call.operator not in rules:
            raise Refusal(f"{call.operator} has no integer form")
        value = rules[call.operator](call)
        if (made := first_result(call.node).dtype) != torch.float32:
            name = str(made).removeprefix("torch.")
            raise Refusal(f"{call.operator} makes {name}", "keep to float32 throughout")
        return value

    def _take_part(self, node: fx.Node, call: Call) -> None:
        """Read one of an operator's results: parts of a map, or the first, which is its value."""
        source, number = node.args
        assert isinstance(source, fx.Node) and isinstance(number, int)
        if source in self.parts:
            self.values[node] = self.parts[source][number]
            return
        if number != 0:
            raise Refusal(f"result {number} of {operator_name(source)} is read")
        value = self.values[source]
        self.values[node] = value if len(node.users) == 1 else value.shared()

    def _computed(self, node: fx.Node) -> Any:
        """The result of a call that reads nothing but constants."""
        arguments = fx.map_arg((node.args, node.kwargs), lambda source: self.constants[source])
        args, kwargs = arguments
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def _pass_over(self, node: fx.Node) -> None:
        """Let something stand for a result that has no integer form: reading goes on behind it."""
        found = node.meta["val"]
        is_tensor = isinstance(found, Tensor | tuple | list)
        batch, *shape = (is_tensor and first_result(node).shape) or (0,)
        if batch != self.capture.image.meta["val"].shape[0]:
            self.lost.add(node)
            return
        made = self.graph.placeholder(f"unknown_{len(self.findings)}")
        self.values[node] = Value(node=made, base=tuple(shape), shape=tuple(shape))

    def _shape(self, node: fx.Node) -> Shape:
        return tuple(node.meta["val"].shape[1:])

    def emit(self, module: nn.Module, sources: Iterable[fx.Node], wanted: str) -> fx.Node:
        """Add a layer; `wanted` is the name it gets if that is free."""
        made: fx.Node = self.graph.call_module(f"layer_{len(self.made)}", tuple(sources))
        self.made.append(_Made(module, wanted, made))
        return made

    def _results(self) -> dict[fx.Node, fx.Node]:
        """What computes each node that the network returns."""
        found = {}
        for name, node in self.capture.results.items():
            if node in self.lost:
                continue
            if node not in self.values:
                raise InputError(f"what a network returns must depend on its input, and {name} not")
            try:
                found[node] = self.plain(self.values[node])
            except Refusal as refusal:
                call = Call(self, node if refusal.node is None else refusal.node)
                what = f"{refusal.what}, and {name} is returned"
                call.note(FindingKind.REFUSED, what, refusal.remedy or _RESHAPED_RESULT)
        return found

    def _finished(self, results: dict[fx.Node, fx.Node]) -> nn.Module:
        self.graph.output(mapped(self.capture.returned, results.__getitem__))
        self.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        live = set(self.graph.nodes)
        made = [one for one in self.made if one.node in live]
        root = nn.Module()
        for one, name in zip(made, layer_names([one.wanted for one in made]), strict=True):
            one.node.target = name
            add_layer(root, name, one.module)
        self.graph.lint()
        return fx.GraphModule(root, self.graph, type(self.original).__name__)

    def solid(self, value: Value) -> Value:
        """The same value with the zeros that no layer has taken as its padding."""
        if not value.is_padded:
            return value
        inside = value.without_padding()
        return self.with_zeros(inside, (0, 0, *value.padding))

    def can_settle(self, value: Value) -> bool:
        """Whether `settled` gives a value."""
        moved = value.moved
        return moved is None or bool(Selection.of_positions(moved.positions, value.base))

    def settled(self, value: Value) -> Value:
        """The same value, moved by a layer where its elements were moved.

        Raises
        ------
        Refusal
            If they are not some channels, rows and columns of a map, or elements of a vector.
        """
        if value.moved is None:
            return value
        selection = Selection.of_positions(value.moved.positions, value.base)
        if selection is None:
            call = Call(self, value.moved.node)
            raise Refusal(
                f"{call.operator} from {value.base} to {value.shape} moves elements as no layer "
                "does",
                "leave the channels in dimension 1, and take whole channels, rows and columns",
                value.moved.node,
            )
        node = self._selected(value, selection)
        base = (len(selection.channels), *selection.size)[: len(value.base)]
        return Value(node=node, base=base, shape=value.shape, is_unsigned=value.is_unsigned)

    def _selected(self, value: Value, selection: Selection) -> fx.Node:
        if len(value.base) == _MAP and selection.is_subsampling(value.base):
            assert value.moved is not None
            call = Call(self, value.moved.node)
            layer = nn.MaxPool2d(1, selection.stride)
            return self.emit(layer, [value.node], call.place or call.operator)
        index = selection.index(1 + len(value.base))
        return self.graph.call_function(operator.getitem, (value.node, index))

    def with_zeros(self, value: Value, zeros: tuple[int, int, int, int, int, int]) -> Value:
        """A map inside of zeros: before and behind channels, rows and columns."""
        before, behind, above, below, left, right = zeros
        pad = [left, right, above, below, before, behind]
        made = self.graph.call_function(functional.pad, (self.plain(value), pad))
        channels, height, width = value.shape
        shape = (before + channels + behind, above + height + below, left + width + right)
        return Value(node=made, base=shape, shape=shape, is_unsigned=value.is_unsigned)

    def module_of(self, node: fx.Node) -> nn.Module | None:
        """The layer whose call a node of the network is, if it is one."""
        return next((one.module for one in self.made if one.node is node), None)

    def plain(self, value: Value) -> fx.Node:
        """The node that computes a value in the shape that the network sees.

        Raises
        ------
        Refusal
            If that is neither a map nor all of its elements in a row.
        """
        value = self.settled(self.solid(value))
        if value.shape == value.base:
            return value.node
        if len(value.shape) == 1:
            return self.emit(nn.Flatten(), [value.node], "flatten")
        if len(value.base) == 1 and value.shape == (*value.base, 1, 1):
            return self.emit(nn.Unflatten(1, value.shape), [value.node], "unflatten")
        raise Refusal(f"a reshape of {value.base} to {value.shape} has no integer form")
