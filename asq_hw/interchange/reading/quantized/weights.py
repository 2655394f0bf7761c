"""Convolutions and linear layers of a QONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asq_hw.interchange.reading.bias import bias_of
from asq_hw.interchange.reading.graph import Node
from asq_hw.interchange.reading.quantized.drafts import PlainDraft, WeightedDraft
from asq_hw.interchange.reading.quantized.network import Reading
from asq_hw.interchange.reading.quantized.values import Fixed, Map
from asq_hw.interchange.reading.windows import Window, window_of
from asq_hw.network.feature_map import Shape
from asq_hw.network.layers import Pad
from asq_hw.network.layers.windows import window_positions
from asq_hw.numbers.schemes import Scheme

__all__ = ["weighted"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Weights:
    """Codes, the output channels first, the scale of each of these, and whose codes they are."""

    codes: NDArray[np.int64]
    scale: NDArray[np.float64]
    scheme: Scheme


def weighted(reading: Reading, node: Node, inputs: Sequence[Fixed | Map | None]) -> Map:
    """``Conv``, ``Gemm`` and ``MatMul`` with weights that went through a ``Quant`` node."""
    value = inputs[0]
    if not isinstance(value, Map):
        raise node.refused(f"{node.operator} must have a map as its first input")
    codes = reading.codes_of(node, value)
    weights = _weights(node, inputs[1] if len(inputs) > 1 else None)
    gain, share, offset = 1.0, 1.0, np.zeros(len(weights.codes))
    if node.operator == "Gemm":
        gain, share = node.number("alpha", 1.0), node.number("beta", 1.0)
    bias = inputs[2] if len(inputs) > 2 else None
    if isinstance(bias, Map):
        raise node.refused("bias must be a constant")
    if bias is not None:
        offset = _bias(node, bias, len(offset)) * share
    window = None
    if node.operator == "Conv":
        value, window = _windows(reading, node, value, weights)
    groups = node.integer("group", 1) if node.operator == "Conv" else 1
    rank = 4 if node.operator == "Conv" else 2
    outputs, inputs_each = weights.codes.shape[:2]
    if value.rank != rank or groups < 1 or outputs % groups:
        raise node.refused(f"{node.operator} does not fit a map of {value.shape[1:]}")
    if inputs_each * groups != value.draft.shape[0]:
        raise node.refused(
            f"weights {weights.codes.shape} in {groups} groups do not fit {value.draft.shape[0]} "
            "channels"
        )
    draft = WeightedDraft(
        name=reading.free_name(node.name),
        sources=(value.draft,),
        shape=_shape(node, value, window, outputs, weights.codes.shape[2:]),
        codes=codes,
        weights=weights.codes,
        scheme=weights.scheme,
        factor=weights.scale * codes.scale * gain,
        offset=offset,
        stride=(1, 1) if window is None else window.stride,
        padding=(0, 0) if window is None else window.padding or (0, 0),
        groups=groups,
        dilation=(1, 1) if window is None else window.dilation,
    )
    return Map(draft=reading.keep(draft), rank=rank)


def _weights(node: Node, given: Fixed | Map | None) -> _Weights:
    if not isinstance(given, Fixed):
        raise node.refused("weights must be constants")
    if given.codes is None or given.scales is None:
        raise node.refused("weights must go through a Quant node")
    codes, scales = given.codes, given.scales
    is_conv = node.operator == "Conv"
    if codes.ndim != (4 if is_conv else 2):
        raise node.refused(f"weights of {codes.ndim} dimensions have no integer form")
    if node.operator == "Gemm" and node.integer("transA", 0):
        raise node.refused("a transposed input has no integer form")
    if not is_conv and not (node.operator == "Gemm" and node.integer("transB", 0)):
        codes, scales = codes.T, scales.T
    rows = scales.reshape(len(scales), -1)
    if (rows != rows[:, :1]).any():
        raise node.refused("weights must have one scale, or one for each output channel")
    return _Weights(
        codes=np.ascontiguousarray(codes), scale=np.array(rows[:, 0]), scheme=given.scheme
    )


def _bias(node: Node, bias: Fixed, outputs: int) -> NDArray[np.float64]:
    numbers = bias_of(node, bias.values, outputs).astype(np.float64)
    if not np.isfinite(numbers).all():
        raise node.refused("bias must be finite")
    return numbers


def _windows(reading: Reading, node: Node, value: Map, weights: _Weights) -> tuple[Map, Window]:
    """The window, and the map with zeros around it where they are not the same on both sides."""
    if value.rank != 4:
        raise node.refused("Conv must have images")
    height, width = weights.codes.shape[2:]
    window = window_of(node, value.shape, (height, width))
    if window.padding is not None:
        return value, window
    left, right, above, below = window.sides
    channels, rows, columns = value.draft.shape
    draft = PlainDraft(
        name=reading.free_name(f"{node.name}_pad"),
        sources=(value.draft,),
        shape=(channels, above + rows + below, left + columns + right),
        largest=value.draft.bound,
        make=lambda name, names, form: Pad(
            name=name, source=names[0], rows=(above, below), columns=(left, right)
        ),
    )
    return Map(draft=reading.keep(draft), codes=value.codes), window


def _shape(
    node: Node, value: Map, window: Window | None, outputs: int, kernel: Sequence[int]
) -> Shape:
    if window is None:
        return outputs, 1, 1
    padding = window.padding or (0, 0)
    _, *sizes = value.draft.shape
    height, width = (
        window_positions(size, (taps - 1) * distance + 1, stride, pad)
        for size, taps, distance, stride, pad in zip(
            sizes, kernel, window.dilation, window.stride, padding, strict=True
        )
    )
    if height < 1 or width < 1:
        raise node.refused(f"a window of {tuple(kernel)} does not fit into {value.draft.shape}")
    return outputs, height, width
