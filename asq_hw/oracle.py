"""docs/arithmetic.md in plain Python integers: slow, obvious, the judge of other executors.

Nothing here is shared with the simulator but the network it reads and the rules in
`asq_hw.fixedpoint`. Arrays only carry integers in and out; every sum, product and shift is done on
unbounded Python integers, so no width is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import getitem
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from asq_hw.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.checks import IntArray
from asq_hw.errors import InputError
from asq_hw.fixedpoint import (
    divide_half_up,
    saturate,
    shift_right_half_up,
    sqrt2_times,
    sqrt2_times_pair,
)
from asq_hw.layers import (
    Add,
    AveragePool,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    Linear,
    MaxPool,
    Relu,
    layer_sources,
)
from asq_hw.network import FeatureMap, IntegerNetwork, window_positions
from asq_hw.products import Product

__all__ = ["OracleTrace", "predict", "run", "trace"]

Tensor = list[list[list[int]]]
"""One sample's (C, H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OracleTrace:
    """Every integer that the contract names, by layer, in execution order; all arrays are int64.

    Attributes
    ----------
    feature_maps : dict of (N, C, H, W) arrays
        Output ``X`` of every layer.
    codes : dict of (N, C, H, W) arrays
        Activation codes ``q`` that a convolution or linear layer reads.
    steps : dict of (N,) arrays
        Step ``D`` of each sample in a convolution or linear layer.
    accumulators : dict of tuples of (N, O, H, W) arrays
        ``(E, O)`` for a grid with the square root of two and ``post-split``, ``(V,)`` for the
        same with ``post-lut``, ``(E,)`` for other grids.
    """

    feature_maps: dict[str, IntArray]
    codes: dict[str, IntArray]
    steps: dict[str, IntArray]
    accumulators: dict[str, tuple[IntArray, ...]]


def run(
    network: IntegerNetwork, images: NDArray[np.uint8], product: Product | None = None
) -> dict[str, IntArray]:
    """Every layer's feature map, int64 (N, C, H, W), for uint8 images (N, C, H, W)."""
    return trace(network, images, product).feature_maps


def predict(
    network: IntegerNetwork, images: NDArray[np.uint8], product: Product | None = None
) -> IntArray:
    """Predicted classes, int64 (N,): the lowest index among the largest scores."""
    scores = run(network, images, product)[network.output.name].tolist()
    classes = []
    for sample in scores:
        flat = [value for plane in sample for row in plane for value in row]
        classes.append(flat.index(max(flat)))
    return np.array(classes, dtype=np.int64)


def trace(
    network: IntegerNetwork, images: NDArray[np.uint8], product: Product | None = None
) -> OracleTrace:
    """Run uint8 images (N, C, H, W) through the network and keep everything.

    Raises
    ------
    InputError
        If the images do not fit the network's input, or the network's 64-bit bounds do not hold
        for `product` (``post-split`` where none is given).
    """
    product = Product() if product is None else product
    network.check_product(product)
    _check_images(network.input, images)
    maps = network.feature_maps()
    made: dict[str, list[Tensor]] = {}
    result = OracleTrace(feature_maps={}, codes={}, steps={}, accumulators={})
    for layer in network.layers:
        sources = [made[name] for name in layer_sources(layer)]
        if isinstance(layer, Conv | Linear):
            made[layer.name] = _run_weighted(layer, sources[0], product, maps, result)
        elif isinstance(layer, Input):
            made[layer.name] = [_run_input(layer, image) for image in images.tolist()]
        else:
            bits = maps[layer.name].format.bits
            made[layer.name] = [
                _run_plain(layer, sample, bits) for sample in zip(*sources, strict=True)
            ]
        result.feature_maps[layer.name] = _pack(made[layer.name], maps[layer.name].shape)
    return result


def _check_images(layer: Input, images: NDArray[np.uint8]) -> None:
    if images.dtype != np.uint8:
        raise InputError(f"images must be uint8, not {images.dtype}")
    expected = (layer.channels, layer.height, layer.width)
    if images.ndim != 4 or images.shape[1:] != expected:
        raise InputError(f"images must be (N, {str(expected)[1:]}, not {images.shape}")


def _pack(samples: list[Tensor], shape: Sequence[int]) -> IntArray:
    return np.array(samples, dtype=np.int64).reshape(len(samples), *shape)


