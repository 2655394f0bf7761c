"""How large every intermediate integer can get, whatever the input.

Widths are derived from the network's own weights and ranges, never assumed. A network whose
arithmetic could leave 64 bits is refused when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.network.activation import AdapterStage, AdaptiveStep
from asq_hw.network.layers import (
    CODES_AT_A_TIME,
    AveragePool,
    Conv,
    GlobalAveragePool,
    Layer,
    Linear,
)
from asq_hw.numbers.fixedpoint import shift_right_half_up, signed_width, sqrt2_times_pair
from asq_hw.numbers.products import Product
from asq_hw.numbers.validation import BIAS_BITS, IntArray

__all__ = ["EXECUTOR_BITS", "Range", "accumulator_bits", "accumulator_ranges", "check_widths"]

EXECUTOR_BITS = 64
"""Width of the executors' signed integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """All integers from `low` to `high`."""

    low: int
    high: int

    @property
    def bits(self) -> int:
        """Width of a two's complement register that holds them."""
        return signed_width(self.low, self.high)

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(-self.low, self.high)


def accumulator_ranges(layer: Conv | Linear, product: Product) -> tuple[Range, ...]:
    """Ranges of the dot product's accumulators over all inputs and output channels.

    One accumulator, or with ``post-split`` on a grid with the square root of two a pair: the
    even and the odd part. Partial sums in any order stay inside, since every range includes 0
    and is a sum of each term's extremes.
    """
    grid = layer.weight_grid
    if product.uses_lut(grid):
        return (_sum_range(layer, product.lut_entry),)
    even = _sum_range(layer, lambda code, even, odd: code * even)
    if not grid.uses_sqrt2:
        return (even,)
    return even, _sum_range(layer, lambda code, even, odd: code * odd)


def accumulator_bits(layer: Conv | Linear, product: Product) -> int:
    """Width that every accumulator of the layer fits, for all inputs."""
    return max(bound.bits for bound in accumulator_ranges(layer, product))


def _sum_range(layer: Conv | Linear, term: Callable[[int, int, int], int]) -> Range:
    """Range of ``sum(term(q, even, odd))`` for q in Qn..Qp, 0 (padding) included.

    A term never falls, or never rises, as q grows: its extremes stand at the ends.
    """
    low = np.zeros(1 << layer.weight_grid.stored_bits, dtype=np.int64)
    high = np.zeros_like(low)
    ends = (layer.quantizer.grid.minimum, layer.quantizer.grid.maximum)
    for code, pair in layer.weight_grid.decode_table().items():
        terms = [term(end, *pair) for end in ends]
        low[code], high[code] = min(terms), max(terms)
    codes = layer.weight_codes.reshape(layer.out_channels, -1)
    return Range(low=int(_row_sums(low, codes).min()), high=int(_row_sums(high, codes).max()))


def _row_sums(table: IntArray, codes: NDArray[np.uint16]) -> IntArray:
    """Sum of the codes' table entries in each row."""
    rows, columns = codes.shape
    sums = np.zeros(rows, dtype=np.int64)
    width = max(1, CODES_AT_A_TIME // rows)
    for first in range(0, columns, width):
        sums += table[codes[:, first : first + width]].sum(axis=1)
    return sums


def check_widths(
    layer: Layer, product: Product, shapes: Sequence[tuple[int, int, int]], bits: Sequence[int]
) -> None:
    """Raise InputError if `layer` could leave the executors' integers.

    `shapes` and `bits` are the (C, H, W) and feature widths of the layer's sources.
    """
    match layer:
        case Conv() | Linear():
            _check_weighted(layer, product)
            _check_step(layer, shapes[0], bits[0])
        case AveragePool():
            window = layer.kernel_size[0] * layer.kernel_size[1]
            _check_fits(layer.name, "pooled sum", (window << bits[0]) * layer.multiplier)
        case GlobalAveragePool():
            window = shapes[0][1] * shapes[0][2]
            _check_fits(layer.name, "pooled sum", (window << bits[0]) * layer.multiplier)
        case _:
            pass  # the rest only compares, moves or adds two feature maps


def _check_weighted(layer: Conv | Linear, product: Product) -> None:
    # The dot products' own 64-bit sums, bounded before numpy computes them.
    reach = layer.weight_codes[0].size * (layer.quantizer.grid.maximum + 1)
    fraction = product.fraction_bits(layer.weight_grid)
    _check_fits(layer.name, "dot product", reach << (layer.weight_grid.shift + fraction + 1))
    ranges = accumulator_ranges(layer, product)
    if len(ranges) == 2:
        even, odd = (bound.magnitude for bound in ranges)
        value = sqrt2_times_pair(even, odd, fraction)
        _check_fits(layer.name, "odd part", odd * (1 << 16))
    else:
        value = ranges[0].magnitude
    largest = int(np.abs(layer.multiplier).max()) * layer.quantizer.step.maximum
    narrowed = shift_right_half_up(largest, layer.narrow_shift) + 1
    half = 1 << (layer.shift + fraction)
    bias = 1 << BIAS_BITS
    _check_fits(layer.name, "requantization", value * narrowed + half + bias)


def _check_step(layer: Conv | Linear, shape: tuple[int, int, int], bits: int) -> None:
    quantizer = layer.quantizer
    _check_fits(layer.name, "step comparison", 1 << (bits + quantizer.step_fraction_bits + 1))
    step = quantizer.step
    if not isinstance(step, AdaptiveStep):
        return
    channels, height, width = shape
    if step.in_channels != channels:
        raise InputError(
            f"{layer.name}: the adapter takes {step.in_channels} channels, not {channels}",
            rule="R-stage",
        )
    pooled = (height * width << (bits - 1)) * step.pool_multiplier + (1 << step.pool_shift)
    _check_fits(layer.name, "adapter's pooled sum", pooled)
    reach = pooled >> step.pool_shift
    for stage in step.stages:
        _check_fits(layer.name, "adapter's sum", _stage_reach(stage, reach))
        reach = stage.maximum


def _stage_reach(stage: AdapterStage, reach: int) -> int:
    """Bound on the product that a stage's multiplier makes, rounding included."""
    total = int(np.abs(stage.weight).sum(axis=1).max()) * (reach + 1) + int(
        np.abs(stage.bias).max()
    )
    return total * max(1, stage.multiplier) + (1 << stage.shift)


def _check_fits(name: str, what: str, magnitude: int) -> None:
    bits = magnitude.bit_length() + 1
    if bits > EXECUTOR_BITS:
        raise InputError(
            f"{name}: the {what} needs {bits} bits; at most {EXECUTOR_BITS} can be computed",
            rule="L-width",
        )
