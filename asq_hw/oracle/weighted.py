"""Convolution and linear layer (section 5), one sample at a time."""

from __future__ import annotations

from operator import add, getitem

from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.products import Product
from asq_hw.oracle.arithmetic import R2, rshift, sat, sqrt2
from asq_hw.oracle.codes import code_range, odd_code_range, weight_codes
from asq_hw.oracle.plain import Tensor, each
from asq_hw.oracle.windows import window_places, window_starts

__all__ = ["ProductTables", "accumulate", "has_odd_codes", "product_tables", "requantize"]

SPLIT_FRACTION_BITS = 4
R2_FRACTION_BITS = 15

ProductTables = list[dict[int, list[int]]]
"""For each sum what a weight code adds, by ``q``; a negative one counts from the end. The last sum
is of ``qO`` where the layer has odd codes."""


def _uses_table(layer: Conv | Linear, product: Product) -> bool:
    return weight_codes(layer).has_sqrt2 and product.kind.value == "post-lut"


def has_odd_codes(layer: Conv | Linear, product: Product) -> bool:
    """Whether the layer's activations have a second code."""
    return weight_codes(layer).has_sqrt2 and product.kind.value == "post-dual"


def product_tables(layer: Conv | Linear, product: Product) -> ProductTables:
    """Of ``E``, of ``E`` and ``O``, of ``V``, or of the two parts of ``V`` by ``q`` and ``qO``."""
    codes = _in_python_order(code_range(layer.quantizer))
    pairs, has_sqrt2 = weight_codes(layer)
    if _uses_table(layer, product):
        fraction = product.lut_fraction_bits
        return [
            {
                weight: [even * q * 2**fraction + sqrt2(odd * q, fraction) for q in codes]
                for weight, (even, odd) in pairs.items()
            }
        ]
    odd = codes
    if has_odd_codes(layer, product):
        odd = _in_python_order(odd_code_range(layer.quantizer))
    return [
        {weight: [pair[part] * q for q in ordered] for weight, pair in pairs.items()}
        for part, ordered in enumerate([codes, odd] if has_sqrt2 else [codes])
    ]


def _in_python_order(ends: tuple[int, int]) -> tuple[int, ...]:
    """All codes, so that a negative one stands where it counts from the end."""
    low, high = ends
    return (*range(high + 1), *range(low, 0))


def accumulate(
    layer: Conv | Linear, tables: ProductTables, codes: Tensor, odd_codes: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Every accumulator of one sample, each (O, H, W).

    Parameters
    ----------
    layer : Conv or Linear
        Weights and windows.
    tables : ProductTables
        Its products.
    codes : tensor
        The sample's ``q``.
    odd_codes : tensor, optional
        Its ``qO``, where there are such: then one accumulator adds both sums.
    """
    if odd_codes is None:
        return _sums(layer, tables, codes)
    parts = zip(tables, (codes, odd_codes), strict=True)
    return (each(add, *(_sums(layer, [table], read)[0] for table, read in parts)),)


def _sums(layer: Conv | Linear, tables: ProductTables, codes: Tensor) -> tuple[Tensor, ...]:
    windows = _windows(layer, codes)
    weights = layer.weight_codes.reshape(len(layer.weight_codes), -1).tolist()
    groups = layer.groups if isinstance(layer, Conv) else 1
    accumulators = []
    for table in tables:
        tensor = []
        for channel, row in enumerate(weights):
            products = [table[weight] for weight in row]
            group = channel * groups // len(weights)
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
            for left in window_starts(layer, len(codes[0][0]), axis=1)
        ]
        for top in window_starts(layer, len(codes[0]), axis=0)
    ]


def _window(layer: Conv, codes: Tensor, group: int, top: int, left: int) -> list[int]:
    channels = int(layer.weight_codes.shape[1])
    rows, columns = (window_places(layer, axis) for axis in range(2))
    height, width = len(codes[0]), len(codes[0][0])
    return [
        plane[top + y][left + x] if 0 <= top + y < height and 0 <= left + x < width else 0
        for plane in codes[group * channels : (group + 1) * channels]
        for y in rows
        for x in columns
    ]


def requantize(
    layer: Conv | Linear, step: int, accumulators: tuple[Tensor, ...], product: Product
) -> Tensor:
    """``Y`` of one sample.

    Parameters
    ----------
    layer : Conv or Linear
        Multipliers, shifts, biases and format.
    step : int
        ``D``, the sample's step.
    accumulators : tuple of tensor
        Sums of products: one, or even and odd.
    product : Product
        How they were made.
    """
    fraction, dot_products = _dot_products(layer, accumulators, product)
    shift, bits = layer.shift + fraction, layer.output.bits
    outputs = []
    for plane, multiplier, bias in zip(
        dot_products, layer.multiplier.tolist(), layer.bias.tolist(), strict=True
    ):
        m = rshift(step * multiplier, layer.narrow_shift)
        outputs.append([[sat(rshift(v * m, shift) + bias, bits) for v in row] for row in plane])
    return outputs


def _dot_products(
    layer: Conv | Linear, accumulators: tuple[Tensor, ...], product: Product
) -> tuple[int, Tensor]:
    """``F`` and ``V``."""
    if not weight_codes(layer).has_sqrt2 or has_odd_codes(layer, product):
        return 0, accumulators[0]
    if _uses_table(layer, product):
        return product.lut_fraction_bits, accumulators[0]
    drop = R2_FRACTION_BITS - SPLIT_FRACTION_BITS
    joined = each(lambda e, o: 2**SPLIT_FRACTION_BITS * e + rshift(o * R2, drop), *accumulators)
    return SPLIT_FRACTION_BITS, joined
