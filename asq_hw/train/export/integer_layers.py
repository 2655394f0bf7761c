"""One trained convolution or linear layer to integers: steps, adapter, requantization."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.fixedpoint import quantize_multiplier
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.widths import BIAS_BITS, MAX_REQUANTIZATION_SHIFT, MULTIPLIER_BITS, STEP_BITS
from asq_hw.train.quantizers.activations import IntegerActivationQuantizer
from asq_hw.train.quantizers.adapter import BETA_FLOOR, Adapter, weight_scale
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.weights import IntegerWeightQuantizer

__all__ = ["POOL_MULTIPLIER_BITS", "WeightedSource", "integer_weighted"]

POOL_MULTIPLIER_BITS = MULTIPLIER_BITS

_STEP_HEADROOM = 2.0
"""An adaptive step may become this much larger than calibration saw before it saturates."""
_POOL_FRACTION_BITS = 4
"""The adapter sees means with this many more fraction bits than the feature map has."""
_NARROWED_BITS = 18
"""Magnitude bits of the product of step and multiplier that the dot product is scaled by."""

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedSource:
    """Everything that one integer layer is made from.

    `low` and `high` are each output channel's extremes in calibration, `positions` the source's
    height times width; `largest_step` and `largest_hidden` are what calibration saw of an
    adaptive step.
    """

    name: str
    source: str
    module: QuantConv2d | QuantLinear
    batch_norm: nn.BatchNorm2d | None
    source_format: FeatureFormat
    output_format: FeatureFormat
    low: Real
    high: Real
    positions: int
    largest_step: float | None
    largest_hidden: float | None


def integer_weighted(origin: WeightedSource) -> Conv | Linear:
    """The integer layer of a trained one, batch norm folded in."""
    module, (weights, activations) = origin.module, _quantizers(origin)
    grid = weights.grid
    quantizer = _activation_quantizer(origin, activations)
    gain, offset = _gain_and_offset(origin, weights.scale())
    # Section 5 of the contract, solved for M: what one unit of V * D is worth in units of Y.
    exponent = (
        origin.output_format.fraction_bits
        - origin.source_format.fraction_bits
        - grid.shift
        - quantizer.step_fraction_bits
    )
    codes = weights.level_codes(module.weight).cpu().numpy()
    multiplier, narrow_shift, shift = _requantization(
        origin.name,
        gain * 2.0**exponent,
        quantizer.step.maximum,
        _alive(origin, _have_weights(grid, codes), offset),
    )
    common: dict[str, Any] = {
        "name": origin.name,
        "source": origin.source,
        "quantizer": quantizer,
        "weight_grid": grid,
        "weight_codes": codes,
        "multiplier": multiplier,
        "narrow_shift": narrow_shift,
        "shift": shift,
        "bias": _bias(origin.name, offset * 2.0**origin.output_format.fraction_bits),
        "output": origin.output_format,
    }
    if isinstance(module, QuantLinear):
        return Linear(**common)
    return Conv(
        **common,
        stride=_two(module.stride),
        padding=_padding(origin.name, module),
        groups=module.groups,
    )


def _quantizers(
    origin: WeightedSource,
) -> tuple[IntegerWeightQuantizer, IntegerActivationQuantizer]:
    """The layer's quantizers, if both are there and have an integer form."""
    weights, activations = origin.module.weight_quantizer, origin.module.activation_quantizer
    if weights is None or activations is None:
        raise InputError(f"{origin.name}: weights and activations must both be quantized to export")
    if not isinstance(weights, IntegerWeightQuantizer):
        raise InputError(f"{origin.name}: {type(weights).__name__} has no integer form")
    if not isinstance(activations, IntegerActivationQuantizer):
        raise InputError(f"{origin.name}: {type(activations).__name__} has no integer form")
    return weights, activations


def _gain_and_offset(origin: WeightedSource, scale: Tensor) -> tuple[Real, Real]:
    """Scale and offset of each output channel, folded batch norm included."""
    module, norm = origin.module, origin.batch_norm
    outputs = module.weight.shape[0]
    gain = np.broadcast_to(_array(scale).reshape(-1), (outputs,))
    offset = np.zeros(outputs) if module.bias is None else _array(module.bias)
    if norm is None:
        return gain, offset
    assert norm.running_var is not None and norm.running_mean is not None
    slope = 1.0 / np.sqrt(_array(norm.running_var) + norm.eps)
    slope = slope * _array(norm.weight) if norm.affine else slope
    shift = _array(norm.bias) if norm.affine else np.zeros(outputs)
    return gain * slope, (offset - _array(norm.running_mean)) * slope + shift


