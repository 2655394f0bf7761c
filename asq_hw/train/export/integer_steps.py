"""A trained step size to integers: fixed, from an adapter, or an exponent."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from torch import nn

from asq_hw.errors import InputError
from asq_hw.network.activation import (
    ActivationQuantizer,
    AdapterStage,
    AdaptiveStep,
    FixedStep,
    Step,
)
from asq_hw.network.log_linear import MAX_EXPONENT, LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.fixedpoint import EXP2_FRACTION_BITS, quantize_multiplier
from asq_hw.numbers.widths import (
    BIAS_BITS,
    MAX_REQUANTIZATION_SHIFT,
    MAX_STEP_FRACTION_BITS,
    MULTIPLIER_BITS,
    STEP_BITS,
)
from asq_hw.train.export.source import WeightedSource, integer_bias, real_array
from asq_hw.train.quantizers.activations import (
    IntegerActivationQuantizer,
    OneStepActivationQuantizer,
)
from asq_hw.train.quantizers.adapter import BETA_FLOOR, PaperAdapter, weight_scale
from asq_hw.train.quantizers.log_linear import LARGEST_EXPONENT, LogLinearAdapter
from asq_hw.train.quantizers.shared_adapter import SharedAdapter

__all__ = ["activation_quantizer"]

_STEP_HEADROOM = 2.0
"""An adaptive step may become this much larger than calibration saw before it saturates."""
_POOL_FRACTION_BITS = 4
"""An adapter sees means with this many more fraction bits than the feature map has."""


def activation_quantizer(
    origin: WeightedSource, trained: IntegerActivationQuantizer
) -> ActivationQuantizer:
    """The integer quantizer of a trained one."""
    headroom = _STEP_HEADROOM if trained.is_adaptive else 1.0
    unit = 2.0**origin.source_format.fraction_bits
    fraction_bits = STEP_BITS - 1 - math.frexp(origin.largest_step * unit * headroom)[1]
    fraction_bits = max(0, min(MAX_STEP_FRACTION_BITS, fraction_bits))
    return ActivationQuantizer(
        grid=trained.grid,
        step=_integer_step(origin, trained, fraction_bits),
        step_fraction_bits=fraction_bits,
    )


def _integer_step(
    origin: WeightedSource, trained: IntegerActivationQuantizer, fraction_bits: int
) -> Step:
    scale = 2.0 ** (origin.source_format.fraction_bits + fraction_bits)
    if not isinstance(trained, OneStepActivationQuantizer):
        return _shared_exponent(origin, trained, fraction_bits)
    step = float(trained.step().detach()) * scale
    match trained.adapter:
        case None:
            return FixedStep(step=_step(origin.name, step))
        case PaperAdapter() as adapter:
            return _adaptive_step(origin, adapter, step)
        case LogLinearAdapter() as adapter:
            return _log_linear_step(origin, adapter, step)
        case SharedAdapter():
            return _shared_adapter_step(origin, step)
        case adapter:
            raise InputError(f"{origin.name}: {type(adapter).__name__} has no integer form")


def _step(name: str, value: float) -> int:
    step = math.floor(value + 0.5)
    if not 1 <= step < 1 << STEP_BITS:
        raise InputError(f"{name}: a step size of {value:g} units does not fit {STEP_BITS} bits")
    return step


def _adaptive_step(origin: WeightedSource, adapter: PaperAdapter, step: float) -> AdaptiveStep:
    """The adapter in integers; `step` is the learned step in units of the integer step."""
    largest = (1 << STEP_BITS) - 1
    first = adapter.linear_layers()[0]
    pool_multiplier, pool_shift, unit = _pooling(origin, _pool_fraction_bits(origin, first))
    stages = []
    if adapter.hidden is not None:
        hidden_unit = _hidden_unit(origin, adapter)
        stages.append(_stage(origin.name, adapter.hidden, unit, 1 / hidden_unit, 0, largest))
        unit = hidden_unit
    minimum = max(1, math.floor(BETA_FLOOR * step + 0.5))
    stages.append(_stage(origin.name, adapter.output, unit, step, minimum, largest))
    return AdaptiveStep(
        pool_multiplier=pool_multiplier, pool_shift=pool_shift, stages=tuple(stages)
    )


def _hidden_unit(origin: WeightedSource, adapter: PaperAdapter) -> float:
    """Real value of one unit of the hidden values.

    Fine enough to use all of their range, and coarse enough that the output layer's bias, which
    counts in units of hidden value times weight, fits its bits.
    """
    finest = max(origin.largest_hidden, 1e-6) * _STEP_HEADROOM / ((1 << STEP_BITS) - 1)
    assert adapter.output.bias is not None
    bias = float(adapter.output.bias.detach().abs().max())
    scale = float(weight_scale(adapter.output.weight))
    return max(finest, bias / (scale * 2.0 ** (BIAS_BITS - 2)))


def _stage(
    name: str, linear: nn.Linear, unit: float, gain: float, minimum: int, maximum: int
) -> AdapterStage:
    """A linear layer whose inputs count in `unit` and whose outputs are multiplied by `gain`."""
    scale = float(weight_scale(linear.weight))
    codes = np.rint(real_array(linear.weight) / scale).astype(np.int64)
    multiplier, shift = _multiplier(name, unit * scale * gain)
    bias = integer_bias(f"{name}: adapter", real_array(linear.bias) / (unit * scale))
    return AdapterStage(
        weight=codes,
        bias=bias,
        multiplier=multiplier,
        shift=shift,
        minimum=minimum,
        maximum=maximum,
    )


def _log_linear_step(
    origin: WeightedSource, adapter: LogLinearAdapter, step: float
) -> LogLinearStep:
    """Beta's logarithm with that of the step; `step` is in units of the integer step."""
    pool_multiplier, pool_shift, unit = _pooling(origin)
    scale = float(weight_scale(adapter.slopes()))
    codes = np.rint(real_array(adapter.slopes()) / scale).astype(np.int64)
    fractions = 1 << EXP2_FRACTION_BITS
    multiplier, shift = _multiplier(origin.name, unit * scale * fractions)
    level = math.log2(step)
    still = float(adapter.bias.detach()) - scale * float(codes @ real_array(adapter.mean))
    lowest, highest = (
        max(0, min(MAX_EXPONENT, round(fractions * (level + end))))
        for end in (-LARGEST_EXPONENT, LARGEST_EXPONENT)
    )
    return LogLinearStep(
        pool_multiplier=pool_multiplier,
        pool_shift=pool_shift,
        weight=codes,
        multiplier=multiplier,
        shift=shift,
        offset=round(fractions * (level + still)),
        lowest=lowest,
        highest=highest,
    )


