"""Operators that move no element: the same ones, in the same order, in another shape."""

from __future__ import annotations

from dataclasses import replace

from asq_hw.train.graph.canonical.builder import Call, Rule
from asq_hw.train.graph.canonical.findings import Refusal
from asq_hw.train.graph.canonical.values import Value

__all__ = ["RULES"]


def _reshape(call: Call) -> Value:
    return call.value("self").reshaped(call.shape)


def _select(call: Call) -> Value:
    """The only element along a dimension."""
    return _part(call, whole=(0, -1))


def _slice(call: Call) -> Value:
    """All elements along a dimension."""
    return _part(call)


def _part(call: Call, whole: tuple[int, ...] = ()) -> Value:
    source = call.value("self")
    arguments = call.arguments
    size = (0, *source.shape)[arguments["dim"] % (len(source.shape) + 1)]
    is_whole = size == 1 and arguments["index"] in whole if whole else call.shape == source.shape
    if not is_whole:
        raise Refusal(
            f"{call.operator} along dimension {arguments['dim']} has no integer form",
            "let a convolution of stride 2 take every second position",
        )
    return source.reshaped(call.shape)


def _permute(call: Call) -> Value:
    """A permutation that moves nothing but dimensions of one element."""
    source = call.value("self")
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


def _pad(call: Call) -> Value:
    """Zeros around a map, which a layer behind takes as its padding."""
    source = call.value("self")
    arguments = call.arguments
    given = list(arguments["pad"])
    left, right, above, below = (given + [0] * 4)[:4]
    if arguments.get("mode", "constant") != "constant" or arguments.get("value"):
        raise Refusal("padding with other than zeros has no integer form", "pad with zeros")
    if len(source.shape) != 3 or any(given[4:]):
        raise Refusal("padding must be around maps", "add channels with a convolution")
    if min(left, right, above, below) < 0:
        raise Refusal("padding must not cut a map", "cut the images before the network")
    if source.shape != source.base and not source.is_padded:
        raise Refusal("padding of a reshaped map has no integer form")
    old = source.padding
    sums = (old[0] + above, old[1] + below, old[2] + left, old[3] + right)
    return replace(source, padding=sums, shape=call.shape, maker=None)


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
    "slice": _slice,
    **dict.fromkeys(("permute", "transpose", "t"), _permute),
    "constant_pad_nd": _pad,
    "pad": _pad,
}
