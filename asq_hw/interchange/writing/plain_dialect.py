"""Plain ONNX: maps are int64, and products are summed in 32-bit integers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from asq_hw.errors import InputError
from asq_hw.interchange.writing.dialect import Dialect, Step, convolution_attributes
from asq_hw.interchange.writing.digits import digits
from asq_hw.interchange.writing.graph import GraphWriter
from asq_hw.interchange.writing.integers import add, clamp, multiply, rdiv
from asq_hw.network.activation import ActivationQuantizer
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.fixedpoint import integer_range
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.validation import IntArray

__all__ = ["PlainDialect"]

_BYTE = 8
_MIDDLE = 1 << (_BYTE - 1)
"""What a byte holds in the place of 0, where it stands for a signed integer."""

_MOST_PRODUCTS = ((1 << 31) - 1) // ((1 << _BYTE) - 1) ** 2
"""Whose sum 32 bits hold, before zero points are taken off."""


class PlainDialect(Dialect):
    """Operators that every runtime has.

    Bytes are unsigned, with a zero point where they stand for signed integers: some processors'
    products of unsigned and signed bytes saturate at 16 bits.
    """

    name: ClassVar[str] = "onnx"
    title: ClassVar[str] = "ONNX"
    domains: ClassVar[dict[str, int]] = {"": 18}
    fixed_batch: ClassVar[bool] = False
    dtype: ClassVar[type] = np.int64

    def integers(self, graph: GraphWriter, tensor: str, form: FeatureFormat) -> str:
        """As they are."""
        del graph, form
        return tensor

    def stored(
        self, graph: GraphWriter, integers: str, form: FeatureFormat, output: str | None = None
    ) -> str:
        """Clamped.

        Parameters are those of `Dialect.stored`.
        """
        low, high = integer_range(form.bits)
        return clamp(graph, integers, low, high, output)

    def saturated(
        self, graph: GraphWriter, tensor: str, form: FeatureFormat, output: str | None = None
    ) -> str:
        """Clamped.

        Parameters are those of `Dialect.saturated`.
        """
        return self.stored(graph, tensor, form, output)

    def number(self, graph: GraphWriter, value: int, form: FeatureFormat) -> str:
        """As it is."""
        del form
        return graph.constant(value)

    def max_pool(self, graph: GraphWriter, tensor: str, output: str, **attributes: Any) -> str:
        """In floating point, which holds every X of 24 bits exactly."""
        real = graph.cast(tensor, np.float32)
        return graph.cast(graph.op("MaxPool", real, **attributes), np.int64, output)

    def codes(
        self,
        graph: GraphWriter,
        tensor: str,
        form: FeatureFormat,
        quantizer: ActivationQuantizer,
        step: Step,
    ) -> str:
        """Bytes.

        Parameters are those of `Dialect.codes`.
        """
        del form
        divisor = graph.constant(step) if isinstance(step, int) else step
        shifted = multiply(graph, tensor, 1 << quantizer.step_fraction_bits)
        grid = quantizer.grid
        codes = clamp(graph, rdiv(graph, shifted, divisor), grid.minimum, grid.maximum)
        return graph.cast(add(graph, codes, _zero_point(grid)), np.uint8)

    def dot(self, graph: GraphWriter, layer: Conv | Linear, codes: str, weights: IntArray) -> str:
        """Sums of products of bytes.

        Parameters are those of `Dialect.dot`.
        """
        count = weights[0].size
        if count > _MOST_PRODUCTS:
            raise InputError(
                f"{layer.name}: sums of {count} products have no form in ONNX, whose integer "
                f"products are summed in 32 bits: at most {_MOST_PRODUCTS}"
            )
        zero = _zero_point(layer.quantizer.grid)
        if isinstance(layer, Conv):
            codes = _padded(graph, layer, codes, zero)
        else:
            codes = graph.op("Flatten", codes, axis=1)
        sums = []
        for number, digit in enumerate(digits(weights, _BYTE)):
            part = _products(graph, layer, codes, zero, digit)
            whole = graph.cast(part, np.int64)
            sums.append(multiply(graph, whole, 1 << (_BYTE * number)))
        total = sums[0]
        for part in sums[1:]:
            total = graph.op("Add", total, part)
        if isinstance(layer, Conv):
            return total
        return graph.op("Reshape", total, graph.constant([0, -1, 1, 1]))


def _zero_point(grid: Grid) -> int:
    return _MIDDLE if grid.signed else 0


def _padded(graph: GraphWriter, layer: Conv, codes: str, zero: int) -> str:
    """Codes with those of 0 around them."""
    rows, columns = layer.padding
    if not rows and not columns:
        return codes
    pads = graph.constant([0, 0, rows, columns, 0, 0, rows, columns])
    return graph.op("Pad", codes, pads, graph.constant(zero, np.uint8), mode="constant")


def _products(
    graph: GraphWriter, layer: Conv | Linear, codes: str, zero: int, digit: IntArray
) -> str:
    points = (graph.constant(zero, np.uint8), graph.constant(_MIDDLE, np.uint8))
    if isinstance(layer, Linear):
        matrix = graph.constant(digit.T + _MIDDLE, np.uint8)
        return graph.op("MatMulInteger", codes, matrix, *points)
    attributes = {**convolution_attributes(layer), "pads": [0, 0, 0, 0]}
    kernel = graph.constant(digit + _MIDDLE, np.uint8)
    return graph.op("ConvInteger", codes, kernel, *points, **attributes)
