"""A network's operations, read as values.

`torch.fx` records calls, and a call can write into a tensor that other calls read, under any of
its names. Here every read is bound to the value that PyTorch would find there: after
``y = x; y += 1`` what reads ``x`` reads the sum. Where that cannot be said (a write through a view,
or ``out=``) the network is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.train.batch_norm import SharedBatchNorm2d
from asq_hw.train.graph.pointwise import POINTWISE, ChannelScale
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear

__all__ = ["PASS_THROUGH", "QuantTracer", "function_name", "place", "reachable", "read_dataflow"]

PASS_THROUGH = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)
"""Modules that give back what they are given, once training is over."""

_WRITING_OPERATORS = (
    operator.iadd,
    operator.isub,
    operator.imul,
    operator.imatmul,
    operator.itruediv,
    operator.ifloordiv,
    operator.imod,
    operator.ipow,
    operator.iand,
    operator.ior,
    operator.ixor,
    operator.ilshift,
    operator.irshift,
)
_ALIASING_METHODS = {"contiguous", "detach", "requires_grad_"}
"""Whatever these return has the values of what they are given, and can be the same tensor."""
_NEW_MODULES = (
    QuantConv2d,
    QuantLinear,
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.ReLU6,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.ZeroPad2d,
    *POINTWISE,
)
_NEW_FUNCTIONS = {
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.neg,
    torch.add,
    torch.sub,
    torch.mul,
    torch.relu,
    torch.cat,
    torch.concat,
    torch.concatenate,
    torch.clone,
    functional.pad,
    functional.relu,
    functional.relu6,
    functional.max_pool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    functional.conv2d,
    functional.linear,
    "add",
    "sub",
    "mul",
    "neg",
    "relu",
    "mean",
    "sum",
    "clone",
    "clamp",
}
"""What never returns the tensor it is given, or a view of it, but where it writes into it."""


class _WritingProxy(fx.Proxy):
    """A traced tensor whose ``+=`` is recorded; torch's own is traced as ``x = x + y``."""


def _recorder(function: Callable[..., Any]) -> Callable[[fx.Proxy, object], fx.Proxy]:
    def write(self: fx.Proxy, other: object) -> fx.Proxy:
        made: fx.Proxy = self.tracer.create_proxy("call_function", function, (self, other), {})
        return made

    return write


for _operator in _WRITING_OPERATORS:
    setattr(_WritingProxy, f"__{_operator.__name__}__", _recorder(_operator))


