"""Networks of what only moves values: zeros around maps, maps behind one another, parts of maps."""

from __future__ import annotations

import numpy as np

from asq_hw.conformance.builders import (
    adapter_stage,
    codes_for,
    conv,
    input_layer,
    network,
    quantizer,
)
from asq_hw.network.activation import AdaptiveStep
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Concat, GlobalAveragePool, Pad, Relu, Select

__all__ = ["moved", "selected"]


def moved() -> IntegerNetwork:
    """Zeros on some sides of maps, and maps behind one another, one of them twice."""
    step = AdaptiveStep(
        pool_multiplier=21845,
        pool_shift=20,
        stages=(
            adapter_stage(
                [list(range(-3, 6))], [900], multiplier=1, shift=4, minimum=30, maximum=200
            ),
        ),
    )
    return network(
        "moved",
        input_layer(4, 5, multiplier=[2], offset=[-255]),
        Pad(name="around", source="input", rows=(2, 0), columns=(0, 3)),
        conv(
            "conv",
            "around",
            "post 4 packed",
            codes_for("post 4 packed", (3, 1, 3, 3), 21),
            quantizer(4, 31, signed=True),
            stride=(2, 2),
            multiplier=[900, -1100, 700],
            narrow_shift=4,
            shift=8,
            bias=[5, -9, 0],
        ),
        Pad(name="deeper", source="conv", channels=(1, 2)),
        Relu(name="relu", source="conv"),
        Concat(name="joined", sources=("relu", "deeper")),
        conv(
            "mixing",
            "joined",
            "pot 4 packed",
            codes_for("pot 4 packed", (2, 9, 2, 2), 22),
            quantizer(4, step, signed=True, step_fraction_bits=2),
            padding=(1, 0),
            multiplier=[60, -45],
            narrow_shift=3,
            shift=6,
        ),
        Concat(name="twice", sources=("mixing", "mixing")),
        Pad(name="corner", source="twice", channels=(1, 0), rows=(0, 1), columns=(1, 0)),
        GlobalAveragePool(name="scores", source="corner", multiplier=5461, shift=15),
    )


def selected() -> IntegerNetwork:
    """Channels that are split, shuffled and listed twice; crops, and every n-th row and column."""
    return network(
        "selected",
        input_layer(7, 6, multiplier=[2], offset=[-255]),
        _select("crop", "input", [0, 0], first=(1, 1), stride=(1, 2), size=(6, 2)),
        conv(
            "conv",
            "crop",
            "post 4 packed",
            codes_for("post 4 packed", (4, 2, 3, 1), 51),
            quantizer(4, 31, signed=True),
            padding=(1, 0),
            multiplier=[900, -1100, 700, 350],
            narrow_shift=4,
            shift=8,
            bias=[5, -9, 0, 77],
        ),
        _select("left", "conv", [0, 1], size=(6, 2)),
        _select("right", "conv", [3, 2], size=(6, 2)),
        Concat(name="joined", sources=("right", "left")),
        _select("shuffled", "joined", [0, 2, 1, 3, 2], first=(1, 0), stride=(2, 1), size=(3, 1)),
        GlobalAveragePool(name="means", source="shuffled", multiplier=21845, shift=16),
        _select("scores", "means", [4, 0, 2], size=(1, 1)),
    )


def _select(
    name: str,
    source: str,
    channels: list[int],
    *,
    first: tuple[int, int] = (0, 0),
    stride: tuple[int, int] = (1, 1),
    size: tuple[int, int],
) -> Select:
    return Select(
        name=name,
        source=source,
        channels=np.array(channels),
        first=first,
        stride=stride,
        size=size,
    )
