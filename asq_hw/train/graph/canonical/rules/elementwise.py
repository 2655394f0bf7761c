"""What is done to each element: rectifiers, sums, constants, and what changes nothing."""

from __future__ import annotations

import math
import operator
from dataclasses import replace

from torch import Tensor, fx, nn

from asq_hw.train.graph.canonical.call import Call, Rule
from asq_hw.train.graph.canonical.findings import FindingKind, Refusal
from asq_hw.train.graph.canonical.rules.functions import applied, gated, gated_by_itself
from asq_hw.train.graph.canonical.values import Value, operator_name

__all__ = ["RULES"]


def _same(call: Call) -> Value:
    """An operator that gives back what it is given."""
    value = call.unsettled("self" if "self" in call.arguments else "input")
    kept = call.node.meta["val"]
    source = call.node.all_input_nodes[0].meta["val"]
    if kept.dtype != source.dtype:
        raise Refusal(f"a conversion to {kept.dtype} has no integer form", "keep to one type")
    return value


def _copy(call: Call) -> Value:
    """A copy, or dropout: in evaluation mode the two are one, but training goes on."""
    value = _same(call)
    modules = dict(call.builder.original.named_modules())
    dropout = modules.get(call.place)
    if type(dropout) not in (nn.Dropout, nn.Dropout2d) or value.is_padded:
        return value
    assert isinstance(dropout, nn.Dropout | nn.Dropout2d)
    if value.shape != value.base or value.moved is not None:
        return value
    layer = type(dropout)(dropout.p)
    made = call.builder.emit(layer, [value.node], call.place)
    return replace(value, node=made, maker=None)


def _relu(call: Call) -> Value:
    return _rectified(call, None)


def _clamp(call: Call) -> Value:
    """``clamp``, ``hardtanh`` and their like, where they rectify."""
    arguments = call.arguments
    low = arguments.get("min", arguments.get("min_val"))
    high = arguments.get("max", arguments.get("max_val"))
    low = -math.inf if low is None else _number(call, low)
    high = math.inf if high is None else _number(call, high)
    if high <= low:
        raise Refusal(f"{call.operator} between {low:g} and {high:g} leaves nothing")
    value = call.value(_first(call))
    if low != 0 and not (value.is_unsigned and low < 0 < high):
        return applied(call, value, nn.Hardtanh(low, high))
    return _rectified(call, None if math.isinf(high) else high)


def _rectified(call: Call, maximum: float | None) -> Value:
    source = call.solid(_first(call))
    layer: nn.Module
    if maximum is None:
        layer = nn.ReLU()
    else:
        layer = nn.ReLU6() if maximum == 6 else nn.Hardtanh(0.0, maximum)
    made = call.builder.emit(layer, [source.node], call.place or call.operator)
    return replace(source, node=made, is_unsigned=True, maker=None)


def _threshold(call: Call) -> Value:
    if _number(call, call.arguments["threshold"]) or _number(call, call.arguments["value"]):
        raise Refusal("a threshold other than 0 has no integer form", "use ReLU")
    return _rectified(call, None)


def _first(call: Call) -> str:
    return "self" if "self" in call.arguments else "input"


def _number(call: Call, value: object) -> float:
    """A number, or a constant tensor of one."""
    if isinstance(value, int | float):
        return float(value)
    constant = call.builder.constants.get(value) if isinstance(value, fx.Node) else None
    if not isinstance(constant, Tensor) or constant.numel() != 1:
        raise Refusal(f"{call.operator} with a bound that is no number has no integer form")
    return float(constant)


def _maximum(call: Call) -> Value:
    """The larger of a value and zero."""
    names = [name for name in ("self", "other") if _is_constant(call, name)]
    if len(names) != 1 or bool((call.constant(names[0]) != 0).any()):  # type: ignore[union-attr]
        raise Refusal("the maximum of two maps has no integer form")
    source = call.value("other" if names == ["self"] else "self")
    made = call.builder.emit(nn.ReLU(), [call.builder.plain(source)], call.place or call.operator)
    return Value(node=made, base=source.shape, shape=source.shape, is_unsigned=True)


def _is_constant(call: Call, name: str) -> bool:
    argument = call.arguments.get(name)
    return not isinstance(argument, fx.Node) or argument in call.builder.constants


def _add(call: Call) -> Value:
    """A sum of two values, or of one and a constant."""
    factor = call.arguments.get("alpha", 1)
    for name, other in (("self", "other"), ("other", "self")):
        if _is_constant(call, other):
            constant = call.constant(other)
            assert constant is not None
            scaled = constant * (factor if other == "other" else 1)
            if name == "other" and factor != 1:
                return call.scaled(name, float(factor), scaled)
            return call.scaled(name, 1.0, scaled)
    return _sum(call, call.value("self"), call.scaled("other", float(factor), 0.0))


