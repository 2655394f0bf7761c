"""Short forms for the layers that the examples are made of, and integers that look arbitrary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.activation import ActivationQuantizer, AdapterStage, FixedStep, Step
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Input, Layer, Linear
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM, scheme_named
from asq_hw.oracle.codes import grid_codes

__all__ = [
    "Requantization",
    "adapter_stage",
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
    """`count` integers of ``low .. high`` from a linear congruence: the same for ever, anywhere.

    Parameters
    ----------
    seed : int
        Where the sequence begins.
    count : int
        How many.
    low, high : int
        Both ends can come.
    """
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
    """An input named ``input``; by default it passes the pixels of one channel on as they are.

    Parameters
    ----------
    height, width : int
        Size of an image in pixels.
    multiplier, offset : sequence of int
        One for each channel.
    shift : int
        Right shift of the products.
    bits, fraction_bits : int
        Format of the feature map that the layer makes.
    """
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
    """Activation codes with a fixed step, or one that is computed.

    Parameters
    ----------
    bits : int
        Width of a code, 2 to 8.
    step : int or Step
        The step, or how it is computed.
    signed : bool
        Whether codes are two's complement.
    step_fraction_bits : int
        ``T``: a step stands for ``step * 2**-T``.
    """
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


class Requantization(TypedDict, total=False):
    """What follows the dot products of a layer, each as it is where it is not given.

    Attributes
    ----------
    multiplier, bias : sequence of int
        Repeated over the outputs: 1 and 0.
    narrow_shift, shift : int
        Right shifts of the multipliers, and of the products: 0.
    bits, fraction_bits : int
        Format of the feature map that the layer makes: 16 and 0.
    """

    multiplier: Sequence[int]
    bias: Sequence[int]
    narrow_shift: int
    shift: int
    bits: int
    fraction_bits: int


def conv(
    name: str,
    source: str,
    grid: str,
    codes: NDArray[np.int64],
    activations: ActivationQuantizer,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    groups: int = 1,
    dilation: Pair = (1, 1),
    **requantization: Unpack[Requantization],
) -> Conv:
    """A convolution.

    Parameters
    ----------
    name, source : str
        Names of the layer and of the one that it reads.
    grid : str
        Of the weights, as ``SCHEME BITS ENCODING``.
    codes : int64 (O, I, kH, kW)
        Codes of the weights.
    activations : ActivationQuantizer
        How the feature map that is read becomes codes.
    stride, padding, dilation : pair of int
        Vertical and horizontal.
    groups : int
        Groups of channels.
    **requantization
        Fields of `Requantization`.
    """
    fields = _weighted(grid, codes, requantization)
    return Conv(
        name=name,
        source=source,
        quantizer=activations,
        stride=stride,
        padding=padding,
        groups=groups,
        dilation=dilation,
        **fields,
    )


def linear(
    name: str,
    source: str,
    grid: str,
    codes: NDArray[np.int64],
    activations: ActivationQuantizer,
    **requantization: Unpack[Requantization],
) -> Linear:
    """A linear layer.

    Parameters
    ----------
    name, source : str
        Names of the layer and of the one that it reads.
    grid : str
        Of the weights, as ``SCHEME BITS ENCODING``.
    codes : int64 (O, I)
        Codes of the weights.
    activations : ActivationQuantizer
        How the feature map that is read becomes codes.
    **requantization
        Fields of `Requantization`.
    """
    fields = _weighted(grid, codes, requantization)
    return Linear(name=name, source=source, quantizer=activations, **fields)


def _weighted(
    grid: str, codes: NDArray[np.int64], requantization: Requantization
) -> dict[str, Any]:
    """Fields that convolutions and linear layers share."""
    scheme, width, encoding = _parse(grid)
    return {
        "weight_grid": Grid(scheme=scheme_named(scheme), bits=width, encoding=Encoding(encoding)),
        "weight_codes": codes.astype(np.uint16),
        "multiplier": np.resize(np.array(requantization.get("multiplier", (1,))), len(codes)),
        "bias": np.resize(np.array(requantization.get("bias", (0,))), len(codes)),
        "narrow_shift": requantization.get("narrow_shift", 0),
        "shift": requantization.get("shift", 0),
        "output": FeatureFormat(
            bits=requantization.get("bits", 16),
            fraction_bits=requantization.get("fraction_bits", 0),
        ),
    }


def adapter_stage(
    weight: list[list[int]],
    bias: list[int],
    *,
    multiplier: int = 1,
    shift: int = 0,
    minimum: int = 0,
    maximum: int = 65535,
) -> AdapterStage:
    """One linear layer of an adapter, without a scale or bounds unless they are given.

    Parameters
    ----------
    weight : nested list of shape (outputs, inputs)
    bias : list of shape (outputs,)
    multiplier, shift : int
        The scale of its outputs, ``multiplier * 2**-shift``.
    minimum, maximum : int
        What they are clamped to.
    """
    return AdapterStage(
        weight=np.array(weight),
        bias=np.array(bias),
        multiplier=multiplier,
        shift=shift,
        minimum=minimum,
        maximum=maximum,
    )
