"""What convolutions and linear layers share: quantize, dot products, requantize."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError, check_range
from asq_hw.network.activation import ActivationQuantizer
from asq_hw.network.bounds import Range, check_fits
from asq_hw.network.feature_map import FeatureFormat, FeatureMap
from asq_hw.network.layers.kind import Form, LayerKind, Stored
from asq_hw.network.names import check_name
from asq_hw.numbers.fixedpoint import shift_right_half_up, sqrt2_times_pair
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.odd_codes import odd_code_range
from asq_hw.numbers.products import Product
from asq_hw.numbers.validation import IntArray, check_codes, check_integers
from asq_hw.numbers.widths import (
    BIAS_BITS,
    CODE_BITS,
    MAX_REQUANTIZATION_SHIFT,
    MAX_SHIFT,
    MAX_WEIGHT_SHIFT,
    MULTIPLIER_BITS,
)

__all__ = ["CODES_AT_A_TIME", "WeightedLayer"]

CODES_AT_A_TIME = 1 << 18
"""Weight codes that a check works on at a time: it takes little memory beside the weights."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedLayer(LayerKind):
    """What convolution and linear layer share: quantize, dot products, requantize.

    Parameters
    ----------
    name, source : str
        This layer's output and the feature map it reads.
    quantizer : ActivationQuantizer
        Turns the source into activation codes.
    weight_grid : Grid
        Values of the weight codes.
    weight_codes : array of int
        Codes, (O, I / groups, kH, kW) for a convolution, (O, I) for a linear layer.
    multiplier : (O,) array of int
        Signed, 16 bits; weight scale and folded batch norm.
    narrow_shift : int
        ``m = round(step * multiplier * 2**-narrow_shift)``, once for each sample and channel.
    shift : int
        ``Y = saturate(round(V * m * 2**-(shift + F)) + bias)``.
    bias : (O,) array of int
        In units of the output.
    output : FeatureFormat
        Of Y.
    """

    weight_rank: ClassVar[int]
    """Number of dimensions of the weight codes."""

    name: str
    source: Annotated[str, Stored("sources", Form.SOURCE)]
    quantizer: Annotated[ActivationQuantizer, Stored("quantizer", Form.QUANTIZER)]
    weight_grid: Annotated[Grid, Stored("weights", Form.WEIGHT_GRID)]
    weight_codes: Annotated[NDArray[np.uint16], Stored("weight_codes", Form.WEIGHT_CODES)]
    multiplier: Annotated[IntArray, Stored("multiplier", Form.VECTOR16)]
    narrow_shift: Annotated[int, Stored("narrow_shift", Form.INTEGER)]
    shift: Annotated[int, Stored("shift", Form.INTEGER)]
    bias: Annotated[IntArray, Stored("bias", Form.VECTOR32)]
    output: Annotated[FeatureFormat, Stored("output", Form.FORMAT)]

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.source)
        codes = check_codes(f"{self.name}: weight codes", self.weight_codes, self.weight_rank)
        if self.weight_grid.shift > MAX_WEIGHT_SHIFT:
            raise InputError(
                f"{self.name}: {self.weight_grid} weights span 2**{self.weight_grid.shift}; "
                f"at most 2**{MAX_WEIGHT_SHIFT} can be computed",
                rule="R-weights",
            )
        self._check_codes_exist(codes.reshape(-1))
        multiplier = check_integers(
            f"{self.name}: multipliers", self.multiplier, MULTIPLIER_BITS, 1
        )
        bias = check_integers(f"{self.name}: biases", self.bias, BIAS_BITS, 1)
        for what, array in (("multipliers", multiplier), ("biases", bias)):
            if array.size != codes.shape[0]:
                raise InputError(
                    f"{self.name}: {codes.shape[0]} outputs need as many {what}, not {array.size}"
                )
        check_range(f"{self.name}: narrow shift", self.narrow_shift, 0, MAX_SHIFT)
        check_range(f"{self.name}: shift", self.shift, 0, MAX_REQUANTIZATION_SHIFT)
        for field, value in (("weight_codes", codes), ("multiplier", multiplier), ("bias", bias)):
            object.__setattr__(self, field, value)

    def _check_codes_exist(self, codes: NDArray[np.uint16]) -> None:
        valid = np.zeros(1 << CODE_BITS, dtype=np.bool_)
        valid[list(self.weight_grid.decode_table())] = True
        for first in range(0, codes.size, CODES_AT_A_TIME):
            block = codes[first : first + CODES_AT_A_TIME]
            if not valid[block].all():
                bad = int(block[~valid[block]][0])
                raise InputError(f"{self.name}: {bad} is no code of {self.weight_grid} weights")

    @property
    def out_channels(self) -> int:
        """Number of output channels."""
        return int(self.weight_codes.shape[0])

    def decoded_weights(self) -> tuple[IntArray, IntArray]:
        """Even and odd parts of the weights over the grid's common shift, shaped like the codes."""
        even = np.zeros(1 << self.weight_grid.stored_bits, dtype=np.int64)
        odd = np.zeros_like(even)
        for code, (even_part, odd_part) in self.weight_grid.decode_table().items():
            even[code], odd[code] = even_part, odd_part
        return even[self.weight_codes], odd[self.weight_codes]

    @property
    @abstractmethod
    def in_channels(self) -> int:
        """Number of channels of the feature map that it reads."""

    @property
    def source_names(self) -> tuple[str, ...]:
        """The one map whose codes meet the weights."""
        return (self.source,)

    def check_channels(self, source: FeatureMap) -> None:
        """Raise InputError if `source` has not as many channels as the weights have columns."""
        if source.shape[0] != self.in_channels:
            raise InputError(
                f"{self.name}: needs {self.in_channels} channels, its source has {source.shape[0]}"
            )

    def macs(self, output: FeatureMap) -> int:
        """Each weight once for each place of the output."""
        _, height, width = output.shape
        return self.weight_codes.size * height * width

    def accumulator_ranges(self, product: Product) -> tuple[Range, ...]:
        """Ranges of the dot product's accumulators over all inputs and output channels.

        One accumulator, or with ``post-split`` on a grid with the square root of two a pair: the
        even and the odd part. Partial sums in any order stay inside, since every range includes 0
        and is a sum of each term's extremes.
        """
        grid = self.weight_grid
        if product.uses_lut(grid):
            return (self._sum_range(lambda codes, pair: product.lut_entry(codes.q, *pair)),)
        if product.uses_odd_codes(grid):
            return (self._sum_range(lambda codes, pair: codes.q * pair[0] + codes.odd * pair[1]),)
        even = self._sum_range(lambda codes, pair: codes.q * pair[0])
        if not product.has_pair(grid):
            return (even,)
        return even, self._sum_range(lambda codes, pair: codes.q * pair[1])

    def accumulator_bits(self, product: Product) -> int:
        """Width that every accumulator fits, for all inputs."""
        return max(bound.bits for bound in self.accumulator_ranges(product))

    def _sum_range(self, term: Callable[[_Codes, tuple[int, int]], int]) -> Range:
        """Range of ``sum(term(codes, (even, odd)))`` for all codes, 0 (padding) included.

        A term never falls, or never rises, as the codes grow: its extremes stand at the ends.
        """
        low = np.zeros(1 << self.weight_grid.stored_bits, dtype=np.int64)
        high = np.zeros_like(low)
        grid = self.quantizer.grid
        ends = list(map(_Codes, (grid.minimum, grid.maximum), odd_code_range(grid)))
        for code, pair in self.weight_grid.decode_table().items():
            terms = [term(end, pair) for end in ends]
            low[code], high[code] = min(terms), max(terms)
        codes = self.weight_codes.reshape(self.out_channels, -1)
        return Range(low=int(_row_sums(low, codes).min()), high=int(_row_sums(high, codes).max()))

    def check_widths(self, product: Product, sources: Sequence[FeatureMap]) -> None:
        """Bound the dot products, what requantization makes of them, and the step."""
        # The dot products' own 64-bit sums, bounded before numpy computes them.
        reach = self.weight_codes[0].size * (self.quantizer.grid.maximum + 1)
        fraction = product.fraction_bits(self.weight_grid)
        check_fits(self.name, "dot product", reach << (self.weight_grid.shift + fraction + 1))
        ranges = self.accumulator_ranges(product)
        if len(ranges) == 2:
            even, odd = (bound.magnitude for bound in ranges)
            value = sqrt2_times_pair(even, odd, fraction)
            check_fits(self.name, "odd part", odd * (1 << 16))
        else:
            value = ranges[0].magnitude
        largest = int(np.abs(self.multiplier).max()) * self.quantizer.step.maximum
        narrowed = shift_right_half_up(largest, self.narrow_shift) + 1
        half = 1 << (self.shift + fraction)
        bias = 1 << BIAS_BITS
        check_fits(self.name, "requantization", value * narrowed + half + bias)
        self.quantizer.check_widths(self.name, sources[0])


class _Codes(NamedTuple):
    """Both codes of an activation."""

    q: int
    odd: int


def _row_sums(table: IntArray, codes: NDArray[np.uint16]) -> IntArray:
    """Sum of the codes' table entries in each row."""
    rows, columns = codes.shape
    sums = np.zeros(rows, dtype=np.int64)
    width = max(1, CODES_AT_A_TIME // rows)
    for first in range(0, columns, width):
        sums += table[codes[:, first : first + width]].sum(axis=1)
    return sums
