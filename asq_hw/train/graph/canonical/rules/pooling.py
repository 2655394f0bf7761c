"""Pooling, however it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from asq_hw.train.graph.canonical.call import Call, Rule
from asq_hw.train.graph.canonical.findings import Refusal
from asq_hw.train.graph.canonical.values import Value

__all__ = ["RULES"]

Pair = tuple[int, int]


def _max_pool(call: Call) -> Value:
    arguments = call.arguments
    kernel, stride, padding = _window(arguments)
    if _two(arguments["dilation"]) != (1, 1):
        raise Refusal("max pooling must have no dilation")
    source = call.value("self")
    if source.is_padded:
        # A map without negative values has the same maxima with zeros around it and with nothing.
        alike = source.is_unsigned and padding == (0, 0)
        padding, source = _own_padding(call, source, kernel, padding, alike)
    if source.is_unsigned and call.arguments.get("ceil_mode"):
        source = _extended(call, source, kernel, stride, padding)
    _check_rounding(call, source, kernel, stride, padding)
    layer = nn.MaxPool2d(kernel, stride, padding)
    return call.emit(layer, source, is_unsigned=source.is_unsigned)


def _average_pool(call: Call) -> Value:
    arguments = call.arguments
    kernel, stride, padding = _window(arguments)
    source = call.value("self")
    if source.is_padded:
        counts = bool(arguments["count_include_pad"])
        padding, source = _own_padding(call, source, kernel, padding, counts)
    if arguments["divisor_override"] not in (None, kernel[0] * kernel[1]):
        raise Refusal("average pooling must divide by the size of its window")
    if not arguments["count_include_pad"] and padding != (0, 0):
        raise Refusal("average pooling must count its padding", "count_include_pad=True")
    _check_rounding(call, source, kernel, stride, padding)
    return call.emit(nn.AvgPool2d(kernel, stride, padding), source, is_unsigned=source.is_unsigned)


def _own_padding(
    call: Call, source: Value, kernel: Pair, padding: Pair, alike: bool
) -> tuple[Pair, Value]:
    """Zeros that the pooling adds itself, where that is `alike` and it can; else a map with them.

    A pool's padding is at most half its kernel, and the same on both sides.
    """
    zeros = source.unpadded()[0]
    sums = (padding[0] + zeros[0], padding[1] + zeros[1])
    fits = all(2 * each <= size for each, size in zip(sums, kernel, strict=True))
    if alike and fits and source.is_even:
        return sums, source.without_padding()
    return padding, call.builder.solid(source)


def _adaptive_average_pool(call: Call) -> Value:
    return _adaptive(call, nn.AvgPool2d)


def _adaptive_max_pool(call: Call) -> Value:
    return _adaptive(call, nn.MaxPool2d)


def _adaptive(call: Call, window: type[nn.AvgPool2d] | type[nn.MaxPool2d]) -> Value:
    source = call.value("self")
    wanted = _two(call.arguments["output_size"])
    if len(source.shape) != 3:
        raise Refusal(f"{call.operator} must read maps")
    sizes = source.shape[1:]
    if any(size % out for size, out in zip(sizes, wanted, strict=True)):
        raise Refusal(
            f"{call.operator} of {sizes[0]} x {sizes[1]} to {wanted[0]} x {wanted[1]} has windows "
            "of different sizes"
        )
    kernel = (sizes[0] // wanted[0], sizes[1] // wanted[1])
    if wanted == (1, 1) and window is nn.AvgPool2d:
        return call.emit(nn.AdaptiveAvgPool2d(1), source, is_unsigned=source.is_unsigned)
    return call.emit(window(kernel, kernel), source, is_unsigned=source.is_unsigned)


def _mean(call: Call) -> Value:
    """A mean over all positions of a map."""
    return _over_all_positions(call, lambda size: nn.AdaptiveAvgPool2d(1), "x.mean((2, 3))")


def _amax(call: Call) -> Value:
    """A maximum over all positions of a map."""
    return _over_all_positions(call, nn.MaxPool2d, "x.amax((2, 3))")


def _over_all_positions(call: Call, layer: Callable[[Pair], nn.Module], remedy: str) -> Value:
    source = call.solid("self")
    rank = len(source.shape) + 1
    dims = call.arguments.get("dim")
    dims = [dims] if isinstance(dims, int) else dims or list(range(rank))
    listed = sorted(dim % rank for dim in dims)
    channels, *sizes = source.base
    # The positions may have been put in a row.
    whole = listed == list(range(2, rank)) and source.shape[0] == channels and len(sizes) == 2
    if not whole:
        raise Refusal(f"{call.operator} over dimensions {listed} has no integer form", remedy)
    pooling = layer((sizes[0], sizes[1]))
    node = call.builder.emit(pooling, [source.node], call.place or call.operator)
    base = (channels, 1, 1)
    return Value(node=node, base=base, shape=call.shape, is_unsigned=source.is_unsigned)


def _window(arguments: dict[str, Any]) -> tuple[Pair, Pair, Pair]:
    kernel = _two(arguments["kernel_size"])
    stride = _two(arguments["stride"]) if arguments.get("stride") else kernel
    return kernel, stride, _two(arguments["padding"])


def _check_rounding(call: Call, source: Value, kernel: Pair, stride: Pair, padding: Pair) -> None:
    """Make sure that ceil mode, where it is on, gives what floor gives."""
    if not call.arguments.get("ceil_mode"):
        return
    sizes = zip(source.shape[1:], kernel, stride, padding, strict=True)
    floor = tuple((size + 2 * zeros - wide) // step + 1 for size, wide, step, zeros in sizes)
    if floor != call.shape[1:]:
        raise Refusal(
            f"ceil mode adds windows that reach over the edge ({_by(floor)} to "
            f"{_by(call.shape[1:])})",
            "ceil_mode=False, or a ReLU before it",
        )


def _extended(call: Call, source: Value, kernel: Pair, stride: Pair, padding: Pair) -> Value:
    """A map with the zeros below and on the right that the windows of ceil mode reach over.

    Where nothing is negative, they are never the largest.
    """
    sizes = zip(source.shape[1:], call.shape[1:], kernel, stride, padding, strict=True)
    below, right = (
        max(0, (out - 1) * step + wide - (size + 2 * zeros))
        for size, out, wide, step, zeros in sizes
    )
    if not (below or right):
        return source
    return call.builder.with_zeros(source, (0, 0, 0, below, 0, right))


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _two(value: Any) -> Pair:
    if isinstance(value, int):
        return value, value
    return value[0], value[-1]


RULES: dict[str, Rule] = {
    "max_pool2d": _max_pool,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _average_pool,
    "adaptive_avg_pool2d": _adaptive_average_pool,
    "_adaptive_avg_pool2d": _adaptive_average_pool,
    "adaptive_max_pool2d": _adaptive_max_pool,
    "mean": _mean,
    "amax": _amax,
}
