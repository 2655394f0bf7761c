"""Operators that move maps into larger ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, fx

from asq_hw.train.graph.canonical.call import Call, Rule
from asq_hw.train.graph.canonical.findings import Refusal
from asq_hw.train.graph.canonical.rules.rearranging import rearranged
from asq_hw.train.graph.canonical.values import Value

__all__ = ["RULES"]

_MAP = 3
"""Dimensions of a map, without the batch."""


def _concat(call: Call) -> Value:
    """Maps behind one another; constants of zeros at the ends are padding."""
    nodes = list(call.arguments["tensors"])
    rank = len(call.shape) + 1
    if call.arguments.get("dim", 0) % rank != 1:
        raise Refusal(
            f"{call.operator} along dimension {call.arguments['dim']} has no integer form",
            "concatenate channels: dimension 1",
        )
    first, last = _zeros_at_ends(call, nodes)
    kept = nodes[first : len(nodes) - last]
    if any(node in call.builder.constants for node in kept):
        raise Refusal(
            f"{call.operator} with a constant that is not zero has no integer form",
            "add it to a map instead",
        )
    values = [call.operand(node) for node in kept]
    made = _joined(call, values)
    before, behind = (
        sum(_constant(call, node).shape[1] for node in part)
        for part in (nodes[:first], nodes[len(nodes) - last :])
    )
    if before or behind:
        if len(made.shape) != _MAP:
            raise Refusal(f"{call.operator} of vectors and zeros has no integer form")
        made = call.builder.with_zeros(made, (before, behind, 0, 0, 0, 0))
    return made


def _joined(call: Call, values: list[Value]) -> Value:
    if len(values) == 1:
        return values[0].shared()
    nodes = [call.builder.plain(value) for value in values]
    made = call.builder.graph.call_function(torch.cat, (nodes, 1))
    channels = sum(value.shape[0] for value in values)
    shape = (channels, *values[0].shape[1:])
    unsigned = all(value.is_unsigned for value in values)
    return Value(node=made, base=shape, shape=shape, is_unsigned=unsigned)


def _zeros_at_ends(call: Call, nodes: list[fx.Node]) -> tuple[int, int]:
    """How many constants of zeros stand before everything else, and how many behind it."""
    are_zeros = [
        node in call.builder.constants and not bool(_constant(call, node).any()) for node in nodes
    ]
    if all(are_zeros):
        raise Refusal(f"{call.operator} of constants has no integer form")
    return are_zeros.index(False), are_zeros[::-1].index(False)


def _constant(call: Call, node: fx.Node) -> Tensor:
    constant: Tensor = call.builder.constants[node]
    return constant


def _pad(call: Call) -> Value:
    """Zeros around a map; those beside rows and columns may become a layer's own padding."""
    arguments = call.arguments
    left, right, above, below, before, behind, *more = [*arguments["pad"], *[0] * 6][:8]
    if arguments.get("mode", "constant") != "constant" or arguments.get("value"):
        raise Refusal("padding with other than zeros has no integer form", "pad with zeros")
    if max(arguments["pad"]) <= 0:
        return rearranged(call)
    source = call.value("self")
    if len(source.shape) != _MAP or any(more):
        raise Refusal("padding must be around maps", "pad before flattening")
    if min(left, right, above, below, before, behind) < 0:
        raise Refusal("padding must not cut a map and add to it", "cut it before, as a slice")
    if source.shape != source.base and not source.is_padded:
        raise Refusal("padding of a reshaped map has no integer form")
    if before or behind:
        zeros = (before, behind, above, below, left, right)
        return call.builder.with_zeros(call.builder.solid(source), zeros)
    old = source.padding
    sums = (old[0] + above, old[1] + below, old[2] + left, old[3] + right)
    return replace(source, padding=sums, shape=call.shape, maker=None)


RULES: dict[str, Rule] = {
    **dict.fromkeys(("cat", "concat", "concatenate"), _concat),
    **dict.fromkeys(("constant_pad_nd", "pad"), _pad),
}
