"""A converted network's data flow, as a list of the operations that have an integer form."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import torch
import torch.nn.functional as F
from torch import fx, nn

from asq_hw.errors import InputError
from asq_hw.train.layers import QuantConv2d, QuantLinear

__all__ = ["Operation", "OperationKind", "QuantTracer", "trace"]

Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


class OperationKind(Enum):
    """What an operation is in integers."""

    INPUT = auto()
    CONV = auto()
    LINEAR = auto()
    ADD = auto()
    RELU = auto()
    FLATTEN = auto()
    MAX_POOL = auto()
    AVERAGE_POOL = auto()
    GLOBAL_AVERAGE_POOL = auto()

    @property
    def keeps_format(self) -> bool:
        """Whether the output has its sources' number format."""
        return self not in (OperationKind.INPUT, OperationKind.CONV, OperationKind.LINEAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation and, for the weighted ones, the batch norm that is folded into it.

    `node` is the name of the traced node whose value is the operation's output.
    """

    name: str
    kind: OperationKind
    node: str
    sources: tuple[str, ...] = ()
    weighted: QuantConv2d | QuantLinear | None = None
    batch_norm: nn.BatchNorm2d | None = None
    maximum: float | None = None
    window: Window | None = None


class QuantTracer(fx.Tracer):
    """Trace down to quantized layers and torch's own modules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether `m` is one operation."""
        if isinstance(m, QuantConv2d | QuantLinear):
            return True
        return super().is_leaf_module(m, module_qualified_name)


@dataclass(slots=True)
class _Reader:
    """Turns traced nodes into operations, one after the other."""

    modules: dict[str, nn.Module]
    operations: list[Operation] = field(default_factory=list)
    name_of: dict[fx.Node, str] = field(default_factory=dict)

    def read(self, node: fx.Node) -> None:
        match node.op:
            case "placeholder":
                self._append(node, OperationKind.INPUT, name="input")
            case "call_module":
                self._module(node, self.modules[str(node.target)])
            case "call_function" | "call_method":
                self._function(node)
            case "output":
                if node.args[0] is not _last_used(self.name_of):
                    raise InputError("a network must end in one tensor, its scores")
            case _:
                raise InputError(f"{node.name}: {node.op} has no integer form")

    def _module(self, node: fx.Node, module: nn.Module) -> None:
        match module:
            case QuantConv2d():
                self._append(node, OperationKind.CONV, weighted=module)
            case QuantLinear():
                self._append(node, OperationKind.LINEAR, weighted=module)
            case nn.BatchNorm2d():
                self._fold(node, module)
            case nn.ReLU6():
                self._append(node, OperationKind.RELU, maximum=6.0)
            case nn.ReLU():
                self._append(node, OperationKind.RELU)
            case nn.MaxPool2d():
                if module.dilation not in (1, (1, 1)) or module.ceil_mode:
                    raise InputError(
                        f"{node.target}: max pooling must have no dilation, no ceil mode"
                    )
                self._append(node, OperationKind.MAX_POOL, window=_window(module))
            case nn.AvgPool2d():
                if module.ceil_mode or module.divisor_override:
                    raise InputError(
                        f"{node.target}: average pooling must have no ceil mode, no divisor"
                    )
                if not module.count_include_pad and module.padding not in (0, (0, 0)):
                    raise InputError(f"{node.target}: average pooling must count its padding")
                self._append(node, OperationKind.AVERAGE_POOL, window=_window(module))
            case nn.AdaptiveAvgPool2d():
                if module.output_size not in (1, (1, 1)):
                    raise InputError(f"{node.target}: adaptive pooling must be global, to 1 x 1")
                self._append(node, OperationKind.GLOBAL_AVERAGE_POOL)
            case nn.Flatten():
                self._append(node, OperationKind.FLATTEN)
            case nn.Identity() | nn.Dropout():
                self._pass_on(node)
            case nn.Conv2d() | nn.Linear():
                raise InputError(f"{node.target}: not quantized, so it has no integer form")
            case _:
                raise InputError(f"{node.target}: {type(module).__name__} has no integer form")

    def _function(self, node: fx.Node) -> None:
        if node.target in (operator.add, torch.add, operator.iadd, "add", "add_"):
            if len(node.all_input_nodes) != 2 or node.kwargs:
                raise InputError(f"{node.name}: an addition must be of two feature maps")
            self._append(node, OperationKind.ADD, name=_scoped(node, "add"))
        elif node.target in (F.relu, torch.relu, "relu", "relu_"):
            self._append(node, OperationKind.RELU, name=_scoped(node, "relu"))
        elif node.target in (torch.flatten, "flatten"):
            self._append(node, OperationKind.FLATTEN, name=_scoped(node, "flatten"))
        else:
            raise InputError(f"{node.name}: {node.target} has no integer form")

    def _append(
        self,
        node: fx.Node,
        kind: OperationKind,
        *,
        name: str | None = None,
        weighted: QuantConv2d | QuantLinear | None = None,
        maximum: float | None = None,
        window: Window | None = None,
    ) -> None:
        self.name_of[node] = self._free(str(node.target) if name is None else name)
        operation = Operation(
            name=self.name_of[node],
            kind=kind,
            node=node.name,
            sources=tuple(self.name_of[source] for source in node.all_input_nodes),
            weighted=weighted,
            maximum=maximum,
            window=window,
        )
        self.operations.append(operation)

    def _fold(self, node: fx.Node, batch_norm: nn.BatchNorm2d) -> None:
        """Let the batch norm's output take the place of its convolution's."""
        (source,) = node.all_input_nodes
        last = next(o for o in self.operations if o.name == self.name_of[source])
        if last.kind is not OperationKind.CONV or last.batch_norm or len(source.users) != 1:
            raise InputError(
                f"{node.target}: a batch norm must follow a convolution that only it reads"
            )
        folded = replace(last, node=node.name, batch_norm=batch_norm)
        self.operations[self.operations.index(last)] = folded
        self._pass_on(node)

    def _pass_on(self, node: fx.Node) -> None:
        (source,) = node.all_input_nodes
        self.name_of[node] = self.name_of[source]

    def _free(self, wanted: str) -> str:
        """`wanted`, or with a number behind it where a module is used twice."""
        taken = set(self.name_of.values())
        candidates = (wanted if i == 0 else f"{wanted}_{i}" for i in range(len(taken) + 1))
        return next(name for name in candidates if name not in taken)


def trace(model: nn.Module) -> list[Operation]:
    """The operations of a converted network, in execution order.

    Raises
    ------
    InputError
        If an operation has no integer form; the message names it and where it stands.
    """
    graph = QuantTracer().trace(model)
    reader = _Reader(modules=dict(model.named_modules()))
    for node in graph.nodes:
        reader.read(node)
    return _without_idle_flatten(reader.operations)


def _without_idle_flatten(operations: Sequence[Operation]) -> list[Operation]:
    """Drop a flatten behind global pooling: its source is (C, 1, 1) already."""
    pooled = {o.name for o in operations if o.kind is OperationKind.GLOBAL_AVERAGE_POOL}
    idle = {
        o.name: o.sources[0]
        for o in operations
        if o.kind is OperationKind.FLATTEN and o.sources[0] in pooled
    }
    return [
        replace(o, sources=tuple(idle.get(source, source) for source in o.sources))
        for o in operations
        if o.name not in idle
    ]


def _last_used(name_of: dict[fx.Node, str]) -> fx.Node:
    return next(reversed(name_of))


def _scoped(node: fx.Node, kind: str) -> str:
    """A function's name under the module whose forward calls it."""
    stack = node.meta.get("nn_module_stack")
    path = next(reversed(stack.values()))[0] if stack else ""
    return f"{path}.{kind}" if path else kind


def _window(module: nn.MaxPool2d | nn.AvgPool2d) -> Window:
    return _two(module.kernel_size), _two(module.stride), _two(module.padding)


def _two(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