# Layers without weights (section 6)


def _run_input(layer: Input, image: Tensor) -> Tensor:
    multipliers, offsets = layer.multiplier.tolist(), layer.offset.tolist()
    return [
        [
            [
                saturate(
                    shift_right_half_up(pixel * multiplier + offset, layer.shift),
                    layer.output.bits,
                )
                for pixel in row
            ]
            for row in plane
        ]
        for plane, multiplier, offset in zip(image, multipliers, offsets, strict=True)
    ]


def _run_plain(
    layer: Add | Relu | Flatten | MaxPool | AveragePool | GlobalAveragePool,
    sources: tuple[Tensor, ...],
    bits: int,
) -> Tensor:
    source = sources[0]
    match layer:
        case Add():
            return _each(lambda a, b: saturate(a + b, bits), *sources)
        case Relu():
            top = layer.maximum
            return _each(lambda x: max(x, 0) if top is None else min(max(x, 0), top), source)
        case Flatten():
            return [[[value]] for plane in source for row in plane for value in row]
        case MaxPool():
            return _pool(layer, source, max)
        case AveragePool():
            return _pool(layer, source, lambda window: _mean(layer, window, bits))
        case GlobalAveragePool():
            return [[[_mean(layer, [v for row in plane for v in row], bits)]] for plane in source]
        case _:
            assert_never(layer)


def _each(function: Callable[..., int], *sources: Tensor) -> Tensor:
    """`function` of the elements that stand at one place."""
    return [
        [
            [function(*values) for values in zip(*rows, strict=True)]
            for rows in zip(*planes, strict=True)
        ]
        for planes in zip(*sources, strict=True)
    ]


def _mean(layer: AveragePool | GlobalAveragePool, values: list[int], bits: int) -> int:
    return saturate(shift_right_half_up(layer.multiplier * sum(values), layer.shift), bits)


def _pool(
    layer: MaxPool | AveragePool, source: Tensor, function: Callable[[list[int]], int]
) -> Tensor:
    """`function` of what each window holds; the padding holds nothing."""
    height, width = len(source[0]), len(source[0][0])
    tops = list(_window_starts(layer, height, axis=0))
    lefts = list(_window_starts(layer, width, axis=1))
    rows, columns = layer.kernel_size
    return [
        [
            [
                function(
                    [
                        plane[y][x]
                        for y in range(max(top, 0), min(top + rows, height))
                        for x in range(max(left, 0), min(left + columns, width))
                    ]
                )
                for left in lefts
            ]
            for top in tops
        ]
        for plane in source
    ]


def _window_starts(layer: Conv | MaxPool | AveragePool, size: int, axis: int) -> Iterator[int]:
    """First coordinate of every window along one axis; negative in the padding."""
    kernel, stride = layer.kernel_size[axis], layer.stride[axis]
    padding = layer.padding[axis]
    for index in range(window_positions(size, kernel, stride, padding)):
        yield index * stride - padding


# Activation quantizer (section 4)


