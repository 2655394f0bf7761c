"""Convolutions and pools: windows, and what stands around a map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.interchange.reading.bias import bias_of
from asq_hw.interchange.reading.floating.call import Call
from asq_hw.interchange.reading.floating.modules import Function, PaddedBefore
from asq_hw.interchange.reading.windows import Window, window_of

__all__ = ["average_pool", "convolution", "fill", "max_pool"]

_RANK = 4


def convolution(call: Call) -> nn.Module:
    """``Conv``."""
    weight = call.weights(1, "weights")
    if weight.dim() != _RANK or len(call.shape) != _RANK:
        raise call.node.refused(f"Conv must be of two dimensions, not {weight.dim() - 2}")
    window = window_of(call.node, call.shape, tuple(weight.shape[2:]))
    groups = call.node.integer("group", 1)
    outputs, inputs = weight.shape[:2]
    if groups < 1 or outputs % groups or inputs * groups != call.shape[1]:
        raise call.node.refused(
            f"weights {tuple(weight.shape)} in {groups} groups do not fit {call.shape[1]} channels"
        )
    given = call.constant(2, "bias")
    bias = None if given is None else call.as_tensor(bias_of(call.node, given, outputs), "bias")
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
    fill(made, weight, bias)
    return made if window.padding is not None else PaddedBefore(made, window.sides)


def fill(layer: nn.Conv2d | nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    """Give a layer its weights.

    Parameters
    ----------
    layer : nn.Conv2d or nn.Linear
        Changed in place.
    weight : Tensor of the layer's shape
    bias : Tensor of as many numbers as there are outputs, or None
    """
    with torch.no_grad():
        layer.weight = nn.Parameter(weight)
        if bias is not None:
            layer.bias = nn.Parameter(bias)


def max_pool(call: Call) -> nn.Module:
    """``MaxPool``."""
    if len([name for name in call.node.outputs if name]) > 1:
        raise call.node.refused("places of the largest values have no integer form")
    window = window_of(call.node, call.shape, call.node.integers("kernel_shape", []))
    ceil = bool(call.node.integer("ceil_mode", 0))
    padding = window.padding
    if padding is None and ceil and _ceil_matters(call, window):
        raise call.node.refused("ceil mode with padding on one side has no integer form")
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
    window = window_of(call.node, call.shape, call.node.integers("kernel_shape", []))
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


def _ceil_matters(call: Call, window: Window) -> bool:
    left, right, above, below = window.sides
    around = (above + below, left + right)
    return any(
        (size + border - (kernel - 1) * distance - 1) % stride
        for size, border, kernel, distance, stride in zip(
            call.shape[2:], around, window.kernel, window.dilation, window.stride, strict=True
        )
    )
