from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from asq_hw import oracle
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, AveragePool, Flatten, Layer, MaxPool, Relu
from asq_hw.network.layers.windows import window_positions
from tests.helpers.networks import (
    conv,
    input_layer,
    linear,
    network,
    network_of_every_kind,
    networks,
    random_images,
)

NAMES = [layer.name for layer in network_of_every_kind().layers]


def test_shapes_of_every_kind() -> None:
    maps = network_of_every_kind().feature_maps()
    assert {name: made.shape for name, made in maps.items()} == {
        "input": (2, 6, 6),
        "stem.0": (2, 6, 6),
        "depthwise": (2, 3, 3),
        "relu6": (2, 3, 3),
        "max": (2, 3, 3),
        "mean": (2, 3, 3),
        "sum": (2, 3, 3),
        "relu": (2, 3, 3),
        "global": (2, 1, 1),
        "flat": (2, 1, 1),
        "head": (3, 1, 1),
    }
    assert list(maps) == NAMES
    assert [maps[name].format.bits for name in ("stem.0", "flat", "head")] == [16, 16, 24]


def test_multiply_accumulates_of_every_kind() -> None:
    macs = network_of_every_kind().macs()
    # 2 * 2 * 3 * 3 weights at 36 places; 2 * 2 * 2 at 9; 3 * 2 once.
    expected = dict.fromkeys(NAMES, 0) | {"stem.0": 1296, "depthwise": 72, "head": 6}
    assert macs == expected


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [(5, 3, 1, 0, 3), (5, 3, 2, 0, 2), (6, 3, 2, 0, 2), (6, 3, 2, 1, 3), (2, 3, 1, 0, 0)],
)
def test_window_positions(size: int, kernel: int, stride: int, padding: int, expected: int) -> None:
    assert window_positions(size, kernel, stride, padding) == expected


@given(drawn=networks())
def test_derived_shapes_are_those_that_are_computed(drawn: IntegerNetwork) -> None:
    made = oracle.trace(drawn, random_images(drawn, 1, seed=0))
    for layer in drawn.layers:
        declared = drawn.feature_maps()[layer.name]
        values = made.feature_maps[layer.name]
        assert values.shape == (1, *declared.shape)
        bound = 2 ** (declared.format.bits - 1)
        assert -bound <= values.min() and values.max() < bound


POOL: dict[str, Any] = {"kernel_size": (3, 3), "stride": (1, 1)}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "a network's first layer must be its input"),
        ([Flatten(name="a", source="b")], "a network's first layer must be its input"),
        ([input_layer(1, 1)] * 2, "input: the name is used by two layers"),
        (
            [input_layer(1, 1), dataclasses.replace(input_layer(1, 1), name="other")],
            "other: a network must have one input, not two",
        ),
        (
            [input_layer(1, 1), Flatten(name="a", source="b"), Flatten(name="b", source="a")],
            "a: reads 'b', which no earlier layer makes",
        ),
        ([input_layer(1, 1), Relu(name="a", source="a")], "a: reads 'a', which no earlier layer"),
        (
            [input_layer(1, 1), Relu(name="reference", source="input")],
            "no layer can be named 'reference'",
        ),
        (
            [input_layer(2, 2), Relu(name="a", source="input")],
            "a: a network's class scores must be (C, 1, 1), not (1, 2, 2)",
        ),
        (
            [input_layer(2, 2, 3), conv(np.zeros((1, 2, 1, 1), int))],
            "conv: needs 2 channels, its source has 3",
        ),
        (
            [input_layer(2, 2, 3), conv(np.zeros((2, 3, 1, 1), int), groups=2)],
            "conv: needs 6 channels, its source has 3",
        ),
        (
            [input_layer(2, 3), conv(np.zeros((1, 1, 3, 3), int))],
            "conv: a window of (3, 3) does not fit into (1, 2, 3)",
        ),
        ([input_layer(1, 1, 3), linear([[0, 0]])], "linear: needs 2 channels, its source has 3"),
        (
            [input_layer(1, 2, 2), linear([[0, 0]])],
            "linear: a linear layer needs (C, 1, 1), not (2, 1, 2)",
        ),
        (
            [input_layer(2, 2), MaxPool(name="pool", source="input", **POOL)],
            "pool: a window of (3, 3) does not fit into (1, 2, 2)",
        ),
        (
            [
                input_layer(5, 2),
                AveragePool(name="pool", source="input", multiplier=1, shift=0, **POOL),
            ],
            "pool: a window of (3, 3) does not fit into (1, 5, 2)",
        ),
        (
            [
                input_layer(1, 1),
                conv([[[[1]]], [[[1]]]]),
                Add(name="add", sources=("input", "conv")),
            ],
            "add: the two sources must have one shape and format, not (1, 1, 1)",
        ),
        (
            [input_layer(1, 1), conv([[[[1]]]]), Add(name="add", sources=("input", "conv"))],
            "add: the two sources must have one shape and format, not (1, 1, 1)",
        ),
        (
            [input_layer(1 << 14, 1 << 14, 2), Flatten(name="flat", source="input")],
            "input: a feature map of (2, 16384, 16384) is too large",
        ),
    ],
)
def test_a_broken_rule_is_named(layers: list[Layer], message: str) -> None:
    with pytest.raises(InputError) as caught:
        IntegerNetwork(name="test", layers=tuple(layers))
    assert str(caught.value).startswith(message)


def test_a_map_of_the_largest_size_is_taken() -> None:
    net = network(input_layer(1 << 14, 1 << 14))
    assert net.feature_maps()["scores"].size == 1 << 28


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a b"}, "a layer's name must be letters"),
        ({"references": {"x": np.zeros((2, 2), int)}}, "reference classes for x must have 1 dim"),
        ({"references": {"x": np.zeros(2)}}, "reference classes for x must be integers, not float"),
        ({"references": {"x": np.array([65536])}}, "reference classes for x must be in 0..65535"),
        ({"references": {"x": np.array([-1])}}, "reference classes for x must be in 0..65535"),
        ({"references": {"../x": np.array([1])}}, "a data set's name must be letters, digits"),
        ({"references": {"": np.array([1])}}, "a data set's name must be letters, digits"),
        ({"metadata": {"x": 1}}, "a network's metadata must be strings, not 'x': 1"),
        ({"metadata": {1: "x"}}, "a network's metadata must be strings, not 1: 'x'"),
    ],
)
def test_a_broken_field_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        IntegerNetwork(**{"name": "test", "layers": (input_layer(1, 1),)} | fields)
    assert str(caught.value).startswith(message)


def test_a_network_cannot_be_changed() -> None:
    net = network_of_every_kind()
    with pytest.raises(TypeError):
        net.references["fashion-mnist"] = np.zeros(3)  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        net.references["fashion-mnist"][0] = 1
    with pytest.raises(TypeError):
        net.metadata["made_by"] = "another"  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.name = "other"  # type: ignore[misc]


def test_the_ends_of_a_network() -> None:
    net = network_of_every_kind()
    assert net.input.name == "input"
    assert net.outputs[0].layer == "head"
