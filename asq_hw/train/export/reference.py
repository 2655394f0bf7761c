"""One layer of an integer network in torch: to compare a trained layer with, and to train in.

Integers are held in floating-point tensors, where they are exact up to 2**53. This is no executor:
what is beyond is rounded as doubles are. The judge of executors is `asq_hw.oracle`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    LayerKind,
    Linear,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Relu,
    Select,
)
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.fixedpoint import SQRT2_FRACTION_BITS, SQRT2_MULTIPLIER
from asq_hw.numbers.odd_codes import ODD_STEP_SHIFT, odd_code_range
from asq_hw.numbers.products import SPLIT_FRACTION_BITS, Product

__all__ = ["run_layer"]

_DROPPED_BITS = SQRT2_FRACTION_BITS - SPLIT_FRACTION_BITS
_EXACT_IN_SINGLE = 1 << 24


def run_layer(
    layer: Layer,
    sources: Sequence[Tensor],
    bits: int,
    product: Product,
    steps: dict[str, Tensor],
) -> Tensor:
    """The integers of a layer's output.

    Parameters
    ----------
    layer : Layer
        Of an integer network.
    sources : sequence of float64 tensors of shape (N, C, H, W)
        Integers that it reads: the pixels for an input.
    bits : int
        Width of its output.
    product : Product
        How weights with the square root of two are multiplied.
    steps : dict of str to float64 tensors
        The steps of the layers before; this one's is added.

    Returns
    -------
    float64 tensor of shape (N, O, H', W')
        Integers.
    """
    if isinstance(layer, Conv | Linear):
        steps[layer.name] = _step(layer.quantizer, sources[0], steps)
        return _weighted(layer, sources[0], steps[layer.name], bits, product)
    return _integers(layer, sources, bits)


@singledispatch
def _integers(layer: LayerKind, sources: Sequence[Tensor], bits: int) -> Tensor:
    raise InputError(f"{layer.name}: no trained network has a layer of the kind {layer.kind}")


@_integers.register
def _(layer: Input, sources: Sequence[Tensor], bits: int) -> Tensor:
    multiplier, offset = _channels(layer.multiplier), _channels(layer.offset)
    return _saturate(_shifted(sources[0] * multiplier + offset, layer.shift), bits)


@_integers.register
def _(layer: Add, sources: Sequence[Tensor], bits: int) -> Tensor:
    return _saturate(sources[0] + sources[1], bits)


@_integers.register
def _(layer: Multiply, sources: Sequence[Tensor], bits: int) -> Tensor:
    return _saturate(_shifted(sources[0] * sources[1], layer.shift), bits)


@_integers.register
def _(layer: Lookup, sources: Sequence[Tensor], bits: int) -> Tensor:
    """In integers: a value times a distance can be beyond what doubles tell apart."""
    tables, values = layer.values.shape
    height = sources[0].long() + (layer.segments << layer.shift >> 1)
    segment, part = height >> layer.shift, height & ((1 << layer.shift) - 1)
    each = torch.arange(tables)[:, None, None] * values  # one for all, or one for each channel
    table = torch.from_numpy(layer.values.copy()).reshape(-1)
    left, right = table[segment + each], table[segment + each + 1]
    weighted = left * ((1 << layer.shift) - part) + right * part
    return _saturate((weighted + (1 << layer.shift >> 1) >> layer.shift).double(), bits)


@_integers.register
def _(layer: Concat, sources: Sequence[Tensor], bits: int) -> Tensor:
    return torch.cat(list(sources), dim=1)


@_integers.register
def _(layer: Pad, sources: Sequence[Tensor], bits: int) -> Tensor:
    return functional.pad(sources[0], (*layer.columns, *layer.rows, *layer.channels))


@_integers.register
def _(layer: Select, sources: Sequence[Tensor], bits: int) -> Tensor:
    rows, columns = (
        torch.arange(size) * stride + first
        for first, stride, size in zip(layer.first, layer.stride, layer.size, strict=True)
    )
    channels = torch.from_numpy(layer.channels.copy())
    return sources[0][:, channels][:, :, rows][:, :, :, columns]


@_integers.register
def _(layer: Relu, sources: Sequence[Tensor], bits: int) -> Tensor:
    return sources[0].clamp(min=0, max=layer.maximum)


@_integers.register
def _(layer: Flatten, sources: Sequence[Tensor], bits: int) -> Tensor:
    return sources[0].flatten(1)[:, :, None, None]


@_integers.register
def _(layer: MaxPool, sources: Sequence[Tensor], bits: int) -> Tensor:
    return functional.max_pool2d(sources[0], layer.kernel_size, layer.stride, layer.padding)


@_integers.register
def _(layer: AveragePool, sources: Sequence[Tensor], bits: int) -> Tensor:
    means = functional.avg_pool2d(sources[0], layer.kernel_size, layer.stride, layer.padding)
    sums = torch.round(means * math.prod(layer.kernel_size))
    return _saturate(_shifted(sums * layer.multiplier, layer.shift), bits)


@_integers.register
def _(layer: GlobalAveragePool, sources: Sequence[Tensor], bits: int) -> Tensor:
    sums = sources[0].sum(dim=(2, 3), keepdim=True)
    return _saturate(_shifted(sums * layer.multiplier, layer.shift), bits)


def _weighted(layer: Conv | Linear, x: Tensor, step: Tensor, bits: int, product: Product) -> Tensor:
    grid, decoded = layer.quantizer.grid, layer.decoded_weights()
    ends = (grid.minimum, grid.maximum)
    codes, (even, odd) = _codes(layer, x, step, ends), (_double(part) for part in decoded)
    dots = _dot_products(layer, codes, even, ends)
    if product.uses_odd_codes(layer.weight_grid):
        odd_steps = _shifted(step * SQRT2_MULTIPLIER, ODD_STEP_SHIFT)
        odd_ends = odd_code_range(grid)
        dots += _dot_products(layer, _codes(layer, x, odd_steps, odd_ends), odd, odd_ends)
    elif product.has_pair(layer.weight_grid):
        odd_dots = _dot_products(layer, codes, odd, ends)
        dots *= 2.0**SPLIT_FRACTION_BITS
        dots += _shifted(odd_dots * SQRT2_MULTIPLIER, _DROPPED_BITS)
    scale = _shifted(step * _channels(layer.multiplier), layer.narrow_shift)
    shift = layer.shift + product.fraction_bits(layer.weight_grid)
    return _saturate(_shifted(dots * scale, shift).add_(_channels(layer.bias)), bits)


def _codes(layer: Conv | Linear, x: Tensor, step: Tensor, ends: tuple[int, int]) -> Tensor:
    return _half_up(x / (step * 2.0**-layer.quantizer.step_fraction_bits)).clamp_(*ends)


def _dot_products(
    layer: Conv | Linear, codes: Tensor, weights: Tensor, ends: tuple[int, int]
) -> Tensor:
    """In single precision, which is faster, where no sum of such codes is too large to be exact."""
    largest = float(weights.abs().flatten(1).sum(dim=1).max()) * max(map(abs, ends))
    exact = torch.float32 if largest < _EXACT_IN_SINGLE else torch.float64
    codes, weights = codes.to(exact), weights.to(exact)
    if isinstance(layer, Linear):
        return functional.conv2d(codes, weights[:, :, None, None]).double()
    return functional.conv2d(
        codes,
        weights,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    ).double()


def _step(quantizer: ActivationQuantizer, x: Tensor, earlier: Mapping[str, Tensor]) -> Tensor:
    """``D`` of each sample, of shape (N, 1, 1, 1), or (1, 1, 1, 1) where it is the same."""
    step = quantizer.step
    match step:
        case FixedStep():
            return torch.full((1, 1, 1, 1), step.step, dtype=torch.float64)
        case AdaptiveStep():
            values = _means(step, x)
            for stage in step.stages:
                values = _stage(stage, values)
            return values[:, :, None, None]
        case LogLinearStep():
            sums = functional.linear(_means(step, x), _double(step.weight)[None])
            exponent = _shifted(sums * step.multiplier, step.shift) + step.offset
            power = torch.exp2(exponent.clamp(step.lowest, step.highest) / 256)
            return _half_up(power)[:, :, None, None]
        case SharedExponentStep():
            largest = x.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
            exponent = torch.frexp(largest).exponent - 1 + quantizer.exponent_shift
            return torch.exp2(exponent.clamp(step.lowest, step.highest).double())
        case SharedAdapterStep():
            shared = _shifted(earlier[step.layer] * step.multiplier, step.shift)
            return shared.clamp(step.minimum, step.maximum)
        case _:
            assert_never(step)


def _means(step: AdaptiveStep | LogLinearStep, x: Tensor) -> Tensor:
    return _shifted(x.sum(dim=(2, 3)) * step.pool_multiplier, step.pool_shift)


def _stage(stage: AdapterStage, values: Tensor) -> Tensor:
    sums = functional.linear(values, _double(stage.weight), _double(stage.bias))
    return _shifted(sums * stage.multiplier, stage.shift).clamp(stage.minimum, stage.maximum)


def _double(values: NDArray[np.integer[Any]]) -> Tensor:
    """A copy, since torch does not take read-only arrays."""
    return torch.from_numpy(values.astype(np.float64))


def _channels(values: NDArray[np.integer[Any]]) -> Tensor:
    return _double(values)[None, :, None, None]


def _half_up(x: Tensor) -> Tensor:
    return (x + 0.5).floor_()


def _shifted(x: Tensor, shift: int) -> Tensor:
    return (x * 2.0**-shift).add_(0.5).floor_()


def _saturate(x: Tensor, bits: int) -> Tensor:
    """In place: what is given to it has just been made."""
    top = float(1 << (bits - 1))
    return x.clamp_(-top, top - 1)
