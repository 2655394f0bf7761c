"""Convolutions, linear layers and batch norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from asq_hw.train.graph.canonical.call import Call, Rule
from asq_hw.train.graph.canonical.findings import FindingKind, Refusal
from asq_hw.train.graph.canonical.values import Value

__all__ = ["RULES"]


def _convolution(call: Call) -> Value:
    """``conv2d``, with padding as numbers or as a word."""
    arguments = call.arguments
    weight, bias = call.constant("weight"), call.constant("bias")
    source = call.value("input")
    assert weight is not None
    if weight.dim() != 4:
        raise Refusal(f"a convolution in {weight.dim() - 2} dimensions has no integer form")
    kernel = tuple(weight.shape[2:])
    dilation = _two(arguments["dilation"])
    span = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    padding, source = _padding(call, arguments.get("padding", 0), span, source)
    groups = arguments["groups"]
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        kernel,  # type: ignore[arg-type]
        stride=_two(arguments["stride"]),
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias is not None,
    )
    _fill(layer, weight, bias)
    return call.emit(layer, source, wanted=call.owner("weight"), maker=layer)


def _general_convolution(call: Call) -> Value:
    """``convolution``, which may also be transposed."""
    if call.arguments["transposed"]:
        raise Refusal("a transposed convolution has no integer form")
    return _convolution(call)


def _padding(
    call: Call, given: Any, kernel: Sequence[int], source: Value
) -> tuple[tuple[int, int], Value]:
    """Zeros above and below, left and right: the convolution's own and those of its source."""
    if given == "valid":
        given = 0
    if given == "same":
        if not source.is_padded:
            node = call.builder.plain(source)
            source = replace(source, node=node, base=source.shape, moved=None)
        rows, columns = ((size - 1) for size in kernel)
        above, below, left, right = source.padding
        more = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
        sums = (above + more[0], below + more[1], left + more[2], right + more[3])
        channels, height, width = source.shape
        shape = (channels, height + rows, width + columns)
        given, source = 0, replace(source, padding=sums, shape=shape)
    if not source.is_even:
        source = call.builder.solid(source)
    zeros, inside = source.unpadded()
    own = _two(given)
    return (own[0] + zeros[0], own[1] + zeros[1]), inside


def _linear(call: Call) -> Value:
    """``linear``, and ``addmm`` and ``mm`` as others write it."""
    arguments = call.arguments
    match call.operator:
        case "linear":
            source, weight, bias = (
                call.value("input"),
                call.constant("weight"),
                call.constant("bias"),
            )
            owner = call.owner("weight")
        case "addmm":
            if (arguments["alpha"], arguments["beta"]) != (1, 1):
                raise Refusal("addmm with factors has no integer form", "use nn.Linear")
            source, weight, bias = call.value("mat1"), call.constant("mat2"), call.constant("self")
            owner = call.owner("mat2")
        case name:
            other = "other" if name == "matmul" else "mat2"
            source, weight, bias = call.value("self"), call.constant(other), None
            owner = call.owner(other)
    assert weight is not None
    if weight.dim() != 2 or len(source.shape) != 1:
        raise Refusal(
            f"{call.operator} of maps or sequences has no integer form",
            "flatten before it, or use a 1 x 1 convolution",
        )
    if call.operator != "linear":
        weight = weight.T
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(layer, weight, bias)
    return call.emit(layer, source, wanted=owner, maker=layer)


def _batch_norm(call: Call) -> Value:
    """Batch norm with its running statistics."""
    mean, variance = call.constant("running_mean"), call.constant("running_var")
    assert mean is not None and variance is not None
    return _normalized(call, mean, variance)


def _untracked_batch_norm(call: Call) -> Value:
    """Batch norm with the statistics of the batch, which become those of the example."""
    if call.arguments.get("running_mean") is not None:
        return _batch_norm(call)
    (source,) = (node for node in call.node.all_input_nodes if node in call.builder.values)
    batch = call.builder.activations(source)
    others = [dim for dim in range(batch.dim()) if dim != 1]
    call.note(
        FindingKind.REWRITTEN,
        "a batch norm that tracks no statistics takes those of the example",
        "track_running_stats=True keeps those of the training",
    )
    return _normalized(call, batch.mean(others), batch.var(others, unbiased=False))


def _normalized(call: Call, mean: Tensor, variance: Tensor) -> Value:
    source = call.value("input")
    eps = float(call.arguments["eps"])
    weight, bias = call.constant("weight"), call.constant("bias")
    weight = torch.ones_like(mean) if weight is None else weight
    bias = torch.zeros_like(mean) if bias is None else bias
    if not isinstance(source.maker, nn.Conv2d) or source.shape != source.base:
        scale = weight / torch.sqrt(variance + eps)
        each = (-1, *[1] * (len(source.shape) - 1))
        return call.scaled("input", scale.reshape(each), (bias - mean * scale).reshape(each))
    layer = nn.BatchNorm2d(len(mean), eps=eps, momentum=_momentum(call))
    _fill(layer, weight, bias)
    assert layer.running_mean is not None and layer.running_var is not None
    layer.running_mean.copy_(mean)
    layer.running_var.copy_(variance)
    return call.emit(layer, source, wanted=call.owner("weight"), maker=layer)


def _momentum(call: Call) -> float:
    momentum = call.arguments.get("momentum")
    return 0.1 if momentum is None else float(momentum)


@torch.no_grad()
def _fill(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    if not weight.is_floating_point() or weight.dtype not in (torch.float32, torch.float64):
        raise Refusal(f"weights must be float32 or float64, not {weight.dtype}", "call .float()")
    assert isinstance(layer.weight, nn.Parameter)
    layer.weight.copy_(weight)
    if bias is not None:
        assert isinstance(layer.bias, nn.Parameter)
        layer.bias.copy_(bias)


def _two(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


RULES: dict[str, Rule] = {
    "conv2d": _convolution,
    "convolution": _general_convolution,
    "linear": _linear,
    "addmm": _linear,
    "mm": _linear,
    "matmul": _linear,
    "batch_norm": _untracked_batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "_native_batch_norm_legit": _untracked_batch_norm,
    "native_batch_norm": _untracked_batch_norm,
    "cudnn_batch_norm": _untracked_batch_norm,
}
