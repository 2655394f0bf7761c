"""QONNX: maps are real values in floating point, with a ``Quant`` node wherever they are rounded.

Floating point of 24 significant bits is exact throughout: see docs/interchange.md.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from asq_hw.errors import InputError
from asq_hw.interchange.writing.dialect import Dialect, Step, convolution_attributes
from asq_hw.interchange.writing.digits import dot_reach, fewest_digits
from asq_hw.interchange.writing.graph import GraphWriter
from asq_hw.interchange.writing.integers import multiply
from asq_hw.network.activation import ActivationQuantizer
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.schemes import SYMMETRIC
from asq_hw.numbers.validation import IntArray

__all__ = ["QUANT_DOMAIN", "QonnxDialect"]

QUANT_DOMAIN = "qonnx.custom_op.general"

_EXACT = 1 << 24
"""Integers up to here are exact in floating point."""


class QonnxDialect(Dialect):
    """Arbitrary precision as QONNX has it."""

    name: ClassVar[str] = "qonnx"
    title: ClassVar[str] = "QONNX"
    domains: ClassVar[dict[str, int]] = {"": 18, QUANT_DOMAIN: 1}
    fixed_batch: ClassVar[bool] = True
    dtype: ClassVar[type] = np.float32

    def integers(self, graph: GraphWriter, tensor: str, form: FeatureFormat) -> str:
        """The values over their unit."""
        return graph.cast(_scaled(graph, tensor, 2.0**form.fraction_bits), np.int64)

    def stored(
        self, graph: GraphWriter, integers: str, form: FeatureFormat, output: str | None = None
    ) -> str:
        """In their unit; a ``Quant`` node saturates.

        Parameters are those of `Dialect.stored`.
        """
        real = _scaled(graph, graph.cast(integers, np.float32), 2.0**-form.fraction_bits)
        return self.saturated(graph, real, form, output)

    def saturated(
        self, graph: GraphWriter, tensor: str, form: FeatureFormat, output: str | None = None
    ) -> str:
        """By a ``Quant`` node, for which every value is whole already.

        Parameters are those of `Dialect.saturated`.
        """
        unit = graph.constant(2.0**-form.fraction_bits, np.float32)
        return _quant(graph, tensor, unit, form.bits, signed=True, output=output)

    def number(self, graph: GraphWriter, value: int, form: FeatureFormat) -> str:
        """The real value."""
        return graph.constant(value * 2.0**-form.fraction_bits, np.float32)

    def max_pool(self, graph: GraphWriter, tensor: str, output: str, **attributes: Any) -> str:
        """As it is."""
        return graph.op("MaxPool", tensor, output=output, **attributes)

    def codes(
        self,
        graph: GraphWriter,
        tensor: str,
        form: FeatureFormat,
        quantizer: ActivationQuantizer,
        step: Step,
    ) -> str:
        """A ``Quant`` node with the step as its scale, and what it makes over that scale.

        Ties go up. Unsigned codes are rounded half up, from 0 on. For signed ones, half a step is
        added and the sum is rounded down. Parameters are those of `Dialect.codes`.
        """
        unit = 2.0 ** -(quantizer.step_fraction_bits + form.fraction_bits)
        scale = (
            graph.constant(step * unit, np.float32)
            if isinstance(step, int)
            else _scaled(graph, graph.cast(step, np.float32), unit)
        )
        grid, rounding = quantizer.grid, "HALF_UP"
        if grid.signed:
            half = (
                graph.constant(step * unit / 2, np.float32)
                if isinstance(step, int)
                else _scaled(graph, scale, 0.5)
            )
            tensor, rounding = graph.op("Add", tensor, half), "FLOOR"
        quantized = _quant(graph, tensor, scale, grid.bits, signed=grid.signed, rounding=rounding)
        return graph.op("Div", quantized, scale)

    def dot(self, graph: GraphWriter, layer: Conv | Linear, codes: str, weights: IntArray) -> str:
        """Sums in floating point that stay exact.

        Parameters are those of `Dialect.dot`.
        """
        grid = layer.quantizer.grid
        found = fewest_digits(weights, lambda digit: dot_reach(digit, grid) <= _EXACT)
        if found is None:
            raise InputError(
                f"{layer.name}: sums of {weights[0].size} products have no form in QONNX, "
                "whose floating point holds integers of 24 bits"
            )
        width, parts = found
        if isinstance(layer, Linear):
            codes = graph.op("Flatten", codes, axis=1)
        sums = []
        for number, part in enumerate(parts):
            values = _weights(graph, layer, part, is_whole=len(parts) == 1)
            whole = _scaled(graph, _products(graph, layer, codes, values), 2.0 ** _shift(layer))
            sums.append(multiply(graph, graph.cast(whole, np.int64), 1 << (width * number)))
        total = sums[0]
        for part_sum in sums[1:]:
            total = graph.op("Add", total, part_sum)
        if isinstance(layer, Conv):
            return total
        return graph.op("Reshape", total, graph.constant([0, -1, 1, 1]))


def _shift(layer: Conv | Linear) -> int:
    return layer.weight_grid.shift


def _scaled(graph: GraphWriter, tensor: str, power: float) -> str:
    """A real tensor times a power of two."""
    return tensor if power == 1 else graph.op("Mul", tensor, graph.constant(power, np.float32))


def _quant(
    graph: GraphWriter,
    tensor: str,
    scale: str,
    bits: int,
    *,
    signed: bool,
    narrow: bool = False,
    rounding: str = "ROUND",
    output: str | None = None,
) -> str:
    """A ``Quant`` node: codes of `bits` bits times a scale."""
    return graph.op(
        "Quant",
        tensor,
        scale,
        graph.constant(0, np.float32),
        graph.constant(bits, np.float32),
        output=output,
        domain=QUANT_DOMAIN,
        signed=int(signed),
        narrow=int(narrow),
        rounding_mode=rounding,
    )


def _weights(graph: GraphWriter, layer: Conv | Linear, part: IntArray, *, is_whole: bool) -> str:
    """Weights as the values that codes stand for; integers through a ``Quant`` node."""
    matrix = part.T if isinstance(layer, Linear) else part
    values = graph.constant(matrix * 2.0 ** -_shift(layer), np.float32)
    grid = layer.weight_grid
    if grid.scheme.integer_range is None or not is_whole:
        return values
    scale = graph.constant(2.0 ** -_shift(layer), np.float32)
    narrow = grid.scheme is SYMMETRIC
    return _quant(graph, values, scale, grid.bits, signed=True, narrow=narrow)


def _products(graph: GraphWriter, layer: Conv | Linear, codes: str, values: str) -> str:
    if isinstance(layer, Linear):
        return graph.op("MatMul", codes, values)
    attributes: dict[str, Any] = convolution_attributes(layer)
    return graph.op("Conv", codes, values, **attributes)