class QuantTracer(fx.Tracer):
    """Trace down to quantized layers and torch's own modules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether `m` is one operation: its forward is torch's or ours, and not replaced."""
        if "forward" in vars(m):
            return False
        if isinstance(m, QuantConv2d | QuantLinear | ChannelScale | SharedBatchNorm2d):
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A traced tensor that also records operators that write."""
        return _WritingProxy(node, self)


@dataclass(slots=True)
class _Values:
    """Which nodes may be one tensor, as far as the graph has been read.

    `storage` gives each node its tensor, `views` are the nodes that may show only a part of it
    or show it in another shape.
    """

    modules: dict[str, nn.Module]
    storage: dict[fx.Node, fx.Node] = field(default_factory=dict)
    views: set[fx.Node] = field(default_factory=set)

    def read(self, node: fx.Node) -> None:
        """Note what `node` returns, and bind later reads to it if it writes."""
        sources = node.all_input_nodes
        target = self._written(node)
        if target is not None:
            self._rebind(node, target)
        elif not sources or self._is_new(node):
            self.storage[node] = node
        else:
            # A view may have any of its sources under it: they become one.
            root = self.storage[sources[0]]
            for source in sources[1:]:
                self._join(self.storage[source], root)
            self.storage[node] = root
            if not self._is_alias(node):
                self.views.add(node)

    def _join(self, old: fx.Node, new: fx.Node) -> None:
        if old is not new:
            members = [node for node, root in self.storage.items() if root is old]
            self.storage |= dict.fromkeys(members, new)
            # Nobody can say which of them a write would reach.
            self.views |= {node for node, root in self.storage.items() if root is new}

    def _rebind(self, node: fx.Node, target: fx.Node) -> None:
        root = self.storage[target]
        same = [other for other, found in self.storage.items() if found is root]
        for other in same:
            later = [user for user in other.users if user is not node and node < user]
            if later and (other in self.views or target in self.views):
                raise InputError(
                    f"{place(node, node.name)} writes into a tensor that {later[0].name} reads "
                    f"through a view ({other.name}); such a network cannot be read"
                )
        for other in same:
            other.replace_all_uses_with(node, lambda user: user is not node and node < user)
        self.storage[node] = root
        if target in self.views:
            self.views.add(node)

    def _written(self, node: fx.Node) -> fx.Node | None:
        """The node whose tensor `node` writes into."""
        if not node.all_input_nodes:
            return None
        if node.kwargs.get("out") is not None:
            raise InputError(f"{place(node, node.name)}: out= must not be given")
        if not self._writes(node):
            return None
        target = node.args[0] if node.args else node.kwargs.get("input")
        if not isinstance(target, fx.Node):
            raise InputError(f"{place(node, node.name)}: what it writes into must be given first")
        return target

    def _writes(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return bool(getattr(self.modules[str(node.target)], "inplace", False))
        if node.op not in ("call_function", "call_method"):
            return False
        if node.target in _WRITING_OPERATORS or node.target is operator.setitem:
            return True
        name = function_name(node.target)
        if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":
            return True
        return _inplace_argument(node)

    def _is_new(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return type(self.modules[str(node.target)]) in _NEW_MODULES
        return node.target in _NEW_FUNCTIONS

    def _is_alias(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return type(self.modules[str(node.target)]) in PASS_THROUGH
        return node.target in _ALIASING_METHODS


def function_name(function: object) -> str:
    """Name of a function or method that a node calls."""
    return str(getattr(function, "__name__", function))


def _inplace_argument(node: fx.Node) -> bool:
    """Whether a function was called with ``inplace=True``, by name or by position."""
    if "inplace" in node.kwargs:
        return node.kwargs["inplace"] is not False
    positions = {functional.relu: 1, functional.relu6: 1, functional.dropout: 3}
    position = positions.get(node.target) if callable(node.target) else None
    return position is not None and len(node.args) > position and node.args[position] is not False


def place(node: fx.Node, what: str) -> str:
    """`what` under the path of the module whose forward calls it."""
    stack = node.meta.get("nn_module_stack")
    path = next(reversed(stack.values()))[0] if stack else ""
    return f"{path}.{what}" if path else what


def read_dataflow(model: nn.Module) -> tuple[fx.Graph, dict[str, nn.Module]]:
    """Trace a network, and bind every read to the value that is there.

    Returns
    -------
    fx.Graph
        Nodes in the order of the calls. A node's users are those that read the value it makes,
        and what writes into that value reads it; nodes that no result depends on are kept.
    dict of str to nn.Module
        The network's modules by the names that nodes call them by.

    Raises
    ------
    InputError
        If the network cannot be traced, or a write cannot be told apart from its views.
    """
    try:
        graph = QuantTracer().trace(model)
    except InputError:
        raise
    except Exception as error:  # the network's own code ran, and can raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{type(model).__name__} cannot be traced: {reason}") from error
    modules = dict(model.named_modules(remove_duplicate=False))
    values = _Values(modules)
    for node in graph.nodes:
        if node.op != "output":
            values.read(node)
    return graph, modules


def reachable(starts: Iterable[fx.Node], *, forward: bool) -> set[fx.Node]:
    """Every node that lies behind any of the starts, or before; a start only if one leads to it."""
    reached: set[fx.Node] = set()
    pending = list(starts)
    while pending:
        node = pending.pop()
        for neighbor in node.users if forward else node.all_input_nodes:
            if neighbor not in reached:
                reached.add(neighbor)
                pending.append(neighbor)
    return reached
