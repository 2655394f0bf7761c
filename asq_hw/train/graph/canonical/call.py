"""What an operator's rule sees of the call that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from asq_hw.train.graph.canonical.capture import first_result, user_sources
from asq_hw.train.graph.canonical.findings import Finding, FindingKind, Refusal
from asq_hw.train.graph.canonical.scaling import channels_of, scale_outputs
from asq_hw.train.graph.canonical.values import (
    Shape,
    Value,
    bound_arguments,
    operator_name,
    per_channel,
)
from asq_hw.train.graph.pointwise import ChannelScale

if TYPE_CHECKING:
    from asq_hw.train.graph.canonical.builder import Builder

__all__ = ["Call", "Rule"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator, as a rule reads it."""

    builder: Builder
    node: fx.Node

    @property
    def operator(self) -> str:
        """The operator's name."""
        return operator_name(self.node)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments by name, as they stand in the graph."""
        return bound_arguments(self.node)

    @property
    def shape(self) -> Shape:
        """Shape of the result, without the batch.

        Raises
        ------
        Refusal
            If the result's first dimension is not the batch.
        """
        shape = tuple(first_result(self.node).shape)
        batch = self.builder.capture.image.meta["val"].shape[0]
        if not shape or shape[0] != batch:
            raise Refusal(f"{self.operator} moves the batch to another dimension")
        return shape[1:]

    @property
    def place(self) -> str:
        """Path of the module whose forward makes the call."""
        stack = self.node.meta.get("nn_module_stack") or {}
        return next((path for path, _ in reversed(stack.values())), "")

    def value(self, name: str) -> Value:
        """An argument that depends on the input.

        Raises
        ------
        Refusal
            If it is a constant, or no layer can move its elements.
        """
        return self.operand(self._dependent(name))

    def _dependent(self, name: str) -> fx.Node:
        argument = self.arguments.get(name)
        if not isinstance(argument, fx.Node) or argument not in self.builder.values:
            raise Refusal(f"{self.operator}: {name} does not depend on the input")
        return argument

    def operand(self, argument: fx.Node) -> Value:
        """What a node that this call reads has become."""
        value = self.builder.settled(self.builder.values[argument])
        self.builder.values[argument] = value
        return value if len(argument.users) == 1 else value.shared()

    def unsettled(self, name: str) -> Value:
        """The same, where its elements may have been moved and no layer has done it yet."""
        argument = self._dependent(name)
        value = self.builder.values[argument]
        return value if len(argument.users) == 1 else value.shared()

    def solid(self, name: str) -> Value:
        """An argument that depends on the input, with its zeros around it."""
        return self.builder.solid(self.value(name))

    def constant(self, name: str) -> Tensor | None:
        """An argument that does not depend on the input, or None if it is not given.

        Raises
        ------
        Refusal
            If it depends on the input.
        """
        argument = self.arguments.get(name)
        if argument is None or isinstance(argument, int | float):
            return None if argument is None else torch.tensor(float(argument))
        if argument not in self.builder.constants:
            raise Refusal(
                f"{self.operator}: {name} is computed from the input",
                "let it be a parameter",
            )
        tensor: Tensor = self.builder.constants[argument]
        return tensor

    def owner(self, name: str) -> str:
        """Path of the module whose parameter an argument is, or of the one that calls."""
        stored = self.builder.capture.names.get(self.arguments.get(name), "")  # type: ignore[arg-type]
        return stored.rpartition(".")[0] or self.place or self.operator

    def emit(self, module: nn.Module, *sources: Value, wanted: str = "", **facts: Any) -> Value:
        """Add a layer that makes this call's result of other values."""
        nodes = [self.builder.plain(source) for source in sources]
        made = self.builder.emit(module, nodes, wanted or self.place or self.operator)
        return Value(node=made, base=self.shape, shape=self.shape, **facts)

    def note(self, kind: FindingKind, what: str, remedy: str = "") -> None:
        """Keep a finding about this call."""
        finding = Finding(
            kind=kind,
            place=self.place,
            source=next(user_sources(self.node), ""),
            what=what,
            remedy=remedy,
        )
        self.builder.findings.append(finding)

    def scaled(self, name: str, scale: Tensor | float, offset: Tensor | float) -> Value:
        """A value times a factor plus an offset, each one number or one for each channel.

        Where a convolution, a linear layer or a batch norm has just made the value, it does that
        too; elsewhere a layer of its own does.

        Raises
        ------
        Refusal
            If factor or offset differ within a channel.
        """
        value = self.value(name)
        factors, offsets = per_channel(scale, value.shape), per_channel(offset, value.shape)
        if factors is None or offsets is None:
            raise Refusal(f"{self.operator} with a constant that differs within a channel")
        if value.shape != self.shape:
            raise Refusal(f"{self.operator} with a constant makes the map larger")
        if bool((factors == 1).all()) and bool((offsets == 0).all()):
            return value
        if value.maker is not None and channels_of(value.maker) == value.shape[0]:
            scale_outputs(value.maker, factors, offsets)
            self.note(FindingKind.REWRITTEN, f"{self.operator} is computed by the layer before it")
            return value
        return self._own_scale(self.builder.solid(value), factors, offsets)

    def _own_scale(self, value: Value, factors: Tensor, offsets: Tensor) -> Value:
        """Factor and offset as a layer, which what follows may scale too."""
        channels = value.base[0]
        if max(factors.numel(), offsets.numel()) not in (1, channels):
            raise Refusal(f"{self.operator} with a constant has no integer form here")
        layer = ChannelScale(factors.expand(channels), offsets.expand(channels))
        self.note(FindingKind.REWRITTEN, f"{self.operator} becomes a scale of channels")
        made = self.builder.emit(layer, [value.node], self.place or self.operator)
        return Value(node=made, base=value.base, shape=value.shape, maker=layer)


Rule = Callable[[Call], Value]
"""Makes a call's value; raises Refusal."""
