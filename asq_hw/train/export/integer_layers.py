"""One trained convolution or linear layer to integers: weights, batch norm, requantization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from asq_hw.errors import InputError
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.widths import MAX_REQUANTIZATION_SHIFT, MULTIPLIER_BITS
from asq_hw.train.export.integer_steps import activation_quantizer
from asq_hw.train.export.source import Real, WeightedSource, integer_bias, real_array
from asq_hw.train.quantizers.activations import IntegerActivationQuantizer
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.weights import IntegerWeightQuantizer

__all__ = ["integer_weighted"]

_NARROWED_BITS = 18
"""Magnitude bits of the product of step and multiplier that the dot product is scaled by."""


def integer_weighted(origin: WeightedSource) -> Conv | Linear:
    """The integer layer of a trained one, batch norm folded in."""
    module, (weights, activations) = origin.module, _quantizers(origin)
    grid = weights.grid
    quantizer = activation_quantizer(origin, activations)
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
        "bias": integer_bias(origin.name, offset * 2.0**origin.output_format.fraction_bits),
        "output": origin.output_format,
    }
    if isinstance(module, QuantLinear):
        return Linear(**common)
    return Conv(
        **common,
        stride=_two(module.stride),
        padding=_padding(origin.name, module),
        groups=module.groups,
        dilation=_two(module.dilation),
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
    gain = np.broadcast_to(real_array(scale).reshape(-1), (outputs,))
    offset = np.zeros(outputs) if module.bias is None else real_array(module.bias)
    if norm is None:
        return gain, offset
    assert norm.running_var is not None and norm.running_mean is not None
    slope = 1.0 / np.sqrt(real_array(norm.running_var) + norm.eps)
    slope = slope * real_array(norm.weight) if norm.affine else slope
    shift = real_array(norm.bias) if norm.affine else np.zeros(outputs)
    return gain * slope, (offset - real_array(norm.running_mean)) * slope + shift


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
    at_rest = np.logical_and(reach <= unit, real_array(norm.running_var) < norm.eps)
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


def _two(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _padding(name: str, module: QuantConv2d) -> tuple[int, int]:
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise InputError(f"{name}: padding must be zeros given as numbers, not {module.padding!r}")
    return _two(module.padding)