def _shared_adapter_step(origin: WeightedSource, step: float) -> SharedAdapterStep:
    """The first layer's step times the ratio of both learned steps, in units of the integers."""
    assert origin.first is not None
    multiplier, shift = _multiplier(origin.name, step / origin.first.unit)
    return SharedAdapterStep(
        layer=origin.first.layer,
        multiplier=multiplier,
        shift=shift,
        minimum=max(1, math.floor(BETA_FLOOR * step + 0.5)),
        maximum=(1 << STEP_BITS) - 1,
    )


def _shared_exponent(
    origin: WeightedSource, trained: IntegerActivationQuantizer, fraction_bits: int
) -> SharedExponentStep:
    """The exponents from a sample of zeros to one twice as large as calibration saw."""
    largest = origin.largest_step * _STEP_HEADROOM
    top = math.frexp(largest)[1] - 1 + origin.source_format.fraction_bits + fraction_bits
    if top > STEP_BITS:
        raise InputError(
            f"{origin.name}: a step of 2**{top - 1} units does not fit {STEP_BITS} bits"
        )
    least = fraction_bits + 1 - trained.grid.maximum.bit_length()
    highest = max(0, min(STEP_BITS - 1, top))
    return SharedExponentStep(lowest=max(0, min(least, highest)), highest=highest)


def _pool_fraction_bits(origin: WeightedSource, first: nn.Linear) -> int:
    """How many more fraction bits the means have than the feature map, or fewer if it is negative.

    The first layer's bias counts in units of mean times weight. Weights that have hardly begun are
    tiny, and where nothing lies between them and the output, as in a narrow layer, the means have
    to be coarser for the bias to fit.
    """
    bias = float(first.bias.detach().abs().max())
    if bias == 0:
        return _POOL_FRACTION_BITS
    room = 2.0 ** (BIAS_BITS - 2) * float(weight_scale(first.weight)) / bias
    most = math.floor(math.log2(room)) - origin.source_format.fraction_bits
    return min(_POOL_FRACTION_BITS, most)


def _pooling(
    origin: WeightedSource, fraction_bits: int = _POOL_FRACTION_BITS
) -> tuple[int, int, float]:
    """Multiplier and shift of channel means, and the real value of one unit of these."""
    multiplier, shift = quantize_multiplier(
        Fraction(2) ** fraction_bits / origin.positions,
        MULTIPLIER_BITS,
        maximum_shift=MAX_REQUANTIZATION_SHIFT,
    )
    return multiplier, shift, 2.0 ** -(origin.source_format.fraction_bits + fraction_bits)


def _multiplier(name: str, value: float) -> tuple[int, int]:
    multiplier, shift = quantize_multiplier(
        value, MULTIPLIER_BITS, maximum_shift=MAX_REQUANTIZATION_SHIFT
    )
    if shift < 0:
        raise InputError(f"{name}: the adapter's scale {value:g} is too large")
    return multiplier, shift
