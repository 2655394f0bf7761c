"""Each traced operation to its integer layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.images import ImageSpec
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Concat,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Relu,
    Select,
)
from asq_hw.numbers.fixedpoint import divide_half_up, quantize_multiplier
from asq_hw.numbers.validation import IntArray
from asq_hw.numbers.widths import BIAS_BITS, MULTIPLIER_BITS
from asq_hw.train.export.calibration import Calibration
from asq_hw.train.export.integer_layers import integer_weighted
from asq_hw.train.export.source import FirstStep, WeightedSource
from asq_hw.train.export.tables import integer_lookup
from asq_hw.train.graph.operation import Operation, OperationKind
from asq_hw.train.quantizers.activations import OneStepActivationQuantizer
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.quantizers.shared_adapter import SharedAdapter

__all__ = ["Exporter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """Makes the integer layers of a network, one after the other in its order.

    Parameters
    ----------
    formats : dict of str to FeatureFormat
        Of every operation's output.
    ranges : Calibration
        What calibration saw.
    images : ImageSpec
        What the network takes.
    """

    formats: dict[str, FeatureFormat]
    ranges: Calibration
    images: ImageSpec
    first_steps: dict[Adapter, FirstStep] = field(default_factory=dict)
    """Of the layers that were made, by their adapters."""

    def layer(self, operation: Operation) -> Layer:
        """The integer layer of one traced operation."""
        make: dict[OperationKind, Callable[[Operation], Layer]] = {
            OperationKind.INPUT: self._input,
            OperationKind.CONV: self._weighted,
            OperationKind.LINEAR: self._weighted,
            OperationKind.ADD: self._add,
            OperationKind.MULTIPLY: self._multiply,
            OperationKind.LOOKUP: self._lookup,
            OperationKind.CONCAT: self._concat,
            OperationKind.PAD: self._pad,
            OperationKind.SELECT: self._select,
            OperationKind.RELU: self._relu,
            OperationKind.FLATTEN: self._flatten,
            OperationKind.MAX_POOL: self._max_pool,
            OperationKind.AVERAGE_POOL: self._average_pool,
            OperationKind.GLOBAL_AVERAGE_POOL: self._global_average_pool,
        }
        return make[operation.kind](operation)

    def _input(self, operation: Operation) -> Input:
        """``X = (p * step - mean) / std`` as multiplier, offset and shift."""
        output = self.formats[operation.name]
        _, height, width = self.images.shape
        mean, std = np.array(self.images.mean), np.array(self.images.std)
        scale = 2.0**output.fraction_bits / std
        step = self.images.format.step
        assert step is not None
        slope, offset = scale * float(step.numerator) / float(step.denominator), -mean * scale
        largest = max(slope.max(), np.abs(offset).max())
        shift = max(0, BIAS_BITS - 2 - math.ceil(math.log2(largest)))
        return Input(
            name=operation.name,
            height=height,
            width=width,
            multiplier=_integers(slope * 2.0**shift),
            offset=_integers(offset * 2.0**shift),
            shift=shift,
            output=output,
            bits=self.images.format.bits,
            signed=self.images.format.signed,
        )

    def _weighted(self, operation: Operation) -> Layer:
        source = operation.sources[0]
        assert operation.weighted is not None
        quantizer = operation.weighted.activation_quantizer
        adapter = None if quantizer is None else quantizer.adapter
        largest_step = self.ranges.step.get(operation.name, 0.0)
        if isinstance(quantizer, OneStepActivationQuantizer) and adapter is None:
            largest_step = float(quantizer.step().detach())  # it may have learned since
        layer = integer_weighted(
            WeightedSource(
                name=operation.name,
                source=source,
                module=operation.weighted,
                batch_norm=operation.batch_norm,
                source_format=self.formats[source],
                output_format=self.formats[operation.name],
                low=self.ranges.low[operation.name],
                high=self.ranges.high[operation.name],
                positions=self.ranges.positions[source],
                largest_step=largest_step,
                largest_hidden=self.ranges.hidden.get(operation.name, 0.0),
                first=self._first_step(adapter),
            )
        )
        if adapter is not None and isinstance(quantizer, OneStepActivationQuantizer):
            bits = self.formats[source].fraction_bits + layer.quantizer.step_fraction_bits
            unit = float(quantizer.step().detach()) * 2.0**bits
            self.first_steps[adapter] = FirstStep(layer=layer.name, unit=unit)
        return layer

    def _first_step(self, adapter: Adapter | None) -> FirstStep | None:
        """What a layer that takes another one's adapter has to know of that layer."""
        return self.first_steps[adapter.first] if isinstance(adapter, SharedAdapter) else None

    def _add(self, operation: Operation) -> Add:
        return Add(name=operation.name, sources=(operation.sources[0], operation.sources[1]))

    def _multiply(self, operation: Operation) -> Multiply:
        """The product, of the larger map and the other one."""
        first, second = sorted(operation.sources, key=self._size, reverse=True)
        output = self.formats[operation.name]
        fractions = sum(self.formats[source].fraction_bits for source in operation.sources)
        return Multiply(
            name=operation.name,
            sources=(first, second),
            shift=fractions - output.fraction_bits,
            output=output,
        )

    def _size(self, name: str) -> int:
        return self.ranges.low[name].size * self.ranges.positions[name]

    def _lookup(self, operation: Operation) -> Lookup:
        (source,) = operation.sources
        assert operation.function is not None
        return integer_lookup(
            operation.name,
            source,
            operation.function,
            source_format=self.formats[source],
            output_format=self.formats[operation.name],
            magnitude=self.ranges.magnitude(operation.name),
        )

    def _concat(self, operation: Operation) -> Concat:
        return Concat(name=operation.name, sources=operation.sources)

    def _pad(self, operation: Operation) -> Pad:
        assert operation.padding is not None
        channels, rows, columns = operation.padding
        return Pad(
            name=operation.name,
            source=operation.sources[0],
            channels=channels,
            rows=rows,
            columns=columns,
        )

    def _select(self, operation: Operation) -> Select:
        assert operation.selection is not None
        selection = operation.selection
        return Select(
            name=operation.name,
            source=operation.sources[0],
            channels=np.array(selection.channels),
            first=selection.first,
            stride=selection.stride,
            size=selection.size,
        )

    def _relu(self, operation: Operation) -> Relu:
        output = self.formats[operation.name]
        maximum = None
        if operation.maximum is not None:
            bound = round(operation.maximum * 2.0**output.fraction_bits)
            maximum = bound if bound < 1 << (output.bits - 1) else None
        return Relu(name=operation.name, source=operation.sources[0], maximum=maximum)

    def _flatten(self, operation: Operation) -> Flatten:
        return Flatten(name=operation.name, source=operation.sources[0])

    def _max_pool(self, operation: Operation) -> MaxPool:
        assert operation.window is not None
        kernel, stride, padding = operation.window
        return MaxPool(
            name=operation.name,
            source=operation.sources[0],
            kernel_size=kernel,
            stride=stride,
            padding=padding,
        )

    def _average_pool(self, operation: Operation) -> AveragePool:
        assert operation.window is not None
        kernel, stride, padding = operation.window
        multiplier, shift = _reciprocal(kernel[0] * kernel[1])
        return AveragePool(
            name=operation.name,
            source=operation.sources[0],
            kernel_size=kernel,
            stride=stride,
            padding=padding,
            multiplier=multiplier,
            shift=shift,
        )

    def _global_average_pool(self, operation: Operation) -> GlobalAveragePool:
        multiplier, shift = _reciprocal(self.ranges.positions[operation.sources[0]])
        return GlobalAveragePool(
            name=operation.name, source=operation.sources[0], multiplier=multiplier, shift=shift
        )


def _reciprocal(count: int) -> tuple[int, int]:
    """``1 / count`` as multiplier and shift; exact for a power of two."""
    return quantize_multiplier(Fraction(1, count), MULTIPLIER_BITS, maximum_shift=48)


def _integers(values: NDArray[np.float64]) -> IntArray:
    """The nearest integer of each channel's value."""
    integers = []
    for value in values.tolist():
        exact = Fraction(value)
        integers.append(divide_half_up(exact.numerator, exact.denominator))
        if integers[-1].bit_length() >= BIAS_BITS:
            raise InputError(f"the input's normalization {value} does not fit {BIAS_BITS} bits")
    return np.array(integers, dtype=np.int64)
