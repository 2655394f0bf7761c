"""Operators that move no element: the same ones, in the same order, in another shape."""

from __future__ import annotations

from asq_hw.train.graph.canonical.builder import Call, Rule
from asq_hw.train.graph.canonical.findings import Refusal
from asq_hw.train.graph.canonical.values import Value

__all__ = ["RULES"]


def _reshape(call: Call) -> Value:
    return call.solid("self").reshaped(call.shape)


def _select(call: Call) -> Value:
    """The only element along a dimension."""
    source, arguments = call.solid("self"), call.arguments
    size = (0, *source.shape)[arguments["dim"] % (len(source.shape) + 1)]
    if size != 1 or arguments["index"] not in (0, -1):
        raise Refusal(
            f"{call.operator} along dimension {arguments['dim']} has no integer form",
            "let a convolution of stride 2 take every second position",
        )
    return source.reshaped(call.shape)


def _permute(call: Call) -> Value:
    """A permutation that moves nothing but dimensions of one element."""
    source = call.solid("self")
    rank = len(source.shape) + 1
    sizes = (0, *source.shape)  # the batch is as good as any size but 1
    match call.operator:
        case "permute":
            order = [dim % rank for dim in call.arguments["dims"]]
        case "t":
            order = list(reversed(range(rank)))
        case _:
            first, second = (call.arguments[name] % rank for name in ("dim0", "dim1"))
            order = list(range(rank))
            order[first], order[second] = second, first
    moved = [dim for dim in order if sizes[dim] != 1]
    if moved != sorted(moved):
        raise Refusal(
            f"{call.operator} to the order {order} moves elements",
            "leave the channels in dimension 1",
        )
    return source.reshaped(call.shape)


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
        ),
        _reshape,
    ),
    "select": _select,
    **dict.fromkeys(("permute", "transpose", "t"), _permute),
}