def _sum(call: Call, left: Value, right: Value) -> Value:
    if left.shape != right.shape:
        raise Refusal(
            f"a sum of {_written(left)} and {_written(right)} has no integer form",
            "only maps of one shape can be added",
        )
    if left.base == right.base and not (left.is_padded or right.is_padded):
        nodes, base = [left.node, right.node], left.base
    else:
        nodes, base = [call.builder.plain(left), call.builder.plain(right)], left.shape
    made = call.builder.graph.call_function(operator.add, tuple(nodes))
    unsigned = left.is_unsigned and right.is_unsigned
    return Value(node=made, base=base, shape=left.shape, is_unsigned=unsigned)


def _written(value: Value) -> str:
    return " x ".join(map(str, value.shape))


def _subtract(call: Call) -> Value:
    """A value less a constant, a constant less a value, or a difference of two values."""
    if call.operator == "rsub":  # other - alpha * self
        constant, factor = call.constant("other"), call.arguments["alpha"]
        assert constant is not None
        return call.scaled("self", -float(factor), constant)
    factor = float(call.arguments.get("alpha", 1))
    if _is_constant(call, "other"):
        constant = call.constant("other")
        assert constant is not None
        return call.scaled("self", 1.0, -factor * constant)
    if _is_constant(call, "self"):
        constant = call.constant("self")
        assert constant is not None
        return call.scaled("other", -factor, constant)
    return _sum(call, call.value("self"), call.scaled("other", -factor, 0.0))


def _multiply(call: Call) -> Value:
    for name, other in (("self", "other"), ("other", "self")):
        if _is_constant(call, other):
            constant = call.constant(other)
            assert constant is not None
            return call.scaled(name, constant, 0.0)
    own = gated_by_itself(call)
    return gated(call, call.value("self"), call.value("other")) if own is None else own


def _divide(call: Call) -> Value:
    if not _is_constant(call, "other") or call.arguments.get("rounding_mode"):
        raise Refusal("a division of maps has no integer form")
    constant = call.constant("other")
    assert constant is not None
    if bool((constant == 0).any()):
        raise Refusal("a division by zero")
    return call.scaled("self", 1 / constant, 0.0)


def _negate(call: Call) -> Value:
    return call.scaled("self", -1.0, 0.0)


def _monotone_at_the_end(call: Call) -> Value:
    """What keeps the order of a result's channels is left out, where it comes last.

    A sigmoid is left out behind the only result, a vector: other results may be no scores.
    """
    results = call.builder.capture.results
    result = _result_behind(call.node, set(results.values()))
    value = call.value(_first(call))
    is_sigmoid = call.operator == "sigmoid"
    if is_sigmoid and (result is None or len(results) > 1 or len(value.shape) != 1):
        return applied(call, value, nn.Sigmoid())
    if result is None:
        raise Refusal(f"{call.operator} inside of a network has no integer form")
    rank = len(value.shape)
    if not is_sigmoid and (rank not in (1, 3) or call.arguments["dim"] not in (1, -rank)):
        raise Refusal(
            f"{call.operator} along dimension {call.arguments['dim']} has no integer form"
        )
    call.note(FindingKind.DROPPED, f"{call.operator} at the end: it keeps the order of the scores")
    rest = {name: given for name, given in call.arguments.items() if name != _first(call)}
    target, before = call.node.target, call.builder.tails.get(result)

    def tail(scores: Tensor) -> Tensor:
        made: Tensor = target(scores if before is None else before(scores), **rest)  # type: ignore[operator]
        return made

    call.builder.tails[result] = tail
    return value


def _result_behind(node: fx.Node, results: set[fx.Node]) -> fx.Node | None:
    """The result that a node is, but for what keeps order; None if it is something else too."""
    while node not in results:
        users = list(node.users)
        if len(users) != 1 or operator_name(users[0]) not in _KEEP_ORDER:
            return None
        node = users[0]
    return node if len(node.users) == 1 else None


_KEEP_ORDER = {
    "softmax", "_softmax", "log_softmax", "_log_softmax", "sigmoid", "clone", "alias", "detach",
}  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("alias", "contiguous", "detach", "lift_fresh", "lift_fresh_copy", "_to_copy", "to"), _same
    ),
    "clone": _copy,
    "dropout": _copy,
    "relu": _relu,
    "relu6": lambda call: _rectified(call, 6.0),
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "hardtanh": _clamp,
    "threshold": _threshold,
    "maximum": _maximum,
    "add": _add,
    "sub": _subtract,
    "rsub": _subtract,
    "mul": _multiply,
    "div": _divide,
    "neg": _negate,
    **dict.fromkeys(
        ("softmax", "_softmax", "log_softmax", "_log_softmax", "sigmoid"), _monotone_at_the_end
    ),
}
