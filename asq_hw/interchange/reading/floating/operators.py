"""ONNX's operators as modules of torch's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.interchange.reading.bias import bias_of
from asq_hw.interchange.reading.dropout import check_dropout
from asq_hw.interchange.reading.floating.call import Call
from asq_hw.interchange.reading.floating.modules import Function, WithConstant, clamped
from asq_hw.interchange.reading.floating.windows import (
    average_pool,
    convolution,
    fill,
    max_pool,
)

__all__ = ["OPERATORS", "Operator"]

Operator = Callable[[Call], nn.Module]
"""Makes the module of a node; it takes the node's tensors, in order, without constants."""

_TRUE_SIXTH = 1e-6
"""How near to 1/6 a slope must be to be torch's own hard sigmoid."""


def _linear(call: Call) -> nn.Module:
    """``MatMul`` with a constant behind it."""
    call.tensor(0)
    weight = call.weights(1, "the second factor")
    if weight.dim() != 2 or call.shape[-1] != len(weight):
        raise call.node.refused(f"weights {tuple(weight.shape)} do not fit {call.shape}")
    made = nn.Linear(weight.shape[0], weight.shape[1], bias=False)
    fill(made, weight.T.contiguous(), None)
    return made


def _gemm(call: Call) -> nn.Module:
    """``Gemm`` with constant weights."""
    node = call.node
    if node.integer("transA", 0):
        raise node.refused("a transposed input has no integer form")
    weight = call.weights(1, "weights") * node.number("alpha", 1.0)
    weight = weight if node.integer("transB", 0) else weight.T
    if weight.dim() != 2 or len(call.shape) != 2 or call.shape[1] != weight.shape[1]:
        raise node.refused(f"weights {tuple(weight.shape)} do not fit {call.shape}")
    bias = call.constant(2, "bias")
    beta = node.number("beta", 1.0)
    vector = None
    if bias is not None:
        vector = call.as_tensor(bias_of(node, bias, len(weight)), "bias") * beta
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=vector is not None)
    fill(made, weight.contiguous(), vector)
    return made


def _batch_norm(call: Call) -> nn.Module:
    node = call.node
    if node.integer("training_mode", 0):
        raise node.refused("batch norm must be exported in evaluation mode")
    channels = call.shape[1]
    names = ("scale", "bias", "mean", "variance")
    values = [call.weights(place, name) for place, name in enumerate(names, start=1)]
    if any(value.shape != (channels,) for value in values):
        raise node.refused(f"batch norm must have {channels} numbers of each kind")
    kind = nn.BatchNorm2d if len(call.shape) == 4 else nn.BatchNorm1d
    made = kind(channels, eps=node.number("epsilon", 1e-5))
    named = zip(("weight", "bias", "running_mean", "running_var"), values, strict=True)
    made.load_state_dict(dict(named), strict=False)
    return made


def _leaky_relu(call: Call) -> nn.Module:
    return nn.LeakyReLU(call.node.number("alpha", 0.01))


def _hard_sigmoid(call: Call) -> nn.Module:
    slope, offset = call.node.number("alpha", 0.2), call.node.number("beta", 0.5)
    if abs(slope - 1 / 6) < _TRUE_SIXTH and offset == 0.5:
        return nn.Hardsigmoid()
    return Function(lambda x: torch.clamp(x * slope + offset, 0, 1))


def _clip(call: Call) -> nn.Module:
    if call.graph.opset < 11:
        given = [call.node.get(key) is not None for key in ("min", "max")]
        low, high = (
            call.node.number(key, 0.0) if is_given else None
            for key, is_given in zip(("min", "max"), given, strict=True)
        )
    else:
        low, high = call.scalar(1, "the lower bound"), call.scalar(2, "the upper bound")
    return clamped(low, high)


def _softmax(function: Callable[..., Tensor], call: Call) -> nn.Module:
    axis = call.node.integer("axis", -1 if call.graph.opset >= 13 else 1)
    if len(call.shape) != 2 or axis not in (1, -1):
        raise call.node.refused(f"{call.node.operator} is taken behind scores (N, classes) alone")
    return Function(lambda x: function(x, dim=1))


