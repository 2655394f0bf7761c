"""The layers of an integer network: plain, checked, immutable data.

What each one computes, to the bit, is written in docs/arithmetic.md. A feature map is a signed
fixed-point tensor of shape (N, C, H, W): the integer ``X`` stands for ``X * 2**-fraction_bits``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.network.activation import ActivationQuantizer
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.validation import (
    BIAS_BITS,
    CODE_BITS,
    FEATURE_BITS,
    MAX_SHIFT,
    MAX_WEIGHT_SHIFT,
    MULTIPLIER_BITS,
    IntArray,
    check_codes,
    check_integers,
    check_name,
    check_pair,
    check_range,
)

__all__ = [
    "CODES_AT_A_TIME",
    "Add",
    "AveragePool",
    "Conv",
    "FeatureFormat",
    "Flatten",
    "GlobalAveragePool",
    "Input",
    "Layer",
    "Linear",
    "MaxPool",
    "Relu",
    "WeightedLayer",
    "layer_sources",
]


CODES_AT_A_TIME = 1 << 18
"""Weight codes that a check works on at a time: it takes little memory beside the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFormat:
    """Signed X of `bits` bits that stands for ``X * 2**-fraction_bits``."""

    bits: int = FEATURE_BITS
    fraction_bits: int

    def __post_init__(self) -> None:
        check_range("feature bits", self.bits, 4, 24)
        check_range("fraction bits", self.fraction_bits, -32, 32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Input:
    """Pixels (uint8) to the first feature map.

    ``X = saturate(round((p * multiplier + offset) * 2**-shift))``. `multiplier` and `offset` are
    (C,) and carry the data set's normalization.
    """

    name: str
    height: int
    width: int
    multiplier: IntArray
    offset: IntArray
    shift: int
    output: FeatureFormat

    def __post_init__(self) -> None:
        check_name(self.name)
        check_range("an input's height", self.height, 1, 1 << 14)
        check_range("an input's width", self.width, 1, 1 << 14)
        multiplier = check_integers("an input's multipliers", self.multiplier, BIAS_BITS, 1)
        offset = check_integers("an input's offsets", self.offset, BIAS_BITS, 1)
        if offset.shape != multiplier.shape:
            raise InputError(
                f"an input has {multiplier.size} multipliers but {offset.size} offsets"
            )
        check_range("an input's shift", self.shift, 0, MAX_SHIFT)
        object.__setattr__(self, "multiplier", multiplier)
        object.__setattr__(self, "offset", offset)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.multiplier.size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedLayer:
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

    name: str
    source: str
    quantizer: ActivationQuantizer
    weight_grid: Grid
    weight_codes: NDArray[np.uint16]
    multiplier: IntArray
    narrow_shift: int
    shift: int
    bias: IntArray
    output: FeatureFormat

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
        check_range(f"{self.name}: shift", self.shift, 0, MAX_SHIFT - 16)
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
    def weight_rank(self) -> int:
        """Number of dimensions of the weight codes."""
        raise AssertionError("a weighted layer is a Conv or a Linear")

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv(WeightedLayer):
    """A 2-D convolution (cross-correlation), zero-padded in activation codes."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1

    def __post_init__(self) -> None:
        # Zero-argument super() does not see through the class that slots=True makes anew.
        WeightedLayer.__post_init__(self)
        object.__setattr__(self, "stride", check_pair(f"{self.name}: stride", self.stride, 1, 64))
        object.__setattr__(
            self, "padding", check_pair(f"{self.name}: padding", self.padding, 0, 64)
        )
        check_range(f"{self.name}: groups", self.groups, 1, 1 << 16)
        if self.out_channels % self.groups:
            raise InputError(
                f"{self.name}: {self.out_channels} output channels do not divide into "
                f"{self.groups} groups"
            )

    @property
    def weight_rank(self) -> int:
        """Four: (O, I / groups, kH, kW)."""
        return 4

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return int(self.weight_codes.shape[2]), int(self.weight_codes.shape[3])

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return int(self.weight_codes.shape[1]) * self.groups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear(WeightedLayer):
    """A fully connected layer on a (N, I, 1, 1) feature map."""

    @property
    def weight_rank(self) -> int:
        """Two: (O, I)."""
        return 2

    @property
    def in_channels(self) -> int:
        """Number of inputs."""
        return int(self.weight_codes.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """The saturated sum of two feature maps of one shape and format."""

    name: str
    sources: tuple[str, str]

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "sources", tuple(self.sources))
        if len(self.sources) != 2:
            raise InputError(
                f"{self.name}: an addition must have two sources, not {len(self.sources)}"
            )
        for source in self.sources:
            check_name(source)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneSource:
    """A layer that reads one feature map and keeps its format."""

    name: str
    source: str

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relu(_OneSource):
    """``max(X, 0)``, and for ReLU6 ``min`` of that and `maximum`, in units of X."""

    maximum: int | None = None

    def __post_init__(self) -> None:
        _OneSource.__post_init__(self)
        if self.maximum is not None:
            check_range(f"{self.name}: maximum", self.maximum, 1, (1 << 24) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(_OneSource):
    """(C, H, W) to (C * H * W, 1, 1), in that order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(_OneSource):
    """The largest value of each window; padding never wins."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        _OneSource.__post_init__(self)
        _check_window(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePool(_OneSource):
    """``saturate(round(sum * multiplier * 2**-shift))`` of each window, padding counted as 0."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    multiplier: int
    shift: int

    def __post_init__(self) -> None:
        _OneSource.__post_init__(self)
        _check_window(self)
        check_range(f"{self.name}: multiplier", self.multiplier, 1, (1 << MULTIPLIER_BITS) - 1)
        check_range(f"{self.name}: shift", self.shift, 0, MAX_SHIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalAveragePool(_OneSource):
    """``saturate(round(sum * multiplier * 2**-shift))`` over all of H and W."""

    multiplier: int
    shift: int

    def __post_init__(self) -> None:
        _OneSource.__post_init__(self)
        check_range(f"{self.name}: multiplier", self.multiplier, 1, (1 << MULTIPLIER_BITS) - 1)
        check_range(f"{self.name}: shift", self.shift, 0, MAX_SHIFT)


def _check_window(layer: MaxPool | AveragePool) -> None:
    kernel = check_pair(f"{layer.name}: kernel size", layer.kernel_size, 1, 64)
    padding = check_pair(f"{layer.name}: padding", layer.padding, 0, 32)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise InputError(
            f"{layer.name}: padding must be at most half the kernel {kernel}, not {padding}"
        )
    object.__setattr__(layer, "kernel_size", kernel)
    object.__setattr__(layer, "stride", check_pair(f"{layer.name}: stride", layer.stride, 1, 64))
    object.__setattr__(layer, "padding", padding)


Layer = Input | Conv | Linear | Add | Relu | Flatten | MaxPool | AveragePool | GlobalAveragePool


def layer_sources(layer: Layer) -> tuple[str, ...]:
    """Names of the feature maps that a layer reads."""
    match layer:
        case Input():
            return ()
        case Add():
            return layer.sources
        case _:
            return (layer.source,)
