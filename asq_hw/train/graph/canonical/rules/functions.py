"""Functions of single values, and products of maps."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import fx, nn

from asq_hw.train.graph.canonical.call import Call, Rule
from asq_hw.train.graph.canonical.findings import Refusal
from asq_hw.train.graph.canonical.values import Value, operator_name, per_channel
from asq_hw.train.graph.pointwise import is_never_negative

__all__ = ["RULES", "applied", "gated", "gated_by_itself"]


def applied(call: Call, value: Value, module: nn.Module) -> Value:
    """What a module makes of each element, wherever it stands."""
    source = call.builder.solid(value)
    made = call.builder.emit(module, [source.node], call.place or call.operator)
    return replace(source, node=made, is_unsigned=is_never_negative(module), maker=None)


def _curve(make: Callable[[Call], nn.Module]) -> Rule:
    def rule(call: Call) -> Value:
        return applied(call, call.value("self"), make(call))

    return rule


def _elu(call: Call) -> nn.Module:
    arguments = call.arguments
    if arguments["scale"] != 1 or arguments["input_scale"] != 1:
        raise Refusal("elu with scales has no integer form", "use nn.ELU")
    return nn.ELU(float(arguments["alpha"]))


def _softplus(call: Call) -> nn.Module:
    return nn.Softplus(float(call.arguments["beta"]), float(call.arguments["threshold"]))


def _prelu(call: Call) -> Value:
    """One slope, or one for each channel."""
    value, weight = call.value("self"), call.constant("weight")
    assert weight is not None
    slopes = weight.reshape(-1) if weight.dim() == 1 else per_channel(weight, value.shape)
    if slopes is None or slopes.numel() not in (1, value.shape[0]):
        raise Refusal(f"{call.operator} with a slope that differs within a channel")
    module = nn.PReLU(slopes.numel())
    with torch.no_grad():
        module.weight.copy_(slopes)
    if slopes.numel() == 1:
        return applied(call, value, module)
    return call.emit(module, value, wanted=call.owner("weight"))


def _power(call: Call) -> Value:
    """The square."""
    exponent = call.arguments.get("exponent", 2)
    if exponent != 2:
        raise Refusal(f"{call.operator} to {exponent} has no integer form")
    value = call.value("self").shared()
    return gated(call, value, value)


def gated(call: Call, left: Value, right: Value) -> Value:
    """The product of a map and one that has each of its sizes or one element instead."""
    if len(left.shape) == len(right.shape):
        for first, second in ((left, right), (right, left)):
            pairs = zip(first.shape, second.shape, strict=True)
            if all(size in (1, of) for of, size in pairs):
                return _product(call, first, second)
    shapes = (" x ".join(map(str, value.shape)) for value in (left, right))
    raise Refusal(
        f"a product of {' and '.join(shapes)} has no integer form",
        "one must have the other's sizes, or 1, in every dimension",
    )


def _product(call: Call, first: Value, second: Value) -> Value:
    nodes = (call.builder.plain(first), call.builder.plain(second))
    made = call.builder.graph.call_function(operator.mul, nodes)
    unsigned = first.is_unsigned and second.is_unsigned
    return Value(node=made, base=first.shape, shape=first.shape, is_unsigned=unsigned)


_WITH_ITS_GATE: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.SiLU,
    "hardsigmoid": nn.Hardswish,
}
"""What a value times this function of itself is."""


def gated_by_itself(call: Call) -> Value | None:
    """``x * sigmoid(x)`` as one function, or None where a product is something else."""
    nodes = [call.arguments[name] for name in ("self", "other")]
    for value, gate in (nodes, nodes[::-1]):
        if not isinstance(gate, fx.Node) or not isinstance(value, fx.Node):
            continue
        if operator_name(gate) in _WITH_ITS_GATE and gate.args[0] is value:
            return applied(call, call.operand(value), _WITH_ITS_GATE[operator_name(gate)]())
    return None


RULES: dict[str, Rule] = {
    "hardswish": _curve(lambda call: nn.Hardswish()),
    "hardsigmoid": _curve(lambda call: nn.Hardsigmoid()),
    "silu": _curve(lambda call: nn.SiLU()),
    "gelu": _curve(lambda call: nn.GELU(call.arguments["approximate"])),
    "tanh": _curve(lambda call: nn.Tanh()),
    "mish": _curve(lambda call: nn.Mish()),
    "selu": _curve(lambda call: nn.SELU()),
    "celu": _curve(lambda call: nn.CELU(float(call.arguments["alpha"]))),
    "elu": _curve(_elu),
    "softplus": _curve(_softplus),
    "log_sigmoid": _curve(lambda call: nn.LogSigmoid()),
    "leaky_relu": _curve(lambda call: nn.LeakyReLU(float(call.arguments["negative_slope"]))),
    "abs": _curve(lambda call: nn.LeakyReLU(-1.0)),
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
    "square": _power,
    "pow": _power,
}
