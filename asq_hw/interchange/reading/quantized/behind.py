"""Constants behind a layer with weights: what that layer computes besides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.interchange.reading.graph import Constant, Node
from asq_hw.interchange.reading.quantized.drafts import InputDraft, WeightedDraft
from asq_hw.interchange.reading.quantized.inputs import Inputs, constant, only_map
from asq_hw.interchange.reading.quantized.network import Reading
from asq_hw.interchange.reading.quantized.values import Map
from asq_hw.network.input_format import PIXELS

__all__ = ["affine", "batch_norm"]


def affine(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """A constant for each channel, added or multiplied: computed by the layer before."""
    maps = [one for one in inputs if isinstance(one, Map)]
    if len(maps) != 1 or len(inputs) != 2:
        raise node.refused(f"{node.operator} of two maps has no integer form here")
    (value,) = maps
    is_first = isinstance(inputs[1], Map)
    numbers = _by_channel(node, constant(node, inputs, 0 if is_first else 1, "an operand"), value)
    one, none = np.ones_like(numbers), np.zeros_like(numbers)
    match node.operator, is_first:
        case ("Add", _):
            factor, offset = one, numbers
        case ("Mul", _):
            factor, offset = numbers, none
        case ("Sub", False):
            factor, offset = one, -numbers
        case ("Sub", True):
            factor, offset = -one, numbers
        case ("Div", False) if numbers.all():
            factor, offset = 1 / numbers, none
        case _:
            raise node.refused("a number over a map has no integer form")
    return _scaled(reading, node, value, factor, offset)


def _by_channel(node: Node, numbers: Constant, value: Map) -> NDArray[np.float64]:
    """A constant as one number for each channel."""
    channels = value.draft.shape[0]
    shape = (1, channels, 1, 1) if value.rank == 4 else (1, channels)
    try:
        found = np.broadcast_to(numbers.astype(np.float64), shape).reshape(-1)
    except ValueError:
        raise node.refused(
            f"a constant of {numbers.shape} must be one number for each of {channels} channels"
        ) from None
    if not np.isfinite(found).all():
        raise node.refused("constants must be finite")
    return np.array(found)


def batch_norm(reading: Reading, node: Node, inputs: Inputs) -> Map:
    """``BatchNormalization``."""
    value = only_map(node, inputs)
    names = ("scale", "bias", "mean", "variance")
    scale, bias, mean, variance = (
        constant(node, inputs, place, name).astype(np.float64)
        for place, name in enumerate(names, start=1)
    )
    if {one.shape for one in (scale, bias, mean, variance)} != {(value.draft.shape[0],)}:
        raise node.refused(f"batch norm must have {value.draft.shape[0]} numbers of each kind")
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + node.number("epsilon", 1e-5))
    if not np.isfinite(factor).all():
        raise node.refused("batch norm must be finite")
    return _scaled(reading, node, value, factor, bias - mean * factor)


def _scaled(
    reading: Reading,
    node: Node,
    value: Map,
    factor: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> Map:
    """Let the layer before multiply and add."""
    draft = value.draft
    if value.codes is not None or not reading.is_alone(draft):
        raise node.refused(
            f"{node.operator} must follow a convolution or linear layer, and be alone in that"
        )
    if isinstance(draft, WeightedDraft):
        draft.factor, draft.offset = draft.factor * factor, draft.offset * factor + offset
    elif isinstance(draft, InputDraft) and (factor > 0).all():
        if draft.form != PIXELS:  # real values of which would be taken for those behind it
            raise node.refused(
                f"{node.operator} of an input that is no pixels has no integer form; leave it out, "
                "and give its mean and std"
            )
        draft.mean, draft.std = draft.mean - offset * draft.std / factor, draft.std / factor
    else:
        raise node.refused(f"{node.operator} must follow a convolution or linear layer")
    return value
