"""Operators that change nothing but where elements stand, or which of them are left.

Each is run on the elements' positions, so that however it is written, what comes out is seen: the
same elements in the same order, or some channels, rows and columns of a map.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from asq_hw.train.graph.canonical.call import Call, Rule
from asq_hw.train.graph.canonical.findings import Refusal
from asq_hw.train.graph.canonical.values import Moved, Value

__all__ = ["RULES", "rearranged"]


def rearranged(call: Call) -> Value:
    """What stands elsewhere, or is left, after an operator with one result."""
    source = _source(call)
    return _moved(call, source, _positions(call, source))


def _parted(call: Call) -> Value:
    """An operator with several results, which are read one by one."""
    source = _source(call)
    parts = [_moved(call, source, part) for part in _positions(call, source)]
    call.builder.parts[call.node] = parts
    return parts[0]


def _source(call: Call) -> Value:
    value = call.unsettled("self" if "self" in call.arguments else "input")
    value = call.builder.solid(value)
    result = call.node.meta["val"]
    loses_dimensions = isinstance(result, Tensor) and result.dim() <= len(value.shape)
    if value.moved is not None and loses_dimensions and call.builder.can_settle(value):
        return call.builder.settled(value)  # behind it, a map could not be seen any more
    return value


def _positions(call: Call, source: Value) -> Any:
    """What becomes of the positions of a batch's elements."""
    batch = len(call.builder.capture.image.meta["val"])
    count = source.moved.count if source.moved is not None else _size(source.shape)
    one = source.moved.positions if source.moved is not None else torch.arange(count)
    every = one.reshape(1, *source.shape) + count * torch.arange(batch).reshape(
        -1, *[1] * len(source.shape)
    )

    def given(node: fx.Node) -> Any:
        if node in call.builder.constants:
            return call.builder.constants[node]
        if call.builder.values.get(node) is None or node is not call.node.all_input_nodes[0]:
            raise Refusal(f"{call.operator} by what is computed from the input")
        return every

    args, kwargs = fx.map_arg((call.node.args, call.node.kwargs), given)
    return call.node.target(*args, **kwargs)  # type: ignore[operator]


def _moved(call: Call, source: Value, positions: Tensor) -> Value:
    batch = len(call.builder.capture.image.meta["val"])
    count = source.moved.count if source.moved is not None else _size(source.shape)
    shape = tuple(positions.shape[1:])
    first = positions[:1] if len(positions) == batch else positions[:0]
    offsets = count * torch.arange(batch).reshape(-1, *[1] * len(shape))
    if not len(first) or not torch.equal(positions, first + offsets):
        raise Refusal(f"{call.operator} moves the batch to another dimension")
    first = first[0]
    if first.numel() == 0:
        raise Refusal(f"{call.operator} leaves nothing")
    if first.numel() == count and torch.equal(first.flatten(), torch.arange(count)):
        return replace(source, shape=shape, moved=None)
    moved = Moved(
        node=call.node, positions=first.clone(memory_format=torch.contiguous_format), count=count
    )
    return replace(source, shape=shape, moved=moved, maker=None)


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "view",
            "_unsafe_view",
            "reshape",
            "flatten",
            "unflatten",
            "squeeze",
            "unsqueeze",
            "select",
            "slice",
            "narrow",
            "permute",
            "transpose",
            "t",
            "movedim",
            "index",
            "index_select",
            "channel_shuffle",
            "native_channel_shuffle",
            "flip",
            "roll",
        ),
        rearranged,
    ),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unbind", "tensor_split"), _parted),
}
