"""The oracle against numbers worked by hand, and against the contract's formulas in numpy."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from asq_hw import oracle
from asq_hw.errors import InputError
from asq_hw.network.activation import AdapterStage, AdaptiveStep, FixedStep, Step
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import (
    LAYER_KINDS,
    Add,
    AveragePool,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    Linear,
    MaxPool,
    Relu,
)
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.oracle.arithmetic import exp2
from tests.helpers.networks import (
    Pixels,
    cases,
    conv,
    input_layer,
    linear,
    network,
    network_of_every_kind,
    pixels,
    quantizer,
    random_images,
)

Case = tuple[IntegerNetwork, Pixels, Product]
LUT = Product(kind=ProductKind.POST_LUT)
DUAL = Product(kind=ProductKind.POST_DUAL)


def output_of(
    layer: Layer, image: object, *before: Layer, product: Product | None = None
) -> object:
    """What `layer` makes of one image, as nested lists (C, H, W)."""
    maps = oracle.run(network(*before, layer), pixels(image), product)
    return maps[layer.name][0].tolist()


def signed_input(height: int, width: int, channels: int = 1, bits: int = 16) -> Input:
    """Pixels 0 .. 255 as -128 .. 127."""
    return input_layer(height, width, channels, offset=-128, bits=bits)


def from_signed(values: object) -> NDArray[np.int64]:
    """Pixels that `signed_input` turns into these values."""
    return np.asarray(values) + 128


# Layers without weights


def test_input_rounds_half_up_and_saturates() -> None:
    # (3p - 5) / 2: p = 0: -2.5 -> -2; 1: -1; 2: 0.5 -> 1; 45: 65; 255: 380 -> 127 in 8 bits.
    layer = input_layer(1, 5, multiplier=3, offset=-5, shift=1, bits=8)
    assert output_of(layer, [[0, 1, 2, 45, 255]]) == [[[-2, -1, 1, 65, 127]]]


def test_input_saturates_below() -> None:
    # -p + 0 for p = 7, 8, 9 in 4 bits: -7, -8, -8.
    assert output_of(input_layer(1, 3, multiplier=-1, bits=4), [[7, 8, 9]]) == [[[-7, -8, -8]]]


def test_input_has_a_multiplier_and_an_offset_for_each_channel() -> None:
    layer = Input(
        name="input",
        height=1,
        width=1,
        multiplier=np.array([1, 10]),
        offset=np.array([100, -5]),
        shift=0,
        output=FeatureFormat(fraction_bits=0),
    )
    assert output_of(layer, [[[3]], [[4]]]) == [[[103]], [[35]]]


def test_add_saturates_on_both_sides() -> None:
    # In 8 bits: 100 + 100 -> 127, -128 + -128 -> -128, 1 + 1 = 2.
    layer = Add(name="add", sources=("input", "input"))
    image = from_signed([[100, -128, 1]])
    assert output_of(layer, image, signed_input(1, 3, bits=8)) == [[[127, -128, 2]]]


def test_relu() -> None:
    layer = Relu(name="relu", source="input")
    image = from_signed([[-128, -1, 0, 1, 127]])
    assert output_of(layer, image, signed_input(1, 5)) == [[[0, 0, 0, 1, 127]]]


def test_relu6_cuts_at_its_maximum() -> None:
    layer = Relu(name="relu", source="input", maximum=6)
    image = from_signed([[-128, -1, 5, 6, 7]])
    assert output_of(layer, image, signed_input(1, 5)) == [[[0, 0, 5, 6, 6]]]


def test_flatten_runs_through_columns_then_rows_then_channels() -> None:
    layer = Flatten(name="flatten", source="input")
    image = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    expected = [[[value]] for value in (1, 2, 3, 4, 5, 6, 7, 8)]
    assert output_of(layer, image, input_layer(2, 2, 2)) == expected


def test_padding_never_wins_in_max_pool() -> None:
    # Windows of 2 x 2 over -4 -3 / -2 -1 with a border; a border of zeros would make zeros.
    layer = MaxPool(name="pool", source="input", kernel_size=(2, 2), stride=(1, 1), padding=(1, 1))
    image = from_signed([[-4, -3], [-2, -1]])
    expected = [[[-4, -3, -3], [-2, -1, -1], [-2, -1, -1]]]
    assert output_of(layer, image, signed_input(2, 2)) == expected


def test_max_pool_strides_and_leaves_out_what_does_not_fit() -> None:
    # Rows: one window of 2 in 3. Columns: windows of 1 at 0, 2, 4.
    layer = MaxPool(name="pool", source="input", kernel_size=(2, 1), stride=(2, 2))
    image = [[1, 2, 3, 4, 5], [9, 8, 0, 6, 1], [7, 7, 7, 7, 7]]
    assert output_of(layer, image, input_layer(3, 5)) == [[[9, 3, 5]]]


def test_average_pool_counts_padding_as_zeros_and_rounds_half_up() -> None:
    # Sums of 1 x 2 windows over (0) 3 -4 1 (0): 3, -1, -3, 1; times 1 / 2: 1.5 -> 2, -0.5 -> 0,
    # -1.5 -> -1, 0.5 -> 1.
    layer = AveragePool(
        name="pool",
        source="input",
        kernel_size=(1, 2),
        stride=(1, 1),
        padding=(0, 1),
        multiplier=1,
        shift=1,
    )
    image = from_signed([[3, -4, 1]])
    assert output_of(layer, image, signed_input(1, 3)) == [[[2, 0, -1, 1]]]


def test_average_pool_saturates() -> None:
    # 7 * 3 = 21 -> 7 and -8 * 3 = -24 -> -8 in 4 bits.
    layer = AveragePool(
        name="pool", source="input", kernel_size=(1, 1), stride=(1, 1), multiplier=3, shift=0
    )
    image = from_signed([[7, -8, 2]])
    assert output_of(layer, image, signed_input(1, 3, bits=4)) == [[[7, -8, 6]]]


def test_global_average_pool() -> None:
    # (1 + 2 + 3 + 4) * 3 / 4 = 7.5 -> 8; (5 + 5 + 5 + 6) * 3 / 4 = 15.75 -> 16.
    layer = GlobalAveragePool(name="pool", source="input", multiplier=3, shift=2)
    image = [[[1, 2], [3, 4]], [[5, 5], [5, 6]]]
    assert output_of(layer, image, input_layer(2, 2, 2)) == [[[8]], [[16]]]


# The activation quantizer


def codes_of(layer: Conv | Linear, image: object, *before: Layer) -> object:
    return oracle.trace(network(*before, layer), pixels(image)).codes[layer.name][0].tolist()


def test_ties_between_codes_go_up() -> None:
    # X / 2: -3 -> -1.5 -> -1; -1 -> -0.5 -> 0; 1 -> 0.5 -> 1; 3 -> 1.5 -> 2; 2 -> 1.
    layer = conv([[[[0]]]], activations=quantizer(4, 2, signed=True))
    image = from_signed([[-3, -1, 1, 3, 2]])
    assert codes_of(layer, image, signed_input(1, 5)) == [[[-1, 0, 1, 2, 1]]]


def test_codes_are_clamped_to_the_grid() -> None:
    # 3 bits: signed -4 .. 3, unsigned 0 .. 7, step 1.
    image = from_signed([[-128, -5, -4, 3, 4, 7, 8, 127]])
    signed = conv([[[[0]]]], activations=quantizer(3, 1, signed=True))
    unsigned = conv([[[[0]]]], activations=quantizer(3, 1))
    assert codes_of(signed, image, signed_input(1, 8)) == [[[-4, -4, -4, 3, 3, 3, 3, 3]]]
    assert codes_of(unsigned, image, signed_input(1, 8)) == [[[0, 0, 0, 3, 4, 7, 7, 7]]]


def test_the_step_has_fraction_bits() -> None:
    # D = 5 with 1 fraction bit is 2.5: 3 / 2.5 = 1.2 -> 1, 4 / 2.5 = 1.6 -> 2, 10 / 2.5 = 4.
    layer = conv([[[[0]]]], activations=quantizer(8, 5, step_fraction_bits=1))
    assert codes_of(layer, [[3, 4, 10]], input_layer(1, 3)) == [[[1, 2, 4]]]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 10, 64, 65535])
@pytest.mark.parametrize("fraction_bits", [0, 1, 3])
def test_counting_thresholds_is_the_same_as_dividing(
    signed: bool, step: int, fraction_bits: int
) -> None:
    activations = quantizer(3, step, signed=signed, step_fraction_bits=fraction_bits)
    values = np.arange(-128, 128)
    layer = conv([[[[0]]]], activations=activations)
    codes = codes_of(layer, from_signed([values.tolist()]), signed_input(1, 256))
    low, high = (-4, 3) if signed else (0, 7)
    scale = Fraction(2**fraction_bits, step)
    divided = [min(max(math.floor(x * scale + Fraction(1, 2)), low), high) for x in values.tolist()]
    assert codes == [[divided]]


def one_stage(**changes: int) -> AdaptiveStep:
    fields = {"multiplier": 3, "shift": 2, "minimum": 1, "maximum": 100} | changes
    stage = AdapterStage(weight=np.array([[2, -1]]), bias=np.array([7]), **fields)  # type: ignore[arg-type]
    return AdaptiveStep(pool_multiplier=3, pool_shift=3, stages=(stage,))


def step_of(step: Step, image: object) -> int:
    shape = np.shape(image)
    layer = conv([[[[0]], [[0]]]], activations=quantizer(8, step))
    made = oracle.trace(
        network(signed_input(shape[1], shape[2], shape[0]), layer), pixels(from_signed(image))
    )
    return int(made.steps["conv"][0])


def test_an_adaptive_step_of_one_stage() -> None:
    # Sums 10 and -6: 10 * 3 / 8 = 3.75 -> 4; -6 * 3 / 8 = -2.25 -> -2.
    # a = 7 + 2 * 4 + 2 = 17; 17 * 3 / 4 = 12.75 -> 13.
    assert step_of(one_stage(), [[[1, 2], [3, 4]], [[-3, -3], [0, 0]]]) == 13


def test_pooled_means_round_half_up() -> None:
    # Sums 4 and -4: 12 / 8 = 1.5 -> 2; -12 / 8 = -1.5 -> -1. a = 7 + 4 + 1 = 12; 12 * 3 / 4 = 9.
    assert step_of(one_stage(), [[[4]], [[-4]]]) == 9


def test_an_adapter_clamps_on_both_sides() -> None:
    # Sum 100 -> 37.5 -> 38: a = 83, 62.25 -> 62. Sum -100 -> -37.5 -> -37: a = -67 -> -50.
    assert step_of(one_stage(maximum=61), [[[100]], [[0]]]) == 61
    assert step_of(one_stage(minimum=5), [[[-100]], [[0]]]) == 5
    assert step_of(one_stage(), [[[100]], [[0]]]) == 62


def test_an_adaptive_step_of_two_stages() -> None:
    # p = 5 and 3. Hidden: (5 - 3 + 0) * 1 = 2 and clamp(-5 + 3) = 0 (its ReLU), and 5 + 3 + 1 = 9.
    # a = 4 + 10 * 2 + 20 * 0 - 1 * 9 = 15; 15 / 2 = 7.5 -> 8.
    first = AdapterStage(
        weight=np.array([[1, -1], [-1, 1], [1, 1]]),
        bias=np.array([0, 0, 1]),
        multiplier=1,
        shift=0,
        minimum=0,
        maximum=65535,
    )
    second = AdapterStage(
        weight=np.array([[10, 20, -1]]),
        bias=np.array([4]),
        multiplier=1,
        shift=1,
        minimum=1,
        maximum=65535,
    )
    step = AdaptiveStep(pool_multiplier=1, pool_shift=0, stages=(first, second))
    assert step_of(step, [[[5]], [[3]]]) == 8


def test_a_log_linear_step() -> None:
    # p = 4 and -2 as above: a = 2 * 4 + 2 = 10; 10 * 77 / 4 = 192.5 -> 193; e = 893.
    # 2**(893 / 256) = 2**3.488 = 11.2; 2**(800 / 256) = 2**3.125 = 8.7; 2**(3000 / 256) = 3370.7.
    image = [[[1, 2], [3, 4]], [[-3, -3], [0, 0]]]

    def step(**changes: int) -> LogLinearStep:
        fields = {"pool_multiplier": 3, "pool_shift": 3, "multiplier": 77, "shift": 2}
        fields |= {"offset": 700, "lowest": 0, "highest": 4095}
        return LogLinearStep(weight=np.array([2, -1]), **(fields | changes))

    assert step_of(step(), image) == 11
    assert step_of(step(highest=800), image) == 9
    assert step_of(step(lowest=3000), image) == 3371
    assert step_of(step(offset=-(2**31)), image) == 1


def test_a_shared_adapter_gives_the_first_layers_step_times_a_constant() -> None:
    # The first layer's step is 13, as above: 13 * 5 / 2 = 32.5 -> 33, or the nearer end.
    image = [[[1, 2], [3, 4]], [[-3, -3], [0, 0]]]

    def step(**changes: int) -> int:
        fields = {"multiplier": 5, "shift": 1, "minimum": 1, "maximum": 65535} | changes
        first = conv([[[[0]], [[0]]]], name="first", activations=quantizer(8, one_stage()))
        taken = quantizer(8, SharedAdapterStep(layer="first", **fields))  # type: ignore[arg-type]
        second = conv([[[[0]]]], name="second", source="first", activations=taken)
        net = network(signed_input(2, 2, 2), first, second)
        made = oracle.trace(net, pixels(from_signed(image)))
        return int(made.steps["second"][0])

    assert step() == 33
    assert step(maximum=30) == 30
    assert step(minimum=40) == 40
    assert step(multiplier=5, shift=2) == 16  # 16.25


@pytest.mark.parametrize("source", ["first", "input", "second", "nobody"])
def test_a_shared_adapter_is_that_of_an_earlier_layer_with_one(source: str) -> None:
    fixed = conv([[[[0]]]], name="first", activations=quantizer(8, FixedStep(step=3)))
    step = SharedAdapterStep(layer=source, multiplier=1, shift=0, minimum=1, maximum=9)
    second = conv([[[[0]]]], name="second", source="first", activations=quantizer(8, step))
    with pytest.raises(
        InputError, match=f"second: its step must come from .*, not from '{source}'"
    ):
        network(signed_input(1, 1, 1), fixed, second)


@pytest.mark.parametrize(
    ("values", "bits", "signed", "fraction_bits", "expected"),
    [
        ([5, -7], 4, False, 3, 2 ** (2 + 3 - 3)),  # 2**2 <= 7 and 2**3 <= 15
        ([5, -7], 4, True, 3, 2 ** (2 + 3 - 2)),  # 2**2 <= 7 of codes up to 7
        ([5, -8], 4, True, 3, 2 ** (3 + 3 - 2)),  # a magnitude that is a power itself
        ([100, 3], 2, True, 0, 2**6),  # 2**6 <= 100, and 1 is the largest code
        ([0, 0], 8, False, 9, 2 ** (0 + 9 - 7)),
        ([1, 0], 8, False, 0, 1),  # 2**-7 is below the minimum
        ([-128, 0], 2, False, 20, 2**15),
    ],
)
def test_a_shared_exponent(
    values: list[int], bits: int, signed: bool, fraction_bits: int, expected: int
) -> None:
    step = SharedExponentStep(lowest=0, highest=15)
    activations = quantizer(bits, step, signed=signed, step_fraction_bits=fraction_bits)
    layer = conv([[[[0]], [[0]]]], activations=activations)
    image = pixels(from_signed([[[value]] for value in values]))
    made = oracle.trace(network(signed_input(1, 1, 2), layer), image)
    assert made.steps["conv"].tolist() == [expected]


def test_powers_of_two_by_the_reals() -> None:
    """Within 3/4 of the power, and within 1/2 where no bit of the table is shifted out."""
    errors = [abs(exp2(e) - 2.0 ** (e / 256)) for e in range(4096)]
    assert max(errors) < 0.75
    assert max(errors[3840:]) < 0.5
    assert all(exp2(e) <= exp2(e + 1) for e in range(4095))


def test_every_sample_has_its_own_step() -> None:
    layer = conv([[[[1]], [[0]]]], activations=quantizer(8, one_stage(), step_fraction_bits=4))
    images = pixels(from_signed([[[[10]], [[-6]]], [[[4]], [[-4]]]]))
    made = oracle.trace(network(signed_input(1, 1, 2), layer), images)
    assert made.steps["conv"].tolist() == [13, 9]
    # 10 * 16 / 13 = 12.3 -> 12 and 4 * 16 / 9 = 7.1 -> 7.
    assert made.codes["conv"][:, 0].tolist() == [[[12]], [[7]]]
    # m is D: 12 * 13 and 7 * 9.
    assert made.feature_maps["conv"].tolist() == [[[[156]]], [[[63]]]]


# Dot products


def test_convolution_does_not_flip_its_kernel() -> None:
    layer = conv([[[[1, 2], [3, 5]]]])
    image = [[1, 2, 0], [3, 4, 1], [0, 1, 2]]
    # 1 + 4 + 9 + 20 = 34, 2 + 0 + 12 + 5 = 19; 3 + 8 + 0 + 5 = 16, 4 + 2 + 3 + 10 = 19.
    assert output_of(layer, image, input_layer(3, 3)) == [[[34, 19], [16, 19]]]


def test_convolution_pads_with_code_zero_and_strides() -> None:
    # Kernel 1 10 100 over (0) 1 2 3 4 (0), stride 2: 0+10+200 = 210; 2+30+400 = 432; rows likewise.
    layer = conv([[[[1, 10, 100]]]], stride=(2, 2), padding=(1, 1))
    expected = [[[0, 0], [0, 0]]]
    assert output_of(layer, [[1, 2, 3, 4]], input_layer(1, 4)) == expected
    centered = conv([[[[1, 10, 100]]]], stride=(1, 2), padding=(0, 1))
    assert output_of(centered, [[1, 2, 3, 4]], input_layer(1, 4)) == [[[210, 432]]]


def test_groups_read_their_own_channels() -> None:
    # Two groups of two: outputs 0, 1 read channels 0, 1; outputs 2, 3 read channels 2, 3.
    codes = np.array([[1, 10], [2, 20], [3, 30], [4, 40]]).reshape(4, 2, 1, 1)
    layer = conv(codes, groups=2)
    image = [[[1]], [[2]], [[3]], [[4]]]
    assert output_of(layer, image, input_layer(1, 1, 4)) == [[[21]], [[42]], [[129]], [[172]]]


def test_negative_uniform_weights_are_twos_complement() -> None:
    # Code 0xFF is -1, code 0x80 is -128.
    layer = conv([[[[0xFF]]], [[[0x80]]]])
    assert output_of(layer, [[3]], input_layer(1, 1)) == [[[-3]], [[-384]]]


def test_linear_sums_over_channels() -> None:
    layer = linear([[1, 2, 3], [0xFF, 0, 1]], multiplier=[1, 2], bias=[5, -7])
    # 1*4 + 2*5 + 3*6 + 5 = 37; (-4 + 6) * 2 - 7 = -3.
    assert output_of(layer, [[[4]], [[5]], [[6]]], input_layer(1, 1, 3)) == [[[37]], [[-3]]]


# A 4-bit post grid, packed: index 7 is 1, index 6 is sqrt(2) / 2, over 2**-3. So code 7 is the pair
# (8, 0), code 6 is (0, 4), code 14 is (0, -4), code 0 is (0, 0).


def post(codes: list[int], **changes: int) -> Linear:
    return linear([codes], scheme="post", bits=4, **changes)


def accumulators_of(layer: Conv | Linear, image: list[int], product: Product) -> list[object]:
    made = oracle.trace(
        network(input_layer(1, 1, len(image)), layer), pixels([[[p]] for p in image]), product
    )
    return [part[0].tolist() for part in made.accumulators[layer.name]]


def test_post_split_sums_both_parts_and_joins_them_once() -> None:
    layer = post([7, 6])
    # E = 8 * 3, O = 4 * 5; V = 16 * 24 + 20 * 46341 / 2048 = 384 + 452.55 -> 384 + 453 = 837.
    assert accumulators_of(layer, [3, 5], Product()) == [[[[24]]], [[[20]]]]
    # 837 / 16 = 52.3 -> 52.
    assert output_of(layer, [[[3]], [[5]]], input_layer(1, 1, 2)) == [[[52]]]
    # 837 * 5 / 16 = 261.6 -> 262: the fraction bits reach the multiplier.
    scaled = post([7, 6], multiplier=5)
    assert output_of(scaled, [[[3]], [[5]]], input_layer(1, 1, 2)) == [[[262]]]


def test_post_split_rounds_a_negative_odd_part_half_up() -> None:
    # O = -4 * 5: -926820 / 2048 = -452.55 -> -453; V = 384 - 453 = -69; -69 / 16 = -4.3 -> -4.
    layer = post([7, 14])
    assert output_of(layer, [[[3]], [[5]]], input_layer(1, 1, 2)) == [[[-4]]]


def test_post_lut_rounds_every_product() -> None:
    # sqrt(2) * 4 = 5.66 -> 6, twice: 12. The exact sum is 11.3.
    layer = post([6, 6])
    assert accumulators_of(layer, [1, 1], LUT) == [[[[12]]]]
    assert output_of(layer, [[[1]], [[1]]], input_layer(1, 1, 2), product=LUT) == [[[12]]]
    assert output_of(layer, [[[1]], [[1]]], input_layer(1, 1, 2)) == [[[11]]]


def test_post_lut_entries_have_fraction_bits() -> None:
    # f = 2: 8 * 3 * 4 = 96; sqrt(2) * 20 * 4 = 113.1 -> 113. 209 / 4 = 52.25 -> 52.
    layer = post([7, 6])
    product = Product(kind=ProductKind.POST_LUT, lut_fraction_bits=2)
    assert accumulators_of(layer, [3, 5], product) == [[[[209]]]]
    assert output_of(layer, [[[3]], [[5]]], input_layer(1, 1, 2), product=product) == [[[52]]]


def test_post_lut_rounds_negative_entries_to_nearest() -> None:
    # -sqrt(2) * 4 = -5.66 -> -6 with a negative weight, and with a negative code.
    assert accumulators_of(post([14]), [1], LUT) == [[[[-6]]]]
    layer = post([6], activations=quantizer(8, 1, signed=True))  # type: ignore[arg-type]
    made = oracle.trace(network(signed_input(1, 1), layer), pixels([[127]]), LUT)
    assert made.accumulators["linear"][0].tolist() == [[[[-6]]]]


def test_post_lut_entries_are_exact_where_the_constant_of_post_split_is_not() -> None:
    # Code 62 of 7-bit post weights is (0, 2**30): sqrt(2) * 2**30 = 1518500249.99. The constant
    # with 15 fraction bits, 46341, would make it 46341 * 2**15 = 1518501888.
    layer = linear([[62]], scheme="post", bits=7, multiplier=0)
    assert accumulators_of(layer, [1], LUT) == [[[[1518500250]]]]


def test_post_dual_multiplies_odd_powers_by_codes_of_their_own() -> None:
    # D = 100, so DO = 70.7 -> 71. X = 213: 2.13 -> q = 2, and 3 * 71 = 213, qO = 3.
    # X = 120: q = 1, 1.69 -> qO = 2. V = 8 * 2 + 4 * 2 = 24, m = 100: Y = 2400 / 2^6 = 37.5 -> 38.
    layer = post([7, 6], activations=quantizer(4, 100), shift=6)  # type: ignore[arg-type]
    made = oracle.trace(network(input_layer(1, 1, 2), layer), pixels([[[213]], [[120]]]), DUAL)
    assert made.codes["linear"][0].tolist() == [[[2]], [[1]]]
    assert made.odd_codes["linear"][0].tolist() == [[[3]], [[2]]]
    assert made.accumulators["linear"][0].tolist() == [[[[24]]]]
    assert made.feature_maps["linear"][0].tolist() == [[[38]]]


def test_odd_codes_of_both_signs_are_clamped_to_their_own_range() -> None:
    # D = 5, DO = 3.54 -> 4. X / 4: -32 -> -11 (the least of 4 bits), -11 (44 / 4), -2.5 -> -2,
    # 2.5 -> 3, 10 (40 / 4), 31.75 -> 10. q: -8, -8, -2, 2, 7, 7.
    layer = conv([[[[6]]]], scheme="post", bits=4, activations=quantizer(4, 5, signed=True))
    image = pixels(from_signed([[-128, -44, -10, 10, 40, 127]]))
    made = oracle.trace(network(signed_input(1, 6), layer), image, DUAL)
    assert made.codes["conv"][0].tolist() == [[[-8, -8, -2, 2, 7, 7]]]
    assert made.odd_codes["conv"][0].tolist() == [[[-11, -11, -2, 3, 10, 10]]]
    assert made.accumulators["conv"][0].tolist() == [[[[-44, -44, -8, 12, 40, 40]]]]


def test_padding_is_an_odd_code_of_0_and_both_codes_follow_each_samples_step() -> None:
    layer = conv(
        [[[[6, 7, 14]], [[0, 0, 0]]]],
        scheme="post",
        bits=4,
        activations=quantizer(8, one_stage(), step_fraction_bits=4),
        padding=(0, 1),
    )
    images = pixels(from_signed([[[[10]], [[-6]]], [[[4]], [[-4]]]]))
    made = oracle.trace(network(signed_input(1, 1, 2), layer), images, DUAL)
    # Steps 13 and 9 as above, so 9.19 -> 9 and 6.36 -> 6: 10 * 16 / 9 = 17.8, 4 * 16 / 6 = 10.7.
    assert made.odd_codes["conv"][:, 0].tolist() == [[[18]], [[11]]]
    # The weights 4 * sqrt(2), 8 and -4 * sqrt(2) in turn meet the one pixel: only 8 stands in it.
    assert made.accumulators["conv"][0].tolist() == [[[[8 * 12]]], [[[8 * 7]]]]


@pytest.mark.parametrize("product", [Product(), LUT, DUAL])
def test_other_grids_have_one_exact_accumulator(product: Product) -> None:
    # pot, index 6 of 7: 2**-1 over 2**-6 is 32. zero-free, index 0 of 7: 2**-7 over 2**-7 is 1.
    packed = linear([[6]], scheme="pot", bits=4)
    zero_free = linear([[0]], scheme="pot", bits=4, encoding="zero-free")
    assert accumulators_of(packed, [3], product) == [[[[96]]]]
    assert accumulators_of(zero_free, [3], product) == [[[[3]]]]


def test_symmetric_codes_are_a_sign_above_a_magnitude() -> None:
    # 4 bits: 0b0111 is 7, 0b1111 is -7, 0b1001 is -1; two's complement has -1 and -7 there.
    layer = linear([[0b0111], [0b1111], [0b1001]], scheme="symmetric", bits=4)
    assert output_of(layer, [[[3]]], input_layer(1, 1)) == [[[21]], [[-21]], [[-3]]]


def test_apot_codes_add_their_fields() -> None:
    # 4 bits: a two-bit term with the exponents 1, 2, 4 and a one-bit term with 3, over 2**-4.
    # Code 0b011 is field 1 (8) and field 1 (2); 0b110 is field 3 (1); 0b1011 is -(8 + 2).
    layer = linear([[0b011], [0b110], [0b1011]], scheme="apot", bits=4)
    expected = [[[10]], [[1]], [[-10]]]
    assert output_of(layer, [[[1]]], input_layer(1, 1)) == expected


# Requantization


def test_requantization_rounds_half_up_adds_the_bias_and_saturates() -> None:
    # V = p: p * 3 / 2 + 1 for p = 1 and 2: 1.5 -> 2 + 1 = 3; 4. In 4 bits 7 is the largest.
    layer = linear([[1]], multiplier=3, shift=1, bias=1, output_bits=4)
    assert output_of(layer, [[[1]]], input_layer(1, 1)) == [[[3]]]
    assert output_of(layer, [[[2]]], input_layer(1, 1)) == [[[4]]]
    assert output_of(layer, [[[5]]], input_layer(1, 1)) == [[[7]]]


def test_the_bias_is_added_before_saturation() -> None:
    # 100 - 95 = 5 fits 4 bits, though 100 does not.
    layer = linear([[1]], bias=-95, output_bits=4)
    assert output_of(layer, [[[100]]], input_layer(1, 1)) == [[[5]]]


def test_a_negative_multiplier_rounds_half_up_too() -> None:
    # -1 * 1 / 2 = -0.5 -> 0; -3 / 2 = -1.5 -> -1.
    layer = linear([[1], [3]], multiplier=-1, shift=1)
    assert output_of(layer, [[[1]]], input_layer(1, 1)) == [[[0]], [[-1]]]


def test_the_narrowed_multiplier_is_rounded_once() -> None:
    # D = 3, M = 5, narrow shift 1: m = 7.5 -> 8. q = 4 / 3 -> 1: Y = 8. M = -5: -7.5 -> -7.
    layer = linear([[1], [1]], activations=quantizer(8, 3), multiplier=[5, -5], narrow_shift=1)
    assert output_of(layer, [[[4]]], input_layer(1, 1)) == [[[8]], [[-7]]]


# Whole networks


def test_the_lowest_class_of_equal_scores_is_predicted() -> None:
    layer = linear([[1, 0], [0, 1], [1, 1]], bias=[0, 0, -9])
    images = pixels([[[[5]], [[5]]], [[[3]], [[4]]], [[[200]], [[100]]]])
    # Scores 5 5 1; 3 4 -2; 200 100 291.
    net = network(input_layer(1, 1, 2), layer)
    assert oracle.predict(net, images).tolist() == [0, 1, 2]


def test_run_returns_every_layer_in_order() -> None:
    net = network_of_every_kind()
    maps = oracle.run(net, random_images(net, 2, seed=1))
    assert list(maps) == [layer.name for layer in net.layers]
    for name, made in net.feature_maps().items():
        assert maps[name].shape == (2, *made.shape)
        assert maps[name].dtype == np.int64


def test_no_images_make_empty_maps() -> None:
    net = network_of_every_kind()
    made = oracle.trace(net, random_images(net, 0, seed=1))
    assert made.feature_maps["head"].shape == (0, 3, 1, 1)
    assert made.accumulators["stem.0"][1].shape == (0, 2, 6, 6)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 2, 6, 6)), "images must be integers, not float64"),
        (np.full((1, 2, 6, 6), 256), r"images must hold 0\.\.255, not 256"),
        (np.full((1, 2, 6, 6), -1), r"images must hold 0\.\.255, not -1"),
        (np.zeros((2, 6, 6), np.uint8), r"images must be \(N, 2, 6, 6\), not \(2, 6, 6\)"),
        (np.zeros((1, 2, 6, 5), np.uint8), r"images must be \(N, 2, 6, 6\), not \(1, 2, 6, 5\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(images: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(InputError, match=message):
        oracle.run(network_of_every_kind(), images)


def test_a_product_that_could_overflow_is_refused() -> None:
    # 7-bit post weights have 31 shifts; with 15 fraction bits 512 products may need 65 bits.
    layer = linear(np.zeros((1, 512), dtype=int), scheme="post", bits=7)
    net = network(input_layer(1, 1, 512), layer)
    images = np.zeros((1, 512, 1, 1), np.uint8)
    assert oracle.run(net, images)["linear"].tolist() == [[[[0]]]]
    with pytest.raises(InputError, match="linear: the dot product needs"):
        oracle.run(net, images, Product(kind=ProductKind.POST_LUT, lut_fraction_bits=15))


@settings(max_examples=60)
@given(case=cases())
def test_samples_do_not_mix(case: tuple[IntegerNetwork, Pixels, Product]) -> None:
    net, images, product = case
    together = oracle.run(net, images, product)
    for index in range(len(images)):
        alone = oracle.run(net, images[index : index + 1], product)
        for name, made in together.items():
            assert np.array_equal(made[index : index + 1], alone[name])


# The same formulas in numpy, whole tensors at once


def windows(
    x: NDArray[np.int64], layer: Conv | MaxPool | AveragePool, fill: int
) -> NDArray[np.int64]:
    """(N, C, H', W', kH, kW) of a padded (N, C, H, W)."""
    (py, px), (sy, sx) = layer.padding, layer.stride
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)), constant_values=fill)
    dy, dx = layer.dilation if isinstance(layer, Conv) else (1, 1)
    height, width = layer.kernel_size
    span = ((height - 1) * dy + 1, (width - 1) * dx + 1)
    views = sliding_window_view(padded, span, axis=(2, 3))
    return views[:, :, ::sy, ::sx, ::dy, ::dx]


def sums_in_numpy(layer: Conv, codes: NDArray[np.int64], weights: NDArray[np.int64]) -> object:
    outputs, group_inputs, *_ = weights.shape
    views = windows(codes, layer, fill=0)
    groups = layer.groups
    views = views.reshape(len(codes), groups, group_inputs, *views.shape[2:])
    kernels = weights.reshape(groups, outputs // groups, *weights.shape[1:])
    sums = np.einsum("ngihwyx,goiyx->ngohw", views, kernels)
    return sums.reshape(len(codes), outputs, *sums.shape[3:])


@settings(max_examples=150)
@given(case=cases())
def test_accumulators_and_pools_agree_with_numpy(
    case: tuple[IntegerNetwork, Pixels, Product],
) -> None:
    net, images, _ = case
    made = oracle.trace(net, images)
    for layer in net.layers:
        if isinstance(layer, Conv):
            # The einsum of signed 64-bit integers is exact: the network's bounds were checked.
            parts = layer.decoded_weights()
            for part, accumulator in zip(parts, made.accumulators[layer.name], strict=False):
                expected = sums_in_numpy(layer, made.codes[layer.name], part)
                assert np.array_equal(accumulator, expected)
        elif isinstance(layer, MaxPool):
            views = windows(made.feature_maps[layer.source], layer, fill=-(2**40))
            assert np.array_equal(made.feature_maps[layer.name], views.max(axis=(4, 5)))
        elif isinstance(layer, AveragePool):
            sums = windows(made.feature_maps[layer.source], layer, fill=0).sum(axis=(4, 5))
            bits = net.feature_maps()[layer.name].format.bits
            scaled = (sums * layer.multiplier + ((1 << layer.shift) >> 1)) >> layer.shift
            expected = np.clip(scaled, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            assert np.array_equal(made.feature_maps[layer.name], expected)


def test_drawn_networks_reach_what_they_are_drawn_for() -> None:
    """The strategy is only worth its name if its networks saturate, adapt and use every kind."""
    seen: set[object] = set()
    counts = dict.fromkeys(["saturated", "between", "adapted", "several codes"], 0)
    exponents = dict.fromkeys(["powers", "shared"], 0)

    @settings(max_examples=120, database=None)
    @given(case=cases())
    def look(case: Case) -> None:
        net, images, product = case
        made = oracle.trace(net, images, product)
        for layer in net.layers:
            seen.add(type(layer))
            if not isinstance(layer, Conv | Linear):
                continue
            grid = layer.weight_grid
            seen.update({grid.scheme.name, grid.encoding, grid.bits, layer.quantizer.grid.signed})
            seen.add(("activations", layer.quantizer.grid.bits))
            top = 2 ** (layer.output.bits - 1)
            values = made.feature_maps[layer.name]
            counts["saturated"] += bool(((values == top - 1) | (values == -top)).any())
            counts["between"] += bool(((values != top - 1) & (values != -top)).any())
            counts["several codes"] += len(np.unique(made.codes[layer.name])) > 2
            step = layer.quantizer.step
            seen.add(type(step))
            if isinstance(step, LogLinearStep):
                steps = made.steps[layer.name]
                low, high = exp2(step.lowest), exp2(step.highest)
                exponents["powers"] += bool(((steps > low) & (steps < high)).any())
            if isinstance(step, SharedExponentStep):
                steps = made.steps[layer.name]
                low, high = 2**step.lowest, 2**step.highest
                exponents["shared"] += bool(((steps > low) & (steps < high)).any())
            if isinstance(step, AdaptiveStep):
                seen.add(("stages", len(step.stages)))
                last, values = step.stages[-1], made.steps[layer.name]
                counts["adapted"] += bool(((values > last.minimum) & (values < last.maximum)).any())

    look()
    kinds = {*LAYER_KINDS.values(), *get_args(Step)}
    words = {"uniform", "symmetric", "pot", "post", "apot", "packed", "paper", "zero-free"}
    numbers = set(range(2, 9)) | {("activations", bits) for bits in range(2, 9)}
    assert kinds | words | numbers | {True, False, ("stages", 1), ("stages", 2)} <= seen
    assert all(count >= 10 for count in counts.values()), counts
    assert all(count >= 3 for count in exponents.values()), exponents
