"""Networks of what version 5 of the model file adds: tables, products, windows with gaps."""

from __future__ import annotations

import numpy as np

from asq_hw.conformance.builders import codes_for, conv, input_layer, network, quantizer
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, GlobalAveragePool, Lookup, Multiply

__all__ = ["dilated", "functions"]


def functions() -> IntegerNetwork:
    """Tables of one line, of two and of many; gates for channels, rows and columns; squares."""
    curve = [value * value // 40 - 300 for value in range(-128, 129, 2)]
    return network(
        "functions",
        input_layer(4, 5, multiplier=[257], offset=[-32768]),
        Lookup(
            name="curve",
            source="input",
            shift=9,
            values=np.array([curve]),
            output=FeatureFormat(bits=8, fraction_bits=0),
        ),
        conv(
            "conv",
            "curve",
            "post 4 packed",
            codes_for("post 4 packed", (3, 1, 3, 3), 31),
            quantizer(4, 9, signed=True),
            padding=(1, 1),
            multiplier=[900, -1100, 700],
            narrow_shift=4,
            shift=2,
            bias=[5, -9, 0],
        ),
        Lookup(
            name="leaky",
            source="conv",
            shift=15,
            values=np.array([[-3277, 0, 32768], [-8192, 0, 32768], [30000, 5, -30000]]),
            output=FeatureFormat(bits=16, fraction_bits=0),
        ),
        GlobalAveragePool(name="mean", source="leaky", multiplier=3277, shift=16),
        Lookup(
            name="gate",
            source="mean",
            shift=16,
            values=np.array([[-2000, 2300]]),
            output=FeatureFormat(bits=12, fraction_bits=9),
        ),
        Multiply(
            name="excited",
            sources=("leaky", "gate"),
            shift=8,
            output=FeatureFormat(bits=16, fraction_bits=4),
        ),
        Multiply(
            name="places",
            sources=("excited", "curve"),
            shift=9,
            output=FeatureFormat(bits=12, fraction_bits=4),
        ),
        Multiply(
            name="squares",
            sources=("places", "places"),
            shift=3,
            output=FeatureFormat(bits=24, fraction_bits=0),
        ),
        GlobalAveragePool(name="scores", source="squares", multiplier=3277, shift=16),
    )


def dilated() -> IntegerNetwork:
    """Windows with gaps between rows, between columns and both; dense, grouped and depthwise."""
    return network(
        "dilated",
        input_layer(6, 7, multiplier=[3], offset=[-380]),
        conv(
            "dense",
            "input",
            "post 4 packed",
            codes_for("post 4 packed", (4, 1, 3, 3), 41),
            quantizer(4, 55, signed=True),
            padding=(1, 2),
            dilation=(1, 2),
            multiplier=[900, -700],
            narrow_shift=4,
            shift=8,
        ),
        conv(
            "depthwise",
            "dense",
            "uniform 5 packed",
            codes_for("uniform 5 packed", (4, 1, 2, 3), 42),
            quantizer(5, 140, signed=True),
            padding=(2, 3),
            dilation=(3, 2),
            stride=(2, 1),
            groups=4,
            multiplier=[60, -50],
            shift=8,
        ),
        conv(
            "grouped",
            "depthwise",
            "pot 4 packed",
            codes_for("pot 4 packed", (4, 2, 2, 2), 43),
            quantizer(4, 1700, signed=True),
            padding=(1, 1),
            dilation=(2, 2),
            groups=2,
            multiplier=[3, -2],
            shift=10,
        ),
        conv(
            "columns",
            "depthwise",
            "post 4 packed",
            codes_for("post 4 packed", (4, 4, 2, 2), 44),
            quantizer(4, 1700, signed=True),
            padding=(1, 1),
            dilation=(2, 2),
            multiplier=[30, -20],
            shift=10,
        ),
        Add(name="sum", sources=("grouped", "columns")),
        GlobalAveragePool(name="scores", source="sum", multiplier=4681, shift=16),
    )
