"""What a network takes and gives out: hand-worked integers of every kind, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asq_hw import oracle
from asq_hw.errors import InputError
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, Flatten, Relu
from asq_hw.network.outputs import Output
from asq_hw.sim import simulate
from asq_hw.sim.kernel_choice import available_kernels
from tests.helpers.networks import (
    conv,
    input_layer,
    network_of_several_outputs,
    quantizer,
)

KERNELS = available_kernels()
VECTORS = np.array([[160, -320, 48], [-2048, 2047, -1]])
"""In steps of 16 with codes of 8 bits, signed: 10, -20, 3 and -128, 127, 0 (-1/16 rounds to 0)."""
SUMS = [[10 - 40 - 6, 30 + 20], [-128 + 254, 3 * -128 - 127]]
"""Weights 1, 2, -2 and 3, -1, 0; the step of 16 comes back with the multiplier 1: times 16."""


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float64])
def test_several_outputs_of_signed_vectors(kernel: str, dtype: type) -> None:
    if dtype is np.float64:
        with pytest.raises(InputError, match="must be an array of integers, not float64"):
            simulate(network_of_several_outputs(), VECTORS.astype(dtype), kernel=kernel)
        return
    result = simulate(network_of_several_outputs(), VECTORS.astype(dtype), kernel=kernel)
    assert [*result.outputs] == ["below.0", "head", "above"]
    below = np.array(SUMS) * 16
    assert result.outputs["below.0"].integers.reshape(2, 2).tolist() == below.tolist()
    above = np.maximum(below, 0)
    assert result.outputs["above"].integers.reshape(2, 2).tolist() == above.tolist()
    codes = np.minimum(above, 255)  # of the last layer: unsigned, in steps of 1
    scores = codes @ np.array([[1, -1, 3], [2, 1, 0]])
    assert result.scores.tolist() == scores.tolist()
    assert result.predictions.tolist() == scores.argmax(1).tolist()
    assert result.has_scores and result.images == 2
    assert [output.is_scores for output in result.outputs.values()] == [False, True, False]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("fused", ["conv", "sum"])
def test_a_map_below_its_relu_is_given_out_as_it_is(kernel: str, fused: str) -> None:
    """A ReLU is computed with the layer before it only where nobody sees what is between."""
    made = conv([[[[255]]], [[[1]]]], activations=quantizer(8, 1), output_bits=16)
    total = [Add(name="sum", sources=("conv", "conv"))] if fused == "sum" else []
    layers = (input_layer(2, 2), made, *total, Relu(name="relu", source=fused))
    outputs = (Output(name="a", layer=fused), Output(name="b", layer="relu"))
    network = IntegerNetwork(name="test", layers=layers, outputs=outputs)
    images = np.array([[[[1, 2], [3, 4]]]], dtype=np.uint8)
    result = simulate(network, images, kernel=kernel)
    factor = 1 if fused == "conv" else 2
    values = factor * np.array([[[-1, -2], [-3, -4]], [[1, 2], [3, 4]]])
    assert result.outputs["a"].integers[0].tolist() == values.tolist()
    assert result.outputs["b"].integers[0].tolist() == np.maximum(values, 0).tolist()


def test_an_early_output_outlives_the_layers_behind_it() -> None:
    """Maps that nobody reads any more give their place to others, but not what is given out."""
    tops = [20, 17, 12, 11, 6, 2]
    relus = [
        Relu(name=f"r{n}", source="input" if n == 0 else f"r{n - 1}", maximum=top)
        for n, top in enumerate(tops)
    ]
    outputs = tuple(Output(name=f"o{n}", layer=relu.name) for n, relu in enumerate(relus))
    layers = (input_layer(3, 4), *relus, Flatten(name="flat", source="r5"))
    network = IntegerNetwork(name="test", layers=layers, outputs=outputs)
    images = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
    result = simulate(network, images, threads=1)
    for output, top in zip(result.outputs.values(), tops, strict=True):
        assert np.array_equal(output.integers, np.minimum(images, top))


def test_the_step_of_an_output_is_its_maps() -> None:
    layer = replace(input_layer(1, 2), output=FeatureFormat(bits=16, fraction_bits=3))
    network = IntegerNetwork(
        name="test",
        layers=(layer, Relu(name="relu", source="input")),
        outputs=(Output(name="map", layer="relu"),),
    )
    output = simulate(network, np.array([[[[5, 16]]]], dtype=np.uint8)).outputs["map"]
    assert (output.step, output.real.tolist()) == (0.125, [[[[0.625, 2.0]]]])


def test_without_class_scores_nothing_is_predicted() -> None:
    several = network_of_several_outputs()
    maps = replace(several, outputs=(several.outputs[0], several.outputs[2]))
    result = simulate(maps, VECTORS)
    assert not result.has_scores
    with pytest.raises(InputError, match=r"no class scores among the outputs below\.0, above"):
        result.predictions  # noqa: B018
    with pytest.raises(InputError, match="several predicts no classes"):
        oracle.predict(maps, VECTORS[:, :, None, None])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("bits", "signed", "values", "wanted"),
    [
        # rshift(3 * p - 5, 1), halves up, saturated at 16 bits
        (2, False, [0, 1, 2, 3], [-2, -1, 1, 2]),
        (2, True, [-2, -1, 0, 1], [-5, -4, -2, -1]),
        (7, True, [-64, 63, -1, 0], [-98, 92, -4, -2]),
        (8, False, [0, 127, 128, 255], [-2, 188, 190, 380]),
        (8, True, [-128, 127, -1, 0], [-194, 188, -4, -2]),
        (9, True, [-256, 255, -1, 0], [-386, 380, -4, -2]),
        (12, False, [4095, 256, 255, 0], [6140, 382, 380, -2]),
        (16, False, [65535, 32768, 21845, 0], [32767, 32767, 32765, -2]),
        (16, True, [-32768, 32767, -1, 256], [-32768, 32767, -4, 382]),
    ],
)
def test_integers_of_every_width(
    kernel: str, bits: int, signed: bool, values: list[int], wanted: list[int]
) -> None:
    layer = replace(input_layer(2, 2, multiplier=3, offset=-5, shift=1), bits=bits, signed=signed)
    network = IntegerNetwork(
        name="test",
        layers=(layer, Relu(name="relu", source="input")),
        outputs=(Output(name="map", layer="input"),),
    )
    images = np.array(values).reshape(1, 1, 2, 2)
    images = images.astype(np.uint8) if (bits, signed) == (8, False) else images
    result = simulate(network, images, kernel=kernel)
    assert result.outputs["map"].integers.reshape(-1).tolist() == wanted
    exact = [(3 * value - 5 + 1) // 2 for value in values]
    beyond = sum(not -(2**15) <= value < 2**15 for value in exact)
    assert result.layers[0].saturated == beyond
    assert oracle.run(network, images)["input"].reshape(-1).tolist() == wanted


def test_channels_stand_apart_in_integers_of_two_bytes() -> None:
    layer = replace(input_layer(1, 2, 2), bits=12, multiplier=np.array([1, -2]))
    layers = (layer, Relu(name="relu", source="input"))
    network = IntegerNetwork(
        name="test", layers=layers, outputs=(Output(name="map", layer="input"),)
    )
    images = np.array([[[[1, 4095]], [[300, 7]]]], dtype=np.uint16)
    strided = np.repeat(images, 2, axis=3)[:, :, :, ::2]
    for given in (images, images.astype(">u2"), strided):
        made = simulate(network, given).outputs["map"].integers
        assert made.tolist() == [[[[1, 4095]], [[-600, -14]]]]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.full((1, 3), 2048), r"values must be -2048\.\.2047, not 2048 at \[0, 0, 0, 0\]"),
        (np.array([[0, 0, 0], [0, -2049, 0]]), r"2047, not -2049 at \[1, 1, 0, 0\]"),
        (np.zeros((1, 3), dtype=bool), "must be an array of integers, not bool"),
        (np.zeros((1, 4), dtype=np.int16), r"images must be \(N, 3, 1, 1\), not \(1, 4, 1, 1\)"),
        (np.zeros((0, 3), dtype=np.int16), "at least one image, not 0"),
        ([[1, 2, 3]], "images must be a int16 array, not list"),
    ],
)
def test_what_an_input_does_not_take_is_named(images: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        simulate(network_of_several_outputs(), images)
