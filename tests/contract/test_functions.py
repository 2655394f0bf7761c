"""Products of maps, tables and windows with gaps, worked by hand; oracle and simulator alike."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from asq_hw import oracle
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import GlobalAveragePool, Lookup, Multiply
from asq_hw.sim import simulate
from tests.helpers.networks import conv, input_layer, network

Pixels = NDArray[np.uint8]


def both(net: IntegerNetwork, images: Pixels) -> list[int]:
    """The scores that oracle and simulator give."""
    made = oracle.run(net, images)[net.outputs[0].layer].reshape(-1).tolist()
    for kernel in ("portable", "auto"):
        assert simulate(net, images, kernel=kernel).scores.reshape(-1).tolist() == made
    return list(made)


def pixels(*planes: list[list[int]]) -> Pixels:
    return np.array([planes], dtype=np.uint8)


def test_a_product_is_rounded_half_up_and_saturated() -> None:
    product = Multiply(
        name="square",
        sources=("input", "input"),
        shift=3,
        output=FeatureFormat(bits=8, fraction_bits=0),
    )
    net = network(input_layer(1, 5, offset=-40), product)
    # -2, 2, 6, -10, 40: squares 4, 4, 36, 100, 1600; eighths .5, .5, 4.5, 12.5, 200
    assert both(net, pixels([[38, 42, 46, 30, 80]])) == [1, 1, 5, 13, 127]


@pytest.mark.parametrize("name", ["channel", "row", "column", "place"])
def test_one_element_meets_all_along_its_axis(name: str) -> None:
    # Two channels of 2 x 2 times what one of the axes keeps of them.
    first = pixels([[1, 2], [3, 4]], [[5, 6], [7, 8]])
    kernels = {
        "channel": (GlobalAveragePool(name="gate", source="input", multiplier=1, shift=0), None),
        "row": (None, [[[[0, 1]], [[1, 0]]]]),
        "column": (None, [[[[0], [1]], [[1], [0]]]]),
        "place": (None, [[[[1]], [[1]]]]),
    }
    pool, weights = kernels[name]
    gate = pool or conv(weights, name="gate", source="input", output_bits=16)
    product = Multiply(
        name="out", sources=("input", "gate"), shift=0, output=FeatureFormat(fraction_bits=0)
    )
    expected = {
        "channel": [10, 20, 30, 40, 130, 156, 182, 208],  # sums 10 and 26
        "row": [7, 14, 33, 44, 35, 42, 77, 88],  # 2 + 5, 4 + 7
        "column": [8, 20, 24, 40, 40, 60, 56, 80],  # 3 + 5, 4 + 6
        "place": [6, 16, 30, 48, 30, 48, 70, 96],  # 6, 8, 10, 12
    }
    assert both(network(input_layer(2, 2, 2), gate, product), first) == expected[name]


def test_a_table_is_straight_between_its_values() -> None:
    # 4 bits, so X is -8 .. 7; four segments of four.
    table = Lookup(
        name="table",
        source="input",
        shift=2,
        values=np.array([[0, 10, -3, 100, 300]]),
        output=FeatureFormat(bits=8, fraction_bits=0),
    )
    net = network(input_layer(1, 16, offset=-8, bits=4), table)
    expected = [
        0, 3, 5, 8,  # 0, 2.5, 5, 7.5
        10, 7, 4, 0,  # 10, 6.75, 3.5, 0.25
        -3, 23, 49, 74,  # -3, 22.75, 48.5, 74.25
        100, 127, 127, 127,  # 100, 150, 200, 250
    ]  # fmt: skip
    assert both(net, pixels([list(range(16))])) == expected


def test_each_channel_may_have_a_table() -> None:
    table = Lookup(
        name="table",
        source="input",
        shift=4,
        values=np.array([[-8, 8], [80, -80]]),
        output=FeatureFormat(bits=8, fraction_bits=0),
    )
    net = network(input_layer(1, 3, 2, offset=-8, bits=4), table)
    assert both(net, pixels([[0, 9, 15]], [[0, 9, 15]])) == [-8, 1, 7, 80, -10, -70]


def test_a_table_of_every_value_is_any_function() -> None:
    values = np.array([[*range(100, 116), 0]])
    table = Lookup(
        name="table", source="input", shift=0, values=values, output=FeatureFormat(fraction_bits=0)
    )
    net = network(input_layer(1, 16, offset=-8, bits=4), table)
    assert both(net, pixels([list(range(16))])) == list(range(100, 116))


def test_weights_meet_codes_a_dilation_apart() -> None:
    net = network(input_layer(2, 4), conv([[[[1, 2], [0, 3]]]], name="gaps", dilation=(1, 2)))
    assert net.feature_maps()["gaps"].shape == (1, 1, 2)
    # 1 * 1 + 2 * 3 + 3 * 7 and 1 * 2 + 2 * 4 + 3 * 8
    assert both(net, pixels([[1, 2, 3, 4], [5, 6, 7, 8]])) == [28, 34]
