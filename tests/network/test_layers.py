"""Every rule of a layer and its parts, each broken once; the message names it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from asq_hw.errors import InputError
from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep, FixedStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.layers import Add, AveragePool, Flatten, GlobalAveragePool, Input, MaxPool, Relu
from asq_hw.network.layers.weighted import CODES_AT_A_TIME
from asq_hw.network.names import check_name
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POT, UNIFORM
from asq_hw.numbers.validation import check_codes, check_integers
from tests.helpers.networks import conv, input_layer, linear, log_linear_step, quantizer

STAGE = AdapterStage(
    weight=np.ones((1, 2), int), bias=np.ones(1, int), multiplier=1, shift=0, minimum=1, maximum=9
)
STEP = AdaptiveStep(pool_multiplier=1, pool_shift=0, stages=(STAGE,))
LOG_LINEAR = log_linear_step(2)
SHARED = SharedExponentStep(lowest=3, highest=9)
CONV = conv(np.zeros((2, 1, 3, 3), int), groups=2)
LINEAR = linear([[1, 2, 3]])
MAX_POOL = MaxPool(name="pool", source="input", kernel_size=(3, 3), stride=(2, 2))
AVERAGE_POOL = AveragePool(
    name="pool", source="input", kernel_size=(3, 3), stride=(2, 2), multiplier=1, shift=0
)
GLOBAL = GlobalAveragePool(name="pool", source="input", multiplier=1, shift=0)


def zeros(*shape: int) -> Any:
    return np.zeros(shape, dtype=np.int64)


@pytest.mark.parametrize(
    ("good", "field", "value", "message"),
    [
        (FeatureFormat(fraction_bits=0), "bits", 3, "feature bits must be an integer in 4..24"),
        (FeatureFormat(fraction_bits=0), "bits", 25, "feature bits must be an integer in 4..24"),
        (FeatureFormat(fraction_bits=0), "bits", True, "feature bits must be an integer in 4..24"),
        (FeatureFormat(fraction_bits=0), "fraction_bits", 33, "fraction bits must be an integer"),
        (FeatureFormat(fraction_bits=0), "fraction_bits", 1.0, "fraction bits must be an integer"),
        (FixedStep(step=1), "step", 0, "a step size must be an integer in 1..65535, not 0"),
        (FixedStep(step=1), "step", 65536, "a step size must be an integer in 1..65535, not 65536"),
        (STAGE, "weight", zeros(2), "an adapter's weights must have 2 dimensions"),
        (STAGE, "weight", zeros(1, 2) + 128, "an adapter's weights must be in -128..127, not 128"),
        (STAGE, "weight", zeros(2, 2), "an adapter stage has 2 outputs but 1 biases"),
        (STAGE, "bias", zeros(1) + 2**31, "an adapter's biases must be in -2147483648..2147483647"),
        (STAGE, "bias", np.ones(1), "an adapter's biases must be integers, not float64"),
        (STAGE, "multiplier", 65536, "an adapter's multiplier must be an integer in 0..65535"),
        (STAGE, "shift", 63, "an adapter's shift must be an integer in 0..62, not 63"),
        (STAGE, "minimum", -1, "an adapter's minimum must be an integer in 0..65535, not -1"),
        (STAGE, "maximum", 0, "an adapter's maximum must be an integer in 1..65535, not 0"),
        (STAGE, "maximum", 65536, "an adapter's maximum must be an integer in 1..65535"),
        (LOG_LINEAR, "pool_multiplier", 0, "a pooling multiplier must be an integer in 1..65535"),
        (LOG_LINEAR, "pool_shift", 63, "a pooling shift must be an integer in 0..62, not 63"),
        (LOG_LINEAR, "weight", zeros(1, 2), "a log-linear step's weights must have 1 dimension"),
        (LOG_LINEAR, "weight", zeros(2) - 129, "a log-linear step's weights must be in -128..127"),
        (LOG_LINEAR, "multiplier", -1, "a log-linear step's multiplier must be an integer in"),
        (LOG_LINEAR, "shift", 63, "a log-linear step's shift must be an integer in 0..62, not 63"),
        (LOG_LINEAR, "offset", 2**31, "a log-linear step's offset must be an integer in"),
        (LOG_LINEAR, "lowest", -1, "a log-linear step's minimum must be an integer in 0..4095"),
        (LOG_LINEAR, "highest", 4096, "a log-linear step's maximum must be an integer in 0..4095"),
        (SHARED, "lowest", -1, "a shared exponent's minimum must be an integer in 0..15, not -1"),
        (SHARED, "highest", 2, "a shared exponent's maximum must be an integer in 3..15, not 2"),
        (SHARED, "highest", 16, "a shared exponent's maximum must be an integer in 3..15, not 16"),
        (STEP, "pool_multiplier", 0, "a pooling multiplier must be an integer in 1..65535"),
        (STEP, "pool_shift", -1, "a pooling shift must be an integer in 0..62, not -1"),
        (STEP, "stages", (), "an adapter must have 1 or 2 stages, not 0"),
        (STEP, "stages", (STAGE,) * 3, "an adapter must have 1 or 2 stages, not 3"),
        (STEP, "stages", (STAGE,) * 2, "an adapter's second stage must take 1 inputs, not 2"),
        (
            STEP,
            "stages",
            (dataclasses.replace(STAGE, minimum=0),),
            "an adapter's last stage must have one output of at least 1",
        ),
        (
            STEP,
            "stages",
            (dataclasses.replace(STAGE, weight=zeros(2, 2), bias=zeros(2)),),
            "an adapter's last stage must have one output of at least 1",
        ),
        (quantizer(), "grid", Grid(scheme=POT, bits=4), "an activation's grid must be unif"),
        (quantizer(), "step_fraction_bits", 25, "step fraction bits must be an integer in 0..24"),
        (input_layer(1, 1), "name", "1st", "a layer's name must be letters, digits, '_'"),
        (input_layer(1, 1), "height", 0, "an input's height must be an integer in 1..16384"),
        (input_layer(1, 1), "width", 16385, "an input's width must be an integer in 1..16384"),
        (input_layer(1, 1), "multiplier", zeros(2), "an input has 2 multipliers but 1 offsets"),
        (input_layer(1, 1), "multiplier", zeros(1, 1), "an input's multipliers must have 1 dim"),
        (input_layer(1, 1), "multiplier", zeros(0), "an input's multipliers must have 1 dim"),
        (
            input_layer(1, 1),
            "offset",
            zeros(1) - 2**32,
            "an input's offsets must be in -21474836",
        ),
        (input_layer(1, 1), "shift", 63, "an input's shift must be an integer in 0..62, not 63"),
        (CONV, "name", "a..b", "a layer's name must be"),
        (CONV, "source", "", "a layer's name must be"),
        (CONV, "weight_codes", zeros(2, 9), "conv: weight codes must have 4 dimensions and not be"),
        (
            CONV,
            "weight_codes",
            zeros(2, 1, 3, 0),
            "conv: weight codes must have 4 dimensions",
        ),
        (CONV, "weight_codes", zeros(2, 1, 1, 1) - 1, "conv: weight codes must be in 0..65535"),
        (CONV, "weight_codes", zeros(2, 1, 1, 1) + 256, "conv: 256 is no code of 8-bit uniform"),
        (CONV, "weight_codes", zeros(2, 1, 1, 1) + 65535, "conv: 65535 is no code of 8-bit unif"),
        (
            CONV,
            "weight_codes",
            zeros(3, 1, 1, 1),
            "conv: 3 outputs need as many multipliers",
        ),
        (CONV, "weight_grid", Grid(scheme=POT, bits=7), "span 2**62; at most 2**31 can be"),
        (CONV, "multiplier", zeros(2) + 32768, "conv: multipliers must be in -32768..32767, not"),
        (CONV, "bias", zeros(3), "conv: 2 outputs need as many biases, not 3"),
        (CONV, "bias", zeros(2) + 2**31, "conv: biases must be in -2147483648..2147483647, not"),
        (CONV, "narrow_shift", 63, "conv: narrow shift must be an integer in 0..62, not 63"),
        (CONV, "shift", 47, "conv: shift must be an integer in 0..46, not 47"),
        (CONV, "shift", -1, "conv: shift must be an integer in 0..46, not -1"),
        (CONV, "stride", (0, 1), "conv: stride must be an integer in 1..64, not 0"),
        (CONV, "stride", (1, 1, 1), "conv: stride must be two integers (height, width), not"),
        (CONV, "padding", (0, -1), "conv: padding must be an integer in 0..64, not -1"),
        (CONV, "groups", 0, "conv: groups must be an integer in 1..65536, not 0"),
        (CONV, "groups", 3, "conv: 2 output channels do not divide into 3 groups"),
        (LINEAR, "weight_codes", zeros(1, 1, 1, 1), "linear: weight codes must have 2 dimensions"),
        (LINEAR, "bias", zeros(2), "linear: 1 outputs need as many biases, not 2"),
        (
            Add(name="a", sources=("b", "c")),
            "sources",
            ("b",),
            "a: an addition must have two",
        ),
        (Add(name="a", sources=("b", "c")), "sources", ("b", "c/d"), "a layer's name must be"),
        (Relu(name="a", source="b"), "maximum", 0, "a: maximum must be an integer in 1..16777215"),
        (Relu(name="a", source="b"), "maximum", 2**24, "a: maximum must be an integer in 1..1677"),
        (Flatten(name="a", source="b"), "source", "b c", "a layer's name must be"),
        (MAX_POOL, "kernel_size", (65, 1), "pool: kernel size must be an integer in 1..64, not 65"),
        (MAX_POOL, "stride", (1, 0), "pool: stride must be an integer in 1..64, not 0"),
        (MAX_POOL, "padding", (2, 0), "pool: padding must be at most half the kernel (3, 3), not"),
        (AVERAGE_POOL, "padding", (0, 2), "pool: padding must be at most half the kernel (3, 3)"),
        (AVERAGE_POOL, "multiplier", 0, "pool: multiplier must be an integer in 1..65535, not 0"),
        (AVERAGE_POOL, "shift", 63, "pool: shift must be an integer in 0..62, not 63"),
        (GLOBAL, "multiplier", 65536, "pool: multiplier must be an integer in 1..65535, not 65536"),
        (GLOBAL, "shift", True, "pool: shift must be an integer in 0..62, not True"),
        (GLOBAL, "shift", -1, "pool: shift must be an integer in 0..62, not -1"),
    ],
)
def test_a_broken_rule_is_named(good: Any, field: str, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(good, **{field: value})
    assert str(caught.value).startswith(message) or message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "_", "layer1.0.conv1", "A9", "x" * 64])
def test_names_of_layers(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "a.", ".a", "a..b", "9a", "a-b", "a/b", "a b", "é", "a\n", "x" * 65, 7, None]
)
def test_names_that_are_refused(name: Any) -> None:
    with pytest.raises(InputError, match="a layer's name must be letters"):
        check_name(name)


def test_arrays_are_copied_and_read_only() -> None:
    mine = np.array([[1, 2]])
    layer = linear(mine)
    mine[0, 0] = 7
    assert layer.weight_codes.tolist() == [[1, 2]]
    for array in (layer.weight_codes, layer.multiplier, layer.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_types_of_arrays() -> None:
    assert check_codes("codes", np.array([1, 2], np.uint8), 1).dtype == np.uint16
    assert check_integers("numbers", np.array([1, 2], np.int8), 8, 1).dtype == np.int64


def test_unsigned_64_bit_values_do_not_wrap() -> None:
    with pytest.raises(InputError, match=r"must be in .*, not 18446744073709551615"):
        check_integers("numbers", np.array([2**64 - 1], np.uint64), 32, 1)


def test_a_bad_code_in_the_last_block_is_found() -> None:
    codes = np.zeros((1, 2 * CODES_AT_A_TIME + 1), dtype=np.uint16)
    codes[0, -1] = 9
    with pytest.raises(InputError, match="linear: 9 is no code of 3-bit uniform"):
        linear(codes, bits=3)


@pytest.mark.parametrize(
    ("scheme", "encoding", "bad"),
    [
        # 3 bits: packed has indices 1 .. 3 and code 0; the sign with index 0 is invalid.
        ("pot", Encoding.PACKED, [4]),
        # paper: 4 bits, indices 1 .. 4; so 5, 6, 7 and 8 with or without the sign are invalid.
        ("post", Encoding.PAPER, [5, 6, 7, 8, 13, 14, 15, 16]),
        ("post", Encoding.ZERO_FREE, [8]),
        ("apot", Encoding.PACKED, [4, 8]),
        ("uniform", Encoding.PACKED, [8]),
    ],
)
def test_exactly_the_codes_of_the_contract_are_valid(
    scheme: str, encoding: Encoding, bad: list[int]
) -> None:
    for code in range(17):
        if code in bad or code >= 1 << (3 + (encoding is Encoding.PAPER)):
            with pytest.raises(InputError, match=f"{code} is no code of"):
                linear([[code]], scheme=scheme, bits=3, encoding=encoding)
        else:
            linear([[code]], scheme=scheme, bits=3, encoding=encoding)


def test_decoded_weights_are_pairs_over_the_common_shift() -> None:
    # 4-bit post: code 7 is 1 = 8 / 2**3, code 6 is sqrt(2) * 4 / 2**3, code 1 is 2**-3.
    even, odd = linear([[7, 6, 14, 1, 0]], scheme="post", bits=4).decoded_weights()
    assert even.tolist() == [[8, 0, 0, 1, 0]]
    assert odd.tolist() == [[0, 4, -4, 0, 0]]


def test_sizes_that_are_derived() -> None:
    assert (CONV.in_channels, CONV.out_channels, CONV.kernel_size) == (2, 2, (3, 3))
    assert (LINEAR.in_channels, LINEAR.out_channels) == (3, 1)
    assert input_layer(2, 3, 4).channels == 4
    assert STEP.in_channels == 2
    assert (STEP.maximum, FixedStep(step=7).maximum) == (9, 7)
    assert LOG_LINEAR.in_channels == 2
    assert (LOG_LINEAR.maximum, SHARED.maximum) == (65359, 512)  # 2**(4095 / 256) = 65358.8


def test_sources() -> None:
    assert input_layer(1, 1).source_names == ()
    assert Add(name="a", sources=("b", "c")).source_names == ("b", "c")
    assert CONV.source_names == ("input",)


def test_a_quantizer_is_made_of_its_parts() -> None:
    made = ActivationQuantizer(
        grid=Grid(scheme=UNIFORM, bits=4, signed=False), step=STEP, step_fraction_bits=3
    )
    assert (made.grid.minimum, made.grid.maximum) == (0, 15)
    assert isinstance(dataclasses.replace(input_layer(1, 1), name="other"), Input)
