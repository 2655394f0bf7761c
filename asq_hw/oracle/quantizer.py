"""The activation quantizer (section 4), one sample at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import assert_never

from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.oracle.arithmetic import R2, clamp, exp2, rshift
from asq_hw.oracle.codes import code_range, odd_code_range
from asq_hw.oracle.plain import Tensor, each

__all__ = ["quantize", "quantize_odd", "step_size"]


def step_size(quantizer: ActivationQuantizer, source: Tensor, earlier: Mapping[str, int]) -> int:
    """``D`` of one sample.

    Parameters
    ----------
    quantizer : ActivationQuantizer
        The layer's.
    source : nested lists (C, H, W)
        ``X``.
    earlier : mapping of str to int
        The sample's steps in the layers before.
    """
    step = quantizer.step
    match step:
        case FixedStep():
            return step.step
        case AdaptiveStep():
            values = _means(step, source)
            for stage in step.stages:
                values = _run_stage(stage, values)
            return values[0]
        case LogLinearStep():
            products = zip(step.weight.tolist(), _means(step, source), strict=True)
            exponent = rshift(sum(w * p for w, p in products) * step.multiplier, step.shift)
            return exp2(clamp(exponent + step.offset, step.lowest, step.highest))
        case SharedExponentStep():
            largest = max(abs(x) for plane in source for row in plane for x in row)
            exponent = _floor_log2(max(1, largest)) - _floor_log2(code_range(quantizer)[1])
            exponent += quantizer.step_fraction_bits
            return 1 << clamp(exponent, step.lowest, step.highest)
        case SharedAdapterStep():
            shared = rshift(earlier[step.layer] * step.multiplier, step.shift)
            return clamp(shared, step.minimum, step.maximum)
        case _:
            assert_never(step)


def _means(step: AdaptiveStep | LogLinearStep, source: Tensor) -> list[int]:
    """``p``, one for each channel."""
    return [
        rshift(step.pool_multiplier * sum(map(sum, plane)), step.pool_shift) for plane in source
    ]


def _floor_log2(value: int) -> int:
    """The largest k with ``2**k <= value``."""
    exponent = 0
    while 2 ** (exponent + 1) <= value:
        exponent += 1
    return exponent


def _run_stage(stage: AdapterStage, values: list[int]) -> list[int]:
    outputs = []
    for weights, bias in zip(stage.weight.tolist(), stage.bias.tolist(), strict=True):
        total = bias + sum(w * v for w, v in zip(weights, values, strict=True))
        scaled = rshift(total * stage.multiplier, stage.shift)
        outputs.append(clamp(scaled, stage.minimum, stage.maximum))
    return outputs


def quantize(quantizer: ActivationQuantizer, step: int, source: Tensor) -> Tensor:
    """Activation codes ``q`` of a step ``D``."""
    return _codes(quantizer, step, source, code_range(quantizer))


def quantize_odd(quantizer: ActivationQuantizer, step: int, source: Tensor) -> Tensor:
    """Odd codes ``qO`` of a step ``D``: those of ``DO``."""
    return _codes(quantizer, rshift(step * R2, 16), source, odd_code_range(quantizer))


def _codes(
    quantizer: ActivationQuantizer, step: int, source: Tensor, ends: tuple[int, int]
) -> Tensor:
    """The contract's second form: the lowest code, and one more for each threshold reached."""
    low, high = ends
    doubled = 2 * 2**quantizer.step_fraction_bits
    thresholds = [(2 * k - 1) * step for k in range(low + 1, high + 1)]
    return each(lambda x: low + bisect_right(thresholds, x * doubled), source)
