"""Which values of a network are proven to be never negative."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from asq_hw.train.graph.pointwise import is_never_negative

__all__ = ["has_hooks", "unsigned_nodes"]

_RECTIFIERS = (nn.ReLU, nn.ReLU6)
_SIGN_KEEPERS = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.ZeroPad2d,
    nn.Flatten,
    nn.Unflatten,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.Identity,
)
_RECTIFYING_FUNCTIONS = {
    torch.relu,
    torch.relu_,
    functional.relu,
    functional.relu6,
    "relu",
    "relu_",
}
_ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
_PRODUCTS = {operator.mul, operator.imul, torch.mul, "mul", "mul_"}
_SIGN_KEEPING_FUNCTIONS = {
    torch.flatten,
    torch.cat,
    torch.concat,
    torch.concatenate,
    functional.pad,
    operator.getitem,
    functional.max_pool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    "flatten",
    "mean",
    "contiguous",
}
_DIVISOR = "divisor_override"
_DIVISOR_POSITION = 6


def unsigned_nodes(graph: fx.Graph, modules: dict[str, nn.Module]) -> set[fx.Node]:
    """Find every node of a graph of values whose result is proven never to be negative.

    A ReLU's is, and a sigmoid's, a sum of such and of numbers that are not negative, a product of
    such, and what pooling and flattening make of them. Nothing else is, whatever it may be.
    """
    unsigned: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "call_module":
            proven = _is_unsigned_module(node, modules[str(node.target)], unsigned)
        elif node.op in ("call_function", "call_method"):
            proven = _is_unsigned_function(node, unsigned)
        else:
            proven = False
        if proven:
            unsigned.add(node)
    return unsigned


def has_hooks(module: nn.Module) -> bool:
    """Whether hooks may replace what a module is given, or what it returns."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _is_unsigned_module(node: fx.Node, module: nn.Module, unsigned: set[fx.Node]) -> bool:
    if has_hooks(module):
        return False
    if type(module) in _RECTIFIERS or is_never_negative(module):
        return True
    if type(module) not in _SIGN_KEEPERS or (getattr(module, _DIVISOR, None) or 1) < 0:
        return False
    return all(source in unsigned for source in node.all_input_nodes)


def _is_unsigned_function(node: fx.Node, unsigned: set[fx.Node]) -> bool:
    if node.target in _RECTIFYING_FUNCTIONS:
        return True
    if node.target in (_ADDITIONS | _PRODUCTS):
        terms = [*node.args, *node.kwargs.values()]  # `alpha` is a factor of the second one
        return all(_is_unsigned_term(term, unsigned) for term in terms)
    if node.target not in _SIGN_KEEPING_FUNCTIONS or not node.args:
        return False
    if _DIVISOR in node.kwargs or len(node.args) > _DIVISOR_POSITION:
        return False
    return all(source in unsigned for source in node.all_input_nodes)


def _is_unsigned_term(term: Any, unsigned: set[fx.Node]) -> bool:
    if isinstance(term, fx.Node):
        return term in unsigned
    return isinstance(term, int | float) and term >= 0
