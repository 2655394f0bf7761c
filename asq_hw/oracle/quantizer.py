"""The activation quantizer (section 4), one sample at a time."""

from __future__ import annotations

from bisect import bisect_right
from typing import assert_never

from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.oracle.arithmetic import clamp, rshift
from asq_hw.oracle.codes import code_range
from asq_hw.oracle.plain import Tensor, each

__all__ = ["quantize", "step_size"]


def step_size(quantizer: ActivationQuantizer, source: Tensor) -> int:
    """``D`` of one sample."""
    step = quantizer.step
    match step:
        case FixedStep():
            return step.step
        case AdaptiveStep():
            values = [
                rshift(step.pool_multiplier * sum(map(sum, plane)), step.pool_shift)
                for plane in source
            ]
            for stage in step.stages:
                values = _run_stage(stage, values)
            return values[0]
        case _:
            assert_never(step)


def _run_stage(stage: AdapterStage, values: list[int]) -> list[int]:
    outputs = []
    for weights, bias in zip(stage.weight.tolist(), stage.bias.tolist(), strict=True):
        total = bias + sum(w * v for w, v in zip(weights, values, strict=True))
        scaled = rshift(total * stage.multiplier, stage.shift)
        outputs.append(clamp(scaled, stage.minimum, stage.maximum))
    return outputs


def quantize(quantizer: ActivationQuantizer, step: int, source: Tensor) -> Tensor:
    """Activation codes by the contract's second form: `low` and one for each threshold reached."""
    low, high = code_range(quantizer)
    doubled = 2 * 2**quantizer.step_fraction_bits
    thresholds = [(2 * k - 1) * step for k in range(low + 1, high + 1)]
    return each(lambda x: low + bisect_right(thresholds, x * doubled), source)
