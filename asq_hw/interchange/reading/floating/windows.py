"""Convolutions and pools: windows, and what stands around a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.interchange.reading.floating.call import Call
from asq_hw.interchange.reading.floating.modules import Function, PaddedBefore

__all__ = ["average_pool", "convolution", "max_pool"]

_RANK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Pairs, down and across; `sides` are left, right, above and below."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    sides: tuple[int, int, int, int]

    @property
    def padding(self) -> tuple[int, int] | None:
        """Where it is the same on both sides."""
        left, right, above, below = self.sides
        return (above, left) if (left, above) == (right, below) else None


def convolution(call: Call) -> nn.Module:
    """``Conv``."""
    weight = call.weights(1, "weights")
    if weight.dim() != _RANK or len(call.shape) != _RANK:
        raise call.node.refused(f"Conv must be of two dimensions, not {weight.dim() - 2}")
    window = _window(call, tuple(weight.shape[2:]))
    groups = call.node.integer("group", 1)
    outputs, inputs = weight.shape[:2]
    if groups < 1 or outputs % groups or inputs * groups != call.shape[1]:
        raise call.node.refused(
            f"weights {tuple(weight.shape)} in {groups} groups do not fit {call.shape[1]} channels"
        )
    bias = None if call.constant(2, "bias") is None else call.weights(2, "bias")
    made = nn.Conv2d(
        inputs * groups,
        outputs,
        window.kernel,
        stride=window.stride,
        padding=window.padding or (0, 0),
        dilation=window.dilation,
        groups=groups,
        bias=bias is not None,
    )
    fill(call, made, weight, bias)
    return made if window.padding is not None else PaddedBefore(made, window.sides)


def fill(call: Call, layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    """Give a layer its weights.

    Raises
    ------
    InputError
        If there are not as many biases as outputs.
    """
    if bias is not None and bias.numel() != len(weight):
        raise call.node.refused(f"bias must be {len(weight)} numbers, not {bias.numel()}")
    with torch.no_grad():
        layer.weight = nn.Parameter(weight)
        if bias is not None:
            layer.bias = nn.Parameter(bias.reshape(-1))


def max_pool(call: Call) -> nn.Module:
    """``MaxPool``."""
    if len([name for name in call.node.outputs if name]) > 1:
        raise call.node.refused("places of the largest values have no integer form")
    window = _window(call, call.node.integers("kernel_shape", []))
    ceil = bool(call.node.integer("ceil_mode", 0))
    padding = window.padding
    pool = Function(
        lambda x: functional.max_pool2d(
            x,
            window.kernel,
            window.stride,
            padding or (0, 0),
            dilation=window.dilation,
            ceil_mode=ceil,
        )
    )
    return pool if padding is not None else PaddedBefore(pool, window.sides, float("-inf"))


def average_pool(call: Call) -> nn.Module:
    """``AveragePool``."""
    window = _window(call, call.node.integers("kernel_shape", []))
    counts = bool(call.node.integer("count_include_pad", 0))
    if call.node.integer("ceil_mode", 0) and _ceil_matters(call, window):
        raise call.node.refused("ceil mode with windows over the edge has no integer form")
    if window.dilation != (1, 1):
        raise call.node.refused("a dilated average has no integer form")
    padding = window.padding
    if padding is None and not counts:
        raise call.node.refused("an average with padding on one side must count the padding")
    pool = Function(
        lambda x: functional.avg_pool2d(
            x, window.kernel, window.stride, padding or (0, 0), count_include_pad=counts
        )
    )
    return pool if padding is not None else PaddedBefore(pool, window.sides)


def _ceil_matters(call: Call, window: _Window) -> bool:
    left, right, above, below = window.sides
    around = (above + below, left + right)
    return any(
        (size + border - kernel) % stride
        for size, border, kernel, stride in zip(
            call.shape[2:], around, window.kernel, window.stride, strict=True
        )
    )


def _window(call: Call, kernel: Sequence[int]) -> _Window:
    """The window of a node, checked."""
    if len(call.shape) != _RANK:
        raise call.node.refused(f"{call.node.operator} must have images, not {call.shape}")
    given = call.node.integers("kernel_shape", list(kernel))
    if given != list(kernel):
        raise call.node.refused(f"kernel_shape must be {list(kernel)}, not {given}")
    stride = _pair(call, "strides", call.node.integers("strides", (1, 1)), 1)
    dilation = _pair(call, "dilations", call.node.integers("dilations", (1, 1)), 1)
    size = _pair(call, "kernel_shape", kernel, 1)
    return _Window(
        kernel=size, stride=stride, dilation=dilation, sides=_sides(call, size, stride, dilation)
    )


def _pair(call: Call, what: str, values: Sequence[int], low: int) -> tuple[int, int]:
    if len(values) != 2 or min(values) < low or max(values) >= 1 << 16:
        raise call.node.refused(f"{what} must be two integers from {low} on, not {list(values)}")
    return values[0], values[1]


def _sides(
    call: Call, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    mode = call.node.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return 0, 0, 0, 0
    if mode == "NOTSET":
        pads = call.node.integers("pads", (0, 0, 0, 0))
        if len(pads) != 4 or min(pads) < 0:
            raise call.node.refused(f"pads must be four integers from 0 on, not {pads}")
        above, left, below, right = pads
        return left, right, above, below
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise call.node.refused(f"auto_pad {mode!r} is not known")
    pairs = []
    for axis, size in enumerate(call.shape[2:]):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        total = max(0, (-(-size // stride[axis]) - 1) * stride[axis] + reach - size)
        less, more = total // 2, total - total // 2
        pairs.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return *pairs[1], *pairs[0]
