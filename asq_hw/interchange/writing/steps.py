"""Step sizes, fixed or computed for every sample (docs/arithmetic.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable
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
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.fixedpoint import exp2
from asq_hw.numbers.widths import MAX_FEATURE_BITS

__all__ = ["STEP_WRITERS", "write_step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWriter:
    """How a kind of step is written.

    Parameters
    ----------
    write : callable
        Takes the graph, the quantizer, its step and X (int64); returns the step.
    fields : frozenset of str
        What it takes into account.
    """

    write: Callable[[GraphWriter, ActivationQuantizer, Any, Callable[[], str]], Step]
    fields: frozenset[str]


def write_step(
    graph: GraphWriter, layer: str, quantizer: ActivationQuantizer, integers: Callable[[], str]
) -> Step:
    """A quantizer's step ``D``.

    Parameters
    ----------
    graph : GraphWriter
    layer : str
        For messages.
    quantizer : ActivationQuantizer
    integers : callable
        Makes X of the map that is quantized, int64, where it is needed.

    Raises
    ------
    InputError
        If it has no form in ONNX.
    """
    writer = STEP_WRITERS.get(type(quantizer.step))
    if writer is None:
        raise InputError(f"{layer}: {type(quantizer.step).__name__} has no form in ONNX")
    check_known(layer, quantizer, frozenset({"grid", "step", "step_fraction_bits"}))
    check_known(layer, quantizer.step, writer.fields)
    return writer.write(graph, quantizer, quantizer.step, integers)


def _fixed(
    graph: GraphWriter, quantizer: ActivationQuantizer, step: FixedStep, integers: object
) -> Step:
    del graph, quantizer, integers
    return step.step


def _adaptive(
    graph: GraphWriter,
    quantizer: ActivationQuantizer,
    step: AdaptiveStep,
    integers: Callable[[], str],
) -> Step:
    del quantizer
    values = _means(graph, step, integers())
    for stage in step.stages:
        values = _stage(graph, stage, values)
    return _by_sample(graph, values)


def _log_linear(
    graph: GraphWriter,
    quantizer: ActivationQuantizer,
    step: LogLinearStep,
    integers: Callable[[], str],
) -> Step:
    del quantizer
    means = _means(graph, step, integers())
    total = graph.op("MatMul", means, graph.constant(step.weight[:, None]))
    scaled = rshift(graph, multiply(graph, total, step.multiplier), step.shift)
    exponent = clamp(graph, add(graph, scaled, step.offset), step.lowest, step.highest)
    table = [exp2(value) for value in range(step.lowest, step.highest + 1)]
    place = add(graph, exponent, -step.lowest)
    return _by_sample(graph, graph.op("Gather", graph.constant(table), place))


def _shared_exponent(
    graph: GraphWriter,
    quantizer: ActivationQuantizer,
    step: SharedExponentStep,
    integers: Callable[[], str],
) -> Step:
    magnitude = graph.op("Abs", integers())
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
    SharedExponentStep: StepWriter(write=_shared_exponent, fields=frozenset({"lowest", "highest"})),
}
"""Every kind of step that can be written."""