def _step(quantizer: ActivationQuantizer, source: Tensor) -> int:
    """``D`` of one sample."""
    step = quantizer.step
    match step:
        case FixedStep():
            return step.step
        case AdaptiveStep():
            values = [
                shift_right_half_up(
                    step.pool_multiplier * sum(value for row in plane for value in row),
                    step.pool_shift,
                )
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
        scaled = shift_right_half_up(total * stage.multiplier, stage.shift)
        outputs.append(min(max(scaled, stage.minimum), stage.maximum))
    return outputs


def _quantize(quantizer: ActivationQuantizer, step: int, source: Tensor) -> Tensor:
    low, high = quantizer.grid.minimum, quantizer.grid.maximum
    scale = 1 << quantizer.step_fraction_bits
    return _each(lambda x: min(max(divide_half_up(x * scale, step), low), high), source)


# Convolution and linear layer (section 5)


def _run_weighted(
    layer: Conv | Linear,
    sources: list[Tensor],
    product: Product,
    maps: dict[str, FeatureMap],
    result: OracleTrace,
) -> list[Tensor]:
    """The layer's outputs, sample by sample; everything on the way goes to `result`."""
    quantizer = layer.quantizer
    steps = [_step(quantizer, source) for source in sources]
    codes = [_quantize(quantizer, step, x) for step, x in zip(steps, sources, strict=True)]
    tables = _product_tables(layer, product)
    accumulators = [_accumulate(layer, tables, sample) for sample in codes]
    shape = maps[layer.name].shape
    result.steps[layer.name] = np.array(steps, dtype=np.int64)
    result.codes[layer.name] = _pack(codes, maps[layer.source].shape)
    result.accumulators[layer.name] = tuple(
        _pack([sample[index] for sample in accumulators], shape) for index in range(len(tables))
    )
    return [
        _requantize(layer, step, sample, product)
        for step, sample in zip(steps, accumulators, strict=True)
    ]


def _product_tables(layer: Conv | Linear, product: Product) -> list[dict[int, list[int]]]:
    """For each accumulator, ``E``, ``E`` and ``O``, or ``V``: what a weight code adds for ``q``.

    A code's products stand in a list at the index ``q``; a negative ``q`` counts from its end.
    """
    codes = (*range(layer.quantizer.grid.maximum + 1), *range(layer.quantizer.grid.minimum, 0))
    pairs = layer.weight_grid.decode_table()
    if product.uses_lut(layer.weight_grid):
        fraction = product.lut_fraction_bits
        return [
            {
                weight: [(even * q << fraction) + sqrt2_times(odd * q, fraction) for q in codes]
                for weight, (even, odd) in pairs.items()
            }
        ]
    parts = 2 if layer.weight_grid.uses_sqrt2 else 1
    return [
        {weight: [pair[part] * q for q in codes] for weight, pair in pairs.items()}
        for part in range(parts)
    ]


def _accumulate(
    layer: Conv | Linear, tables: list[dict[int, list[int]]], codes: Tensor
) -> tuple[Tensor, ...]:
    """Every accumulator of one sample, each (O, H, W)."""
    windows = _windows(layer, codes)
    outputs_per_group = layer.out_channels // (layer.groups if isinstance(layer, Conv) else 1)
    weights = layer.weight_codes.reshape(layer.out_channels, -1).tolist()
    accumulators = []
    for table in tables:
        tensor = []
        for channel, row in enumerate(weights):
            products = [table[weight] for weight in row]
            group = channel // outputs_per_group
            tensor.append(
                [
                    [sum(map(getitem, products, window[group])) for window in line]
                    for line in windows
                ]
            )
        accumulators.append(tensor)
    return tuple(accumulators)


def _windows(layer: Conv | Linear, codes: Tensor) -> list[list[list[list[int]]]]:
    """By output row, column and group: the codes that weights meet, in the weights' order."""
    if isinstance(layer, Linear):
        return [[[[plane[0][0] for plane in codes]]]]
    return [
        [
            [_window(layer, codes, group, top, left) for group in range(layer.groups)]
            for left in _window_starts(layer, len(codes[0][0]), axis=1)
        ]
        for top in _window_starts(layer, len(codes[0]), axis=0)
    ]


def _window(layer: Conv, codes: Tensor, group: int, top: int, left: int) -> list[int]:
    channels = layer.in_channels // layer.groups
    rows, columns = layer.kernel_size
    height, width = len(codes[0]), len(codes[0][0])
    return [
        plane[y][x] if 0 <= y < height and 0 <= x < width else 0
        for plane in codes[group * channels : (group + 1) * channels]
        for y in range(top, top + rows)
        for x in range(left, left + columns)
    ]


def _requantize(
    layer: Conv | Linear, step: int, accumulators: tuple[Tensor, ...], product: Product
) -> Tensor:
    fraction = product.fraction_bits(layer.weight_grid)
    dot_products = accumulators[0]
    if len(accumulators) == 2:
        dot_products = _each(lambda e, o: sqrt2_times_pair(e, o, fraction), *accumulators)
    shift, bits = layer.shift + fraction, layer.output.bits
    outputs = []
    for plane, multiplier, bias in zip(
        dot_products, layer.multiplier.tolist(), layer.bias.tolist(), strict=True
    ):
        m = shift_right_half_up(step * multiplier, layer.narrow_shift)
        outputs.append(
            [
                [saturate(shift_right_half_up(v * m, shift) + bias, bits) for v in row]
                for row in plane
            ]
        )
    return outputs