def _have_weights(grid: Grid, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which output channels have a weight that is not zero."""
    zeros = [code for code, pair in grid.decode_table().items() if pair == (0, 0)]
    moving: NDArray[np.bool_] = np.any(~np.isin(codes, zeros).reshape(len(codes), -1), axis=1)
    return moving


def _alive(
    origin: WeightedSource, has_weights: NDArray[np.bool_], offset: Real
) -> NDArray[np.bool_]:
    """Which output channels can differ from their own bias, so that their multiplier counts.

    A channel without a weight other than zero cannot. Nor can one behind channels that died in
    training: batch norm then has seen no variance beside its epsilon, and the output is the bias
    on every calibration image. Both are needed, since one image may leave any channel at rest.
    That the output stands still proves nothing: a constant input times a weight is no bias.
    """
    norm = origin.batch_norm
    if norm is None:
        return has_weights
    unit = 2.0**-origin.output_format.fraction_bits
    reach = np.maximum(np.abs(origin.low - offset), np.abs(origin.high - offset))
    assert norm.running_var is not None
    at_rest = np.logical_and(reach <= unit, _array(norm.running_var) < norm.eps)
    alive: NDArray[np.bool_] = np.logical_and(has_weights, np.logical_not(at_rest))
    return alive


def _requantization(
    name: str, unit: Real, largest_step: int, alive: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], int, int]:
    """Multipliers, narrow shift and shift whose product is `unit`, with all the bits that fit.

    A channel that is not alive can have any gain, since folding its batch norm divides by a
    variance near zero. It must not take the other channels' bits, so it does not count here, and
    its own multiplier saturates.
    """
    largest = float(np.abs(unit[alive]).max()) if alive.any() else 1.0
    if not math.isfinite(largest):
        raise InputError(f"{name}: a scale must be finite, not {largest}")
    limit = (1 << (MULTIPLIER_BITS - 1)) - 1
    total = math.floor(math.log2(limit / largest)) if largest > 0 else 0
    narrow = max(0, (largest_step * limit).bit_length() - _NARROWED_BITS)
    total = min(total, narrow + MAX_REQUANTIZATION_SHIFT)
    narrow = min(narrow, total)
    if narrow < 0:
        raise InputError(f"{name}: a scale of {largest:g} is too large to requantize")
    multiplier = np.clip(np.rint(unit * 2.0**total), -limit, limit).astype(np.int64)
    return multiplier, narrow, total - narrow


def _bias(name: str, values: Real) -> NDArray[np.int64]:
    limit = 2.0 ** (BIAS_BITS - 1)
    if not (np.abs(values) < limit - 1).all():
        raise InputError(
            f"{name}: a bias of {np.abs(values).max():g} units does not fit {BIAS_BITS} bits"
        )
    return np.floor(values + 0.5).astype(np.int64)


def _activation_quantizer(
    origin: WeightedSource, trained: IntegerActivationQuantizer
) -> ActivationQuantizer:
    step = float(trained.step().detach())
    adapter = trained.adapter
    headroom = 1.0 if adapter is None else _STEP_HEADROOM
    largest = step if origin.largest_step is None else origin.largest_step
    unit = 2.0**origin.source_format.fraction_bits
    fraction_bits = STEP_BITS - 1 - math.frexp(largest * unit * headroom)[1]
    fraction_bits = max(0, min(24, fraction_bits))
    scale = unit * 2.0**fraction_bits
    integer_step: FixedStep | AdaptiveStep
    if adapter is None:
        integer_step = FixedStep(step=_step(origin.name, step * scale))
    else:
        integer_step = _adaptive_step(origin, adapter, step * scale)
    return ActivationQuantizer(
        grid=trained.grid, step=integer_step, step_fraction_bits=fraction_bits
    )


def _step(name: str, value: float) -> int:
    step = math.floor(value + 0.5)
    if not 1 <= step < 1 << STEP_BITS:
        raise InputError(f"{name}: a step size of {value:g} units does not fit {STEP_BITS} bits")
    return step


def _adaptive_step(origin: WeightedSource, adapter: Adapter, step: float) -> AdaptiveStep:
    """The adapter in integers; `step` is the learned step in units of the integer step."""
    largest = (1 << STEP_BITS) - 1
    pool = Fraction(1 << _POOL_FRACTION_BITS, origin.positions)
    pool_multiplier, pool_shift = quantize_multiplier(
        pool, POOL_MULTIPLIER_BITS, maximum_shift=MAX_REQUANTIZATION_SHIFT
    )
    unit = 2.0 ** -(origin.source_format.fraction_bits + _POOL_FRACTION_BITS)
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


def _hidden_unit(origin: WeightedSource, adapter: Adapter) -> float:
    """Real value of one unit of the hidden values.

    Fine enough to use all of their range, and coarse enough that the output layer's bias, which
    counts in units of hidden value times weight, fits its bits.
    """
    largest_hidden = origin.largest_hidden or 0.0
    finest = max(largest_hidden, 1e-6) * _STEP_HEADROOM / ((1 << STEP_BITS) - 1)
    assert adapter.output.bias is not None
    bias = float(adapter.output.bias.detach().abs().max())
    scale = float(weight_scale(adapter.output.weight))
    return max(finest, bias / (scale * 2.0 ** (BIAS_BITS - 2)))


def _stage(
    name: str, linear: nn.Linear, unit: float, gain: float, minimum: int, maximum: int
) -> AdapterStage:
    """A linear layer whose inputs count in `unit` and whose outputs are multiplied by `gain`."""
    scale = float(weight_scale(linear.weight))
    codes = np.rint(_array(linear.weight) / scale).astype(np.int64)
    multiplier, shift = quantize_multiplier(
        unit * scale * gain, MULTIPLIER_BITS, maximum_shift=MAX_REQUANTIZATION_SHIFT
    )
    if shift < 0:
        raise InputError(f"{name}: the adapter's scale {unit * scale * gain:g} is too large")
    bias = _bias(f"{name}: adapter", _array(linear.bias) / (unit * scale))
    return AdapterStage(
        weight=codes,
        bias=bias,
        multiplier=multiplier,
        shift=shift,
        minimum=minimum,
        maximum=maximum,
    )


def _array(tensor: Tensor) -> Real:
    return tensor.detach().cpu().double().numpy()


def _two(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _padding(name: str, module: QuantConv2d) -> tuple[int, int]:
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise InputError(f"{name}: padding must be zeros given as numbers, not {module.padding!r}")
    if _two(module.dilation) != (1, 1):
        raise InputError(f"{name}: dilation must be 1, not {module.dilation}")
    return _two(module.padding)
