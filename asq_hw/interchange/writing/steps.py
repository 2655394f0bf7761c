"""Step sizes, fixed or computed for every sample (docs/arithmetic.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from asq_hw.errors import InputError
from asq_hw.interchange.writing.dialect import Step
from asq_hw.interchange.writing.graph import GraphWriter
from asq_hw.interchange.writing.integers import add, clamp, multiply, rshift
from asq_hw.interchange.writing.known import check_known
from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.fixedpoint import exp2
from asq_hw.numbers.widths import MAX_FEATURE_BITS

__all__ = ["STEP_WRITERS", "Quantizing", "write_step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWriter:
    """How a kind of step is written.

    Parameters
    ----------
    write : callable
        Takes what is in hand, and a step; returns its tensor or constant.
    fields : frozenset of str
        What it takes into account.
    """

    write: Callable[[Quantizing, Any], Step]
    fields: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizing:
    """What a step is written from.

    Parameters
    ----------
    graph : GraphWriter
    quantizer : ActivationQuantizer
        The step's.
    integers : callable
        Makes X of the map that is quantized, int64, where it is needed.
    earlier : mapping of str to Step
        The steps of the layers before.
    """

    graph: GraphWriter
    quantizer: ActivationQuantizer
    integers: Callable[[], str]
    earlier: Mapping[str, Step]


def write_step(layer: str, given: Quantizing) -> Step:
    """A quantizer's step ``D``.

    Parameters
    ----------
    layer : str
        For messages.
    given : Quantizing
        What it is written from.

    Raises
    ------
    InputError
        If it has no form in ONNX.
    """
    quantizer = given.quantizer
    writer = STEP_WRITERS.get(type(quantizer.step))
    if writer is None:
        raise InputError(f"{layer}: {type(quantizer.step).__name__} has no form in ONNX")
    check_known(layer, quantizer, frozenset({"grid", "step", "step_fraction_bits"}))
    check_known(layer, quantizer.step, writer.fields)
    return writer.write(given, quantizer.step)


def _fixed(given: Quantizing, step: FixedStep) -> Step:
    del given
    return step.step


def _adaptive(given: Quantizing, step: AdaptiveStep) -> Step:
    graph = given.graph
    values = _means(graph, step, given.integers())
    for stage in step.stages:
        values = _stage(graph, stage, values)
    return _by_sample(graph, values)


def _log_linear(given: Quantizing, step: LogLinearStep) -> Step:
    graph = given.graph
    means = _means(graph, step, given.integers())
    total = graph.op("MatMul", means, graph.constant(step.weight[:, None]))
    scaled = rshift(graph, multiply(graph, total, step.multiplier), step.shift)
    exponent = clamp(graph, add(graph, scaled, step.offset), step.lowest, step.highest)
    table = [exp2(value) for value in range(step.lowest, step.highest + 1)]
    place = add(graph, exponent, -step.lowest)
    return _by_sample(graph, graph.op("Gather", graph.constant(table), place))


def _shared_adapter(given: Quantizing, step: SharedAdapterStep) -> Step:
    graph, first = given.graph, given.earlier[step.layer]
    assert isinstance(first, str), "an adapter's step is a tensor"
    scaled = rshift(graph, multiply(graph, first, step.multiplier), step.shift)
    return clamp(graph, scaled, step.minimum, step.maximum)


def _shared_exponent(given: Quantizing, step: SharedExponentStep) -> Step:
    graph, quantizer = given.graph, given.quantizer
    magnitude = graph.op("Abs", given.integers())
    axes = graph.constant([1, 2, 3])
    largest = graph.op("ReduceMax", magnitude, axes, keepdims=1)
    # The exponent is how many powers of two from 2 on the largest value reaches.
    powers = graph.constant([2**k for k in range(1, MAX_FEATURE_BITS)])
    reached = graph.cast(graph.op("GreaterOrEqual", largest, powers), np.int64)
    exponent = graph.op("ReduceSum", reached, graph.constant([3]), keepdims=1)
    table = [
        1 << min(max(k + quantizer.exponent_shift, step.lowest), step.highest)
        for k in range(MAX_FEATURE_BITS)
    ]
    return graph.op("Gather", graph.constant(table), exponent)


def _means(graph: GraphWriter, step: AdaptiveStep | LogLinearStep, integers: str) -> str:
    """``p``, (N, C)."""
    sums = graph.op("ReduceSum", integers, graph.constant([2, 3]), keepdims=0)
    return rshift(graph, multiply(graph, sums, step.pool_multiplier), step.pool_shift)


def _stage(graph: GraphWriter, stage: AdapterStage, values: str) -> str:
    """One stage's outputs, (N, outputs)."""
    total = graph.op("MatMul", values, graph.constant(stage.weight.T))
    scaled = multiply(graph, add(graph, total, stage.bias), stage.multiplier)
    return clamp(graph, rshift(graph, scaled, stage.shift), stage.minimum, stage.maximum)


def _by_sample(graph: GraphWriter, values: str) -> str:
    """(N, 1) as (N, 1, 1, 1)."""
    return graph.op("Reshape", values, graph.constant([0, 1, 1, 1]))


STEP_WRITERS: dict[type, StepWriter] = {
    FixedStep: StepWriter(write=_fixed, fields=frozenset({"step"})),
    AdaptiveStep: StepWriter(
        write=_adaptive, fields=frozenset({"pool_multiplier", "pool_shift", "stages"})
    ),
    LogLinearStep: StepWriter(
        write=_log_linear,
        fields=frozenset(
            {
                "pool_multiplier",
                "pool_shift",
                "weight",
                "multiplier",
                "shift",
                "offset",
                "lowest",
                "highest",
            }
        ),
    ),
    SharedAdapterStep: StepWriter(
        write=_shared_adapter,
        fields=frozenset({"layer", "multiplier", "shift", "minimum", "maximum"}),
    ),
    SharedExponentStep: StepWriter(write=_shared_exponent, fields=frozenset({"lowest", "highest"})),
}
"""Every kind of step that can be written."""