def _over_maps(function: Callable[..., Tensor], call: Call) -> nn.Module:
    axes = list(range(2, len(call.shape)))
    return Function(lambda x: function(x, axes, keepdim=True))


def _reduce_mean(call: Call) -> nn.Module:
    axes, keep = call.axes(18), bool(call.node.integer("keepdims", 1))
    is_nothing = call.node.integer("noop_with_empty_axes", 0)
    if not axes:
        if is_nothing:
            return nn.Identity()
        raise call.node.refused("what is computed over several images has no integer form")
    return Function(lambda x: torch.mean(x, axes, keepdim=keep))


def _binary(function: Callable[[Tensor, Tensor], Tensor], call: Call) -> nn.Module:
    """Two operands, one of which may be a constant; more are taken one after the other."""
    constants = [one for one in call.inputs if isinstance(one, np.ndarray)]
    if not constants:
        return Function(lambda *tensors: _chained(function, tensors))
    if len(call.inputs) != 2:
        raise call.node.refused(
            f"{call.node.operator} must have two operands where one is constant"
        )
    constant = call.as_tensor(constants[0], "an operand")
    is_first = isinstance(call.inputs[0], np.ndarray)
    return WithConstant(function, constant, is_first=is_first)


def _chained(function: Callable[[Tensor, Tensor], Tensor], tensors: tuple[Tensor, ...]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = function(total, tensor)
    return total


def _concat(call: Call) -> nn.Module:
    axis = call.node.integer("axis", 1)
    for place in range(len(call.inputs)):
        call.tensor(place)
    return Function(lambda *tensors: torch.cat(tensors, axis))


def _pad(call: Call) -> nn.Module:
    node, rank = call.node, len(call.shape)
    if (mode := node.text("mode", "constant")) != "constant":
        raise node.refused(f"padding of the mode {mode!r} has no integer form")
    if call.graph.opset < 11:
        pads, value = node.integers("pads", []), node.number("value", 0.0)
    else:
        pads, value = call.whole(1, "pads"), call.scalar(2, "the value of the padding") or 0.0
    axes = list(range(rank))
    if call.constant(3, "axes") is not None:
        axes = [axis % rank for axis in call.whole(3, "axes")]
    if len(pads) != 2 * len(axes):
        raise node.refused(f"pads must be {2 * len(axes)} integers, not {len(pads)}")
    half = len(axes)
    sides: dict[int, tuple[int, int]] = {
        axis: (pads[place], pads[place + half]) for place, axis in enumerate(axes)
    }
    if sides.pop(0, (0, 0)) != (0, 0):
        raise node.refused("images cannot be put beside the images of a batch")
    flat = [side for axis in reversed(range(1, rank)) for side in sides.get(axis, (0, 0))]
    return Function(lambda x: functional.pad(x, flat, value=value))


def _flatten(call: Call) -> nn.Module:
    if call.node.integer("axis", 1) != 1:
        raise call.node.refused("what lies in several images cannot be one vector")
    return nn.Flatten(1)


def _reshape(call: Call) -> nn.Module:
    target = call.whole(1, "the shape")
    if call.node.integer("allowzero", 0) and 0 in target:
        raise call.node.refused("a map must not be empty")
    if target and target[0] == call.graph.batch:
        target = [0, *target[1:]]  # as many images as there are
    own = call.shape
    if any(size == 0 and place >= len(own) for place, size in enumerate(target)):
        raise call.node.refused(f"the shape {target} does not fit {own}")
    rest = [own[place] if size == 0 else size for place, size in enumerate(target)][1:]
    if not target or (target[0] != 0 and (target[0] != -1 or -1 in rest)):
        raise call.node.refused(f"the shape {target} must keep the images of a batch apart")
    if target[0] == -1 and int(np.prod(rest)) != int(np.prod(own[1:])):
        raise call.node.refused(f"the shape {target} must keep the images of a batch apart")
    return Function(lambda x: x.reshape(x.shape[0], *rest))


def _squeeze(call: Call) -> nn.Module:
    axes = call.axes(13)
    if not axes:
        axes = [axis for axis, size in enumerate(call.shape) if size == 1 and axis]
    if any(call.shape[axis] != 1 for axis in axes):
        raise call.node.refused(f"axes {axes} of {call.shape} must have the size 1")
    return Function(lambda x: x.squeeze(tuple(axes)))


def _unsqueeze(call: Call) -> nn.Module:
    axes = call.node.integers("axes", []) if call.graph.opset < 13 else call.whole(1, "axes")
    rank = len(call.shape) + len(axes)
    places = sorted(axis % rank for axis in axes)
    if 0 in places:
        raise call.node.refused("what lies before the images of a batch has no integer form")

    def unsqueezed(x: Tensor) -> Tensor:
        for place in places:
            x = x.unsqueeze(place)
        return x

    return Function(unsqueezed)


def _transpose(call: Call) -> nn.Module:
    order = call.node.integers("perm", list(range(len(call.shape)))[::-1])
    if sorted(order) != list(range(len(call.shape))) or order[0] != 0:
        raise call.node.refused(f"the order {order} must keep the images of a batch first")
    return Function(lambda x: x.permute(order))


def _slice(call: Call) -> nn.Module:
    node, rank = call.node, len(call.shape)
    if call.graph.opset < 10:
        starts, ends = node.integers("starts", []), node.integers("ends", [])
        axes, steps = node.integers("axes", list(range(len(starts)))), [1] * len(starts)
    else:
        starts, ends = call.whole(1, "starts"), call.whole(2, "ends")
        has_axes, has_steps = (call.constant(place, "axes") is not None for place in (3, 4))
        axes = call.whole(3, "axes") if has_axes else list(range(len(starts)))
        steps = call.whole(4, "steps") if has_steps else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or min(steps, default=1) < 1:
        raise node.refused("a slice must have as many starts as ends, and steps from 1 on")
    if len({axis % rank for axis in axes}) < len(axes):
        raise node.refused(f"the axes {axes} must be named once each")
    parts: list[Any] = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        parts[axis % rank] = slice(*slice(start, end, step).indices(call.shape[axis % rank]))
    if parts[0] not in (slice(None), slice(0, call.shape[0], 1)):
        raise node.refused("images of a batch cannot be left out")
    parts[0] = slice(None)
    chosen = tuple(parts)
    return Function(lambda x: x[chosen])


def _cast(call: Call) -> nn.Module:
    if call.node.integer("to", 0) != 1:
        raise call.node.refused("a cast to another type than float has no integer form")
    return nn.Identity()


def _dropout(call: Call) -> nn.Module:
    call.tensor(0)
    check_dropout(call.node, call.constant(2, "whether it is trained"))
    return nn.Identity()


def _unchanged(call: Call) -> nn.Module:
    call.tensor(0)
    return nn.Identity()


OPERATORS: dict[str, Operator] = {
    "Conv": convolution,
    "Gemm": _gemm,
    "MatMul": _linear,
    "BatchNormalization": _batch_norm,
    "Relu": lambda call: nn.ReLU(),
    "LeakyRelu": _leaky_relu,
    "HardSwish": lambda call: nn.Hardswish(),
    "HardSigmoid": _hard_sigmoid,
    "Sigmoid": lambda call: nn.Sigmoid(),
    "Softmax": partial(_softmax, functional.softmax),
    "LogSoftmax": partial(_softmax, functional.log_softmax),
    "Clip": _clip,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": partial(_over_maps, torch.mean),
    "GlobalMaxPool": partial(_over_maps, torch.amax),
    "ReduceMean": _reduce_mean,
    "Add": partial(_binary, torch.add),
    "Sum": partial(_binary, torch.add),
    "Sub": partial(_binary, torch.sub),
    "Mul": partial(_binary, torch.mul),
    "Div": partial(_binary, torch.div),
    "Max": partial(_binary, torch.maximum),
    "Min": partial(_binary, torch.minimum),
    "Concat": _concat,
    "Pad": _pad,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Slice": _slice,
    "Cast": _cast,
    "Identity": _unchanged,
    "Dropout": _dropout,
}
"""By operator."""
