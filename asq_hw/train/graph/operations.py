"""A converted network's data flow, read as the operations that have an integer form."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from asq_hw.errors import InputError
from asq_hw.network.graph import RESERVED_NAME
from asq_hw.train.batch_norm import SharedBatchNorm2d
from asq_hw.train.graph.dataflow import PASS_THROUGH, function_name, place, reachable, read_dataflow
from asq_hw.train.graph.operation import (
    Operation,
    OperationKind,
    Padding,
    TracedNetwork,
    Window,
)
from asq_hw.train.graph.pointwise import POINTWISE
from asq_hw.train.graph.results import mapped, named
from asq_hw.train.graph.selection import Selection
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear

__all__ = ["trace"]


@dataclass(slots=True)
class _Reader:
    """Turns traced nodes into operations, one after the other.

    `live` are the nodes that the results depend on; `values` holds for each node the name of the
    operation whose output it is.
    """

    modules: dict[str, nn.Module]
    live: set[fx.Node]
    operations: list[Operation] = field(default_factory=list)
    values: dict[fx.Node, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: {RESERVED_NAME})
    results: dict[str, str] = field(default_factory=dict)

    def read(self, node: fx.Node) -> None:
        match node.op:
            case "placeholder":
                if self.operations:
                    raise InputError(f"{node.name}: a network must have one input, not two")
                self._append(node, OperationKind.INPUT, [], name="input")
            case "call_module":
                self._module(node, self.modules[str(node.target)])
            case "call_function" if _is_named_tuple(node.target):
                pass  # which the network returns
            case "call_function" | "call_method":
                self._function(node)
            case "output":
                self.results = {
                    name: self._result(name, value)
                    for name, value in named(_returned(node.args[0])).items()
                }
            case _:
                raise InputError(f"{node.name}: {node.op} has no integer form")

    def _result(self, name: str, value: object) -> str:
        if not isinstance(value, fx.Node):
            kind = type(value).__name__
            raise InputError(f"a network must return tensors alone, and {name} is {kind}")
        return self.values[value]

    def _module(self, node: fx.Node, module: nn.Module) -> None:
        sources = self._only_sources(node)
        # A subclass may compute anything, so only torch's own classes are known.
        match module:
            case QuantConv2d():
                self._append(node, OperationKind.CONV, sources, weighted=module)
            case QuantLinear():
                self._append(node, OperationKind.LINEAR, sources, weighted=module)
            case nn.BatchNorm2d() if type(module) in (nn.BatchNorm2d, SharedBatchNorm2d):
                self._fold(node, module)
            case nn.ReLU6() if type(module) is nn.ReLU6:
                self._append(node, OperationKind.RELU, sources, maximum=6.0)
            case nn.Hardtanh() if type(module) is nn.Hardtanh and module.min_val == 0:
                self._append(node, OperationKind.RELU, sources, maximum=float(module.max_val))
            case _ if type(module) in POINTWISE:
                self._append(node, OperationKind.LOOKUP, sources, function=module)
            case nn.ReLU() if type(module) is nn.ReLU:
                self._append(node, OperationKind.RELU, sources)
            case nn.MaxPool2d() if type(module) is nn.MaxPool2d:
                if module.dilation not in (1, (1, 1)) or module.ceil_mode or module.return_indices:
                    raise InputError(
                        f"{node.target}: max pooling must have no dilation, no ceil mode, "
                        "no indices"
                    )
                self._append(node, OperationKind.MAX_POOL, sources, window=_window(module))
            case nn.ZeroPad2d() if type(module) is nn.ZeroPad2d:
                self._pad(node, str(node.target), module.padding)
            case nn.AvgPool2d() if type(module) is nn.AvgPool2d:
                if module.ceil_mode or module.divisor_override:
                    raise InputError(
                        f"{node.target}: average pooling must have no ceil mode, no divisor"
                    )
                if not module.count_include_pad and module.padding not in (0, (0, 0)):
                    raise InputError(f"{node.target}: average pooling must count its padding")
                self._append(node, OperationKind.AVERAGE_POOL, sources, window=_window(module))
            case nn.AdaptiveAvgPool2d() if type(module) is nn.AdaptiveAvgPool2d:
                if module.output_size not in (1, (1, 1)):
                    raise InputError(f"{node.target}: adaptive pooling must be global, to 1 x 1")
                self._append(node, OperationKind.GLOBAL_AVERAGE_POOL, sources)
            case nn.Unflatten() if type(module) is nn.Unflatten:
                self._unflatten(node, module, sources)
            case nn.Flatten() if type(module) is nn.Flatten:
                self._flatten(node, str(node.target), module.start_dim, module.end_dim)
            case _ if type(module) in PASS_THROUGH:
                self.values[node] = self.values[sources[0]]
            case nn.Conv2d() | nn.Linear():
                raise InputError(f"{node.target}: not quantized, so it has no integer form")
            case _:
                raise InputError(f"{node.target}: {type(module).__name__} has no integer form")

    def _function(self, node: fx.Node) -> None:
        if node.target in (operator.add, torch.add, operator.iadd, "add", "add_"):
            terms = self._sources(node.args)
            if len(terms) != 2 or node.kwargs.get("alpha", 1) != 1 or set(node.kwargs) - {"alpha"}:
                raise InputError(
                    f"{place(node, node.name)}: an addition must be of two feature maps"
                )
            self._append(node, OperationKind.ADD, terms, name=place(node, "add"))
        elif node.target in (operator.mul, torch.mul, operator.imul, "mul", "mul_"):
            terms = self._sources(node.args)
            if len(terms) != 2 or node.kwargs:
                raise InputError(
                    f"{place(node, node.name)}: a multiplication must be of two feature maps"
                )
            self._append(node, OperationKind.MULTIPLY, terms, name=place(node, "mul"))
        elif node.target in (F.relu, torch.relu, F.relu_, torch.relu_, "relu", "relu_"):
            self._append(
                node, OperationKind.RELU, self._only_sources(node), name=place(node, "relu")
            )
        elif node.target in (torch.cat, torch.concat, torch.concatenate):
            self._concat(node)
        elif node.target is F.pad:
            self._padding_function(node)
        elif node.target is operator.getitem:
            self._indexed(node)
        elif node.target in (torch.flatten, "flatten"):
            bounds = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
            start, end = bounds.pop("start_dim", 0), bounds.pop("end_dim", -1)
            self._flatten(node, place(node, "flatten"), start, end)
        else:
            raise InputError(f"{place(node, node.name)}: {_called(node)} has no integer form")

    def _unflatten(self, node: fx.Node, module: nn.Unflatten, sources: Sequence[fx.Node]) -> None:
        """A vector is a map of one position already."""
        if module.dim != 1 or tuple(module.unflattened_size)[1:] != (1, 1):
            raise InputError(f"{node.target}: unflattening must be from (C,) to (C, 1, 1)")
        self.values[node] = self.values[sources[0]]

    def _concat(self, node: fx.Node) -> None:
        """A list of maps, along their channels."""
        arguments = dict(zip(("tensors", "dim"), node.args, strict=False)) | node.kwargs
        maps = arguments["tensors"]
        terms = self._sources(maps) if isinstance(maps, Sequence) else []
        if len(terms) < 2 or len(terms) != len(maps) or arguments.get("dim", 0) not in (1, -3):  # type: ignore[arg-type]
            raise InputError(
                f"{place(node, node.name)}: a concatenation must be of feature maps, along "
                "dimension 1"
            )
        self._append(node, OperationKind.CONCAT, terms, name=place(node, "concat"))

    def _padding_function(self, node: fx.Node) -> None:
        arguments = dict(zip(("input", "pad", "mode", "value"), node.args, strict=False))
        arguments |= node.kwargs
        named = place(node, "pad")
        if arguments.get("mode", "constant") != "constant" or arguments.get("value"):
            raise InputError(f"{named}: padding must be with zeros")
        self._pad(node, named, arguments["pad"])

    def _pad(self, node: fx.Node, name: str, zeros: object) -> None:
        """Zeros around a map: left, right, above, below and then before and behind channels."""
        numbers = list(zeros) if isinstance(zeros, Sequence) else []
        is_plain = all(type(number) is int and number >= 0 for number in numbers)
        if len(numbers) not in (4, 6) or not is_plain:
            raise InputError(
                f"{name}: padding must be 4 or 6 numbers of zeros around a map, not {zeros}"
            )
        left, right, above, below, before, behind = (*numbers, 0, 0)[:6]
        self._append(
            node,
            OperationKind.PAD,
            self._only_sources(node),
            name=name,
            padding=((before, behind), (above, below), (left, right)),
        )

    def _indexed(self, node: fx.Node) -> None:
        """Every n-th row and column from the first on, or a selection that names all of itself.

        The first of every n is the largest of windows of one value.
        """
        source, index = node.args
        every, selection, name = _strides(index), Selection.of_index(index), place(node, "getitem")
        if every is not None and isinstance(source, fx.Node):
            window = ((1, 1), every, (0, 0))
            self._append(node, OperationKind.MAX_POOL, [source], name=name, window=window)
        elif selection is not None and isinstance(source, fx.Node):
            self._append(node, OperationKind.SELECT, [source], name=name, selection=selection)
        else:
            raise InputError(
                f"{name}: an index must be [:, :, ::n, ::n], the first of every n rows and columns"
            )

    def _flatten(self, node: fx.Node, name: str, start: object, end: object) -> None:
        if (start, end) not in ((1, -1), (1, 3)):
            raise InputError(
                f"{name}: flattening must be from dimension 1 to -1, not {start} to {end}"
            )
        self._append(node, OperationKind.FLATTEN, self._only_sources(node), name=name)

    def _append(
        self,
        node: fx.Node,
        kind: OperationKind,
        sources: Sequence[fx.Node],
        *,
        name: str | None = None,
        weighted: QuantConv2d | QuantLinear | None = None,
        maximum: float | None = None,
        window: Window | None = None,
        padding: Padding | None = None,
        selection: Selection | None = None,
        function: nn.Module | None = None,
    ) -> None:
        self.values[node] = self._free(str(node.target) if name is None else name)
        operation = Operation(
            name=self.values[node],
            kind=kind,
            node=node.name,
            sources=tuple(self.values[source] for source in sources),
            weighted=weighted,
            maximum=maximum,
            window=window,
            padding=padding,
            selection=selection,
            function=function,
        )
        self.operations.append(operation)

    def _fold(self, node: fx.Node, batch_norm: nn.BatchNorm2d) -> None:
        """Let the batch norm's output take the place of its convolution's."""
        (source,) = self._only_sources(node)
        if batch_norm.running_mean is None or batch_norm.running_var is None:
            raise InputError(f"{node.target}: a batch norm must track its running statistics")
        name = self.values[source]
        last = next(o for o in self.operations if o.name == name)
        if last.kind is not OperationKind.CONV or last.batch_norm or self._readers(name) != 1:
            raise InputError(
                f"{node.target}: a batch norm must follow a convolution that only it reads"
            )
        folded = replace(last, node=node.name, batch_norm=batch_norm)
        self.operations[self.operations.index(last)] = folded
        self.values[node] = name

    def _readers(self, name: str) -> int:
        """How many live nodes read a value; one that passes it on does not count itself."""
        holders = [node for node, value in self.values.items() if value == name]
        users = {user for node in holders for user in node.users if user in self.live}
        return len(users - set(holders))

    def _only_sources(self, node: fx.Node) -> list[fx.Node]:
        """The one value that an operation reads, which must be its first argument."""
        first = node.args[0] if node.args else node.kwargs.get("input")
        if not isinstance(first, fx.Node) or node.all_input_nodes != [first]:
            raise InputError(f"{place(node, node.name)}: must read one feature map")
        return [first]

    @staticmethod
    def _sources(arguments: Iterable[object]) -> list[fx.Node]:
        return [argument for argument in arguments if isinstance(argument, fx.Node)]

    def _free(self, wanted: str) -> str:
        """`wanted`, made a valid name, and with a number behind it where it is taken."""
        wanted = f"_{wanted}" if wanted[:1].isdigit() else wanted
        candidates = (wanted if i == 0 else f"{wanted}_{i}" for i in range(len(self.taken) + 1))
        name = next(name for name in candidates if name not in self.taken)
        self.taken.add(name)
        return name


def _is_named_tuple(target: object) -> bool:
    return isinstance(target, type) and issubclass(target, tuple) and hasattr(target, "_fields")


def _returned(value: object) -> Any:
    """What a network returns, with the named tuples that its graph makes by calls."""

    def expanded(node: object) -> object:
        if not isinstance(node, fx.Node) or not _is_named_tuple(node.target):
            return node
        arguments = [_returned(argument) for argument in node.args]
        keywords = {key: _returned(argument) for key, argument in node.kwargs.items()}
        return node.target(*arguments, **keywords)  # type: ignore[operator]

    return mapped(value, expanded)


def _called(node: fx.Node) -> str:
    return f"method {node.target}" if node.op == "call_method" else function_name(node.target)


def trace(model: nn.Module) -> TracedNetwork:
    """The operations that what a converted network returns depends on.

    Raises
    ------
    InputError
        If an operation has no integer form; the message names it and where it stands.
    """
    graph, modules = read_dataflow(model)
    outputs = [node for node in graph.nodes if node.op == "output"]
    live = reachable(outputs, forward=False) | set(outputs)
    reader = _Reader(modules=modules, live=live)
    for node in graph.nodes:
        if node in live:
            reader.read(node)
    return _without_idle_flatten(reader.operations, reader.results)


def _without_idle_flatten(
    operations: Sequence[Operation], results: Mapping[str, str]
) -> TracedNetwork:
    """Drop a flatten behind global pooling: its source is (C, 1, 1) already."""
    pooled = {o.name for o in operations if o.kind is OperationKind.GLOBAL_AVERAGE_POOL}
    idle = {
        o.name: o.sources[0]
        for o in operations
        if o.kind is OperationKind.FLATTEN and o.sources[0] in pooled
    }
    return TracedNetwork(
        operations=tuple(
            replace(o, sources=tuple(idle.get(source, source) for source in o.sources))
            for o in operations
            if o.name not in idle
        ),
        results={name: idle.get(operation, operation) for name, operation in results.items()},
    )


def _window(module: nn.MaxPool2d | nn.AvgPool2d) -> Window:
    return _two(module.kernel_size), _two(module.stride), _two(module.padding)


def _two(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _strides(index: object) -> tuple[int, int] | None:
    """The steps of an index ``[:, :, ::rows, ::columns]``, or None if it is another one."""
    if not isinstance(index, tuple) or len(index) != 4:
        return None
    if not all(isinstance(part, slice) for part in index):
        return None
    if any(part.start not in (None, 0) or part.stop is not None for part in index):
        return None
    steps = [1 if part.step is None else part.step for part in index]
    if steps[:2] != [1, 1] or not all(type(step) is int and step >= 1 for step in steps):
        return None
    return steps[2], steps[3]
