"""Short forms for the layers that the examples are made of, and integers that look arbitrary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.activation import ActivationQuantizer, FixedStep, Step
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Input, Layer, Linear
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM, scheme_named
from asq_hw.oracle.codes import grid_codes

__all__ = [
    "arbitrary",
    "codes_for",
    "conv",
    "every_code",
    "input_layer",
    "linear",
    "network",
    "quantizer",
]

Pair = tuple[int, int]


def arbitrary(seed: int, count: int, low: int, high: int) -> list[int]:
    """`count` integers of ``low .. high`` from a linear congruence: the same for ever, anywhere."""
    state, values = seed, []
    for _ in range(count):
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        values.append(low + (state >> 33) % (high - low + 1))
    return values


def network(name: str, *layers: Layer) -> IntegerNetwork:
    """A network of these layers, the last of which makes the scores."""
    return IntegerNetwork(name=name, layers=layers)


def input_layer(
    height: int,
    width: int,
    *,
    multiplier: Sequence[int] = (1,),
    offset: Sequence[int] = (0,),
    shift: int = 0,
    bits: int = 16,
    fraction_bits: int = 0,
) -> Input:
    """An input named ``input``; by default it passes the pixels of one channel on as they are."""
    return Input(
        name="input",
        height=height,
        width=width,
        multiplier=np.array(multiplier),
        offset=np.array(offset),
        shift=shift,
        output=FeatureFormat(bits=bits, fraction_bits=fraction_bits),
    )


def quantizer(
    bits: int, step: int | Step, *, signed: bool = False, step_fraction_bits: int = 0
) -> ActivationQuantizer:
    """Activation codes with a fixed step, or one that is computed."""
    return ActivationQuantizer(
        grid=Grid(scheme=UNIFORM, bits=bits, signed=signed),
        step=FixedStep(step=step) if isinstance(step, int) else step,
        step_fraction_bits=step_fraction_bits,
    )


def codes_for(grid: str, shape: Sequence[int], seed: int) -> NDArray[np.int64]:
    """Arbitrary valid codes of a grid that is written as ``SCHEME BITS ENCODING``."""
    valid = list(grid_codes(*_parse(grid)).pairs)
    places = arbitrary(seed, int(np.prod(shape)), 0, len(valid) - 1)
    return np.array([valid[place] for place in places]).reshape(shape)


def every_code(grid: str, kernel: Pair) -> NDArray[np.int64]:
    """Every valid code of a grid, (O, 1, kH, kW); the last kernel begins again from the first."""
    valid = list(grid_codes(*_parse(grid)).pairs)
    taps = kernel[0] * kernel[1]
    outputs = -(-len(valid) // taps)
    return np.resize(np.array(valid), (outputs, 1, *kernel))


def _parse(grid: str) -> tuple[str, int, str]:
    scheme, bits, encoding = grid.split()
    return scheme, int(bits), encoding


def conv(
    name: str,
    source: str,
    grid: str,
    codes: NDArray[np.int64],
    activations: ActivationQuantizer,
    *,
    multiplier: Sequence[int] = (1,),
    narrow_shift: int = 0,
    shift: int = 0,
    bias: Sequence[int] = (0,),
    bits: int = 16,
    fraction_bits: int = 0,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    groups: int = 1,
) -> Conv:
    """A convolution; multipliers and biases are repeated over the output channels."""
    scheme, width, encoding = _parse(grid)
    return Conv(
        name=name,
        source=source,
        quantizer=activations,
        weight_grid=Grid(scheme=scheme_named(scheme), bits=width, encoding=Encoding(encoding)),
        weight_codes=codes.astype(np.uint16),
        multiplier=np.resize(np.array(multiplier), len(codes)),
        narrow_shift=narrow_shift,
        shift=shift,
        bias=np.resize(np.array(bias), len(codes)),
        output=FeatureFormat(bits=bits, fraction_bits=fraction_bits),
        stride=stride,
        padding=padding,
        groups=groups,
    )


def linear(
    name: str,
    source: str,
    grid: str,
    codes: NDArray[np.int64],
    activations: ActivationQuantizer,
    *,
    multiplier: Sequence[int] = (1,),
    narrow_shift: int = 0,
    shift: int = 0,
    bias: Sequence[int] = (0,),
    bits: int = 16,
    fraction_bits: int = 0,
) -> Linear:
    """A linear layer; multipliers and biases are repeated over the outputs."""
    scheme, width, encoding = _parse(grid)
    return Linear(
        name=name,
        source=source,
        quantizer=activations,
        weight_grid=Grid(scheme=scheme_named(scheme), bits=width, encoding=Encoding(encoding)),
        weight_codes=codes.astype(np.uint16),
        multiplier=np.resize(np.array(multiplier), len(codes)),
        narrow_shift=narrow_shift,
        shift=shift,
        bias=np.resize(np.array(bias), len(codes)),
        output=FeatureFormat(bits=bits, fraction_bits=fraction_bits),
    )
