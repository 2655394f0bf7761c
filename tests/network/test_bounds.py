"""Bounds hold, are reached, and what they cannot hold is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asq_hw import oracle
from asq_hw.errors import InputError
from asq_hw.network.activation import AdapterStage, AdaptiveStep
from asq_hw.network.bounds import Range
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, GlobalAveragePool, Layer, Linear
from asq_hw.network.layers.weighted import CODES_AT_A_TIME
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.numbers.fixedpoint import shift_right_half_up
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.oracle import plain, weighted
from asq_hw.oracle import quantizer as oracle_quantizer
from tests.helpers.networks import (
    WEIGHT_GRIDS,
    Pixels,
    cases,
    conv,
    input_layer,
    linear,
    log_linear_step,
    network,
    products,
    quantizer,
)


def test_a_range_needs_its_wider_end() -> None:
    assert Range(low=-8, high=7).bits == 4
    assert Range(low=-9, high=7).bits == 5
    assert Range(low=-8, high=8).magnitude == 8
    assert Range(low=-9, high=8).magnitude == 9


def test_an_unsigned_code_reaches_only_its_weights_sign() -> None:
    # 0 .. 15 times 3 and -2: -30 .. 45. The widths: 45 needs 7 bits.
    layer = linear([[3, 0xFE]], activations=quantizer(4))
    assert layer.accumulator_ranges(Product()) == (Range(low=-30, high=45),)
    assert layer.accumulator_bits(Product()) == 7


def test_a_signed_code_reaches_both_signs() -> None:
    # -8 .. 7 times 3 and -2: lowest -24 - 14, highest 21 + 16.
    layer = linear([[3, 0xFE]], activations=quantizer(4, signed=True))
    assert layer.accumulator_ranges(Product()) == (Range(low=-38, high=37),)


def test_the_range_is_that_of_the_worst_output_channel() -> None:
    # 15 * 3 = 45 in one channel, 15 * -4 = -60 in the other.
    layer = linear([[3], [0xFC]], activations=quantizer(4))
    assert layer.accumulator_ranges(Product()) == (Range(low=-60, high=45),)


def test_parts_of_a_post_grid_are_bounded_apart() -> None:
    # Codes 7 and 14 of 4-bit post weights are the pairs (8, 0) and (0, -4).
    layer = linear([[7, 14]], scheme="post", bits=4, activations=quantizer(4))
    assert layer.accumulator_ranges(Product()) == (Range(low=0, high=120), Range(low=-60, high=0))
    # Rounded: sqrt(2) * 60 = 84.9.
    product = Product(kind=ProductKind.POST_LUT)
    assert layer.accumulator_ranges(product) == (Range(low=-85, high=120),)
    # Odd codes go to 21.
    dual = Product(kind=ProductKind.POST_DUAL)
    assert layer.accumulator_ranges(dual) == (Range(low=-84, high=120),)


@settings(max_examples=150)
@given(case=cases())
def test_no_accumulator_leaves_its_range(case: tuple[IntegerNetwork, Pixels, Product]) -> None:
    net, images, product = case
    made = oracle.trace(net, images, product)
    for layer in net.layers:
        if isinstance(layer, Conv | Linear):
            ranges = layer.accumulator_ranges(product)
            for bound, values in zip(ranges, made.accumulators[layer.name], strict=True):
                assert bound.low <= values.min() and values.max() <= bound.high


@settings(max_examples=150)
@given(
    grid=st.sampled_from([grid for grid in WEIGHT_GRIDS if grid.shift < 24]),
    signed=st.booleans(),
    bits=st.integers(2, 8),
    product=products(),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_ends_of_every_range_are_reached(
    grid: Grid, signed: bool, bits: int, product: Product, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.choice([level.code for level in grid.levels], size=(3, 5))
    layer = linear(
        codes,
        scheme=grid.scheme.name,
        bits=grid.bits,
        encoding=grid.encoding,
        activations=quantizer(bits, signed=signed),
        multiplier=0,
    )
    parts = layer.decoded_weights()
    ranges = layer.accumulator_ranges(product)
    if len(ranges) == 1 and len(parts) == 2:
        parts = (parts[0] + parts[1],)  # one of the two is 0: their sum has the product's sign
    made = extremes(layer, parts, product)
    for bound, values in zip(ranges, made, strict=True):
        assert (bound.low, bound.high) == values


def extremes(
    layer: Linear, parts: tuple[NDArray[np.int64], ...], product: Product
) -> list[tuple[int, int]]:
    """Smallest and largest accumulator over images that give each weight its best codes.

    Values of -256 or 0 to 510 or 254 are beyond the codes of 8 bits times the square root of two.
    """
    signed = layer.quantizer.grid.minimum < 0
    result = []
    for index, weights in enumerate(parts):
        best = [np.where(sign * row > 0, 255, 0) for row in weights for sign in (1, -1)]
        source = input_layer(1, 1, weights.shape[1], multiplier=2, offset=-256 if signed else 0)
        images = np.array(best)[:, :, None, None]
        trace = oracle.trace(network(source, layer), images.astype(np.uint8), product)
        values = trace.accumulators[layer.name][index]
        result.append((int(values.min()), int(values.max())))
    return result


def test_ranges_of_many_weights_are_exact_in_every_block() -> None:
    # The sums are made in blocks; the one weight that is not 0 stands in the last of them.
    columns = CODES_AT_A_TIME + 7
    codes = np.zeros((2, columns), dtype=np.uint16)
    codes[1, -1] = 5
    layer = linear(codes, activations=quantizer(4))
    assert layer.accumulator_ranges(Product()) == (Range(low=0, high=75),)


def replace_rshift(patch: pytest.MonkeyPatch, function: Callable[[int, int], int]) -> None:
    """Let the oracle shift by another function."""
    for module in (plain, oracle_quantizer, weighted):
        patch.setattr(module, "rshift", function)


@settings(max_examples=150)
@given(case=cases())
def test_nothing_on_the_way_leaves_64_bits(
    case: tuple[IntegerNetwork, Pixels, Product],
) -> None:
    net, images, product = case
    largest = 0

    def shift_recorded(value: int, shift: int) -> int:
        nonlocal largest
        rounded = value + (1 << shift >> 1)
        largest = max(largest, abs(value), abs(rounded))
        return rounded >> shift

    with pytest.MonkeyPatch.context() as patch:
        replace_rshift(patch, shift_recorded)
        oracle.run(net, images, product)
    assert 0 < largest < 2**63


# What is refused


def one_weight(narrow_shift: int, bias: int = 0) -> Linear:
    """The 6-bit pot weight 1, which is 2**30, with the largest step and multiplier."""
    return linear(
        [[31]],
        scheme="pot",
        bits=6,
        activations=quantizer(8, 65535),
        multiplier=32767,
        narrow_shift=narrow_shift,
        bias=bias,
    )


def test_requantization_is_refused_from_64_bits_on() -> None:
    # V = 255 * 2**30 is just below 2**38; D * M = 65535 * 32767 just below 2**31. So V * m needs
    # 69 bits less the narrow shift, and one for the sign.
    network(input_layer(1, 1), one_weight(narrow_shift=6))
    with pytest.raises(InputError, match=r"linear: the requantization needs 65 bits; at most 64"):
        network(input_layer(1, 1), one_weight(narrow_shift=5))


def test_a_dot_product_that_is_too_long_is_refused() -> None:
    # 512 products of 256 * 2**31, with 15 fraction bits and a bit for sqrt(2): 2**64 and its sign.
    layer = linear(np.zeros((1, 512), dtype=int), scheme="post", bits=7)
    net = network(input_layer(1, 1, 512), layer)
    product = Product(kind=ProductKind.POST_LUT, lut_fraction_bits=15)
    with pytest.raises(InputError, match=r"linear: the dot product needs 66 bits; at most 64"):
        net.check_product(product)
    net.check_product(Product(kind=ProductKind.POST_LUT, lut_fraction_bits=12))


def test_an_odd_part_that_is_too_large_is_refused() -> None:
    # Code 62 of 7-bit post weights is sqrt(2) / 2: the pair (0, 2**30). 512 of them times 255 and
    # the 16-bit constant: 255 * 2**9 * 2**30 * 2**16 is just below 2**63; twice as many is above.
    def net(count: int) -> IntegerNetwork:
        layer = linear(np.full((1, count), 62), scheme="post", bits=7, multiplier=1, narrow_shift=1)
        return network(input_layer(1, 1, count), layer)

    net(512)
    with pytest.raises(InputError, match="linear: the odd part needs 65 bits"):
        net(1024)


def test_a_pooled_sum_that_is_too_large_is_refused() -> None:
    pool = GlobalAveragePool(name="pool", source="input", multiplier=65535, shift=0)
    network(input_layer(1 << 11, 1 << 11, bits=24), pool)
    with pytest.raises(InputError, match="pool: the pooled sum needs 65 bits"):
        network(input_layer(1 << 12, 1 << 12, bits=24), pool)


def adaptive(
    *, channels: int = 1, pool_multiplier: int = 1, pool_shift: int = 0, **fields: int
) -> AdaptiveStep:
    values = {"multiplier": 1, "shift": 0, "minimum": 1, "maximum": 65535} | fields
    stage = AdapterStage(
        weight=np.full((1, channels), -128),
        bias=np.array([-(2**31)]),
        **values,  # type: ignore[arg-type]
    )
    return AdaptiveStep(pool_multiplier=pool_multiplier, pool_shift=pool_shift, stages=(stage,))


def with_step(step: AdaptiveStep | LogLinearStep, source: Layer) -> IntegerNetwork:
    return network(source, conv([[[[1]]]], activations=quantizer(8, step)))


def test_an_adapter_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="conv: the adapter takes 2 channels, not 1"):
        with_step(adaptive(channels=2), input_layer(1, 1))


def test_an_adapters_sums_that_are_too_large_are_refused() -> None:
    # 2**22 places of 2**23, times almost 2**16: 61 bits; 2**26 places: 65 and a sign.
    step = adaptive(pool_multiplier=65535, pool_shift=40)
    with_step(step, input_layer(1 << 11, 1 << 11, bits=24))
    with pytest.raises(InputError, match="conv: the adapter's pooled sum needs 66 bits"):
        with_step(step, input_layer(1 << 13, 1 << 13, bits=24))


def test_a_log_linear_step_of_other_channels_is_refused() -> None:
    with pytest.raises(InputError, match="conv: the log-linear step takes 2 channels, not 1"):
        with_step(log_linear_step(2), input_layer(1, 1))


def test_a_log_linear_steps_product_that_is_too_large_is_refused() -> None:
    # 2**22 places of 2**23, without a shift: 2**45, times almost 2**16, and 2**3 by pooling.
    source = input_layer(1 << 11, 1 << 11, bits=24)
    with_step(log_linear_step(pool_shift=0, multiplier=(1 << 16) - 1), source)
    with pytest.raises(InputError, match="conv: the exponent needs 65 bits"):
        with_step(log_linear_step(pool_shift=0, pool_multiplier=8, multiplier=65535), source)


@pytest.mark.parametrize("multiplier", [0, 1, 65535])
def test_an_adapters_product_that_is_too_large_is_refused(multiplier: int) -> None:
    # 2**45 by pooling without a shift, times 65535 and 128 before the stage's own multiplier.
    step = adaptive(pool_multiplier=65535, multiplier=multiplier)
    with pytest.raises(InputError, match="conv: the adapter's sum needs"):
        with_step(step, input_layer(1 << 11, 1 << 11, bits=24))


def test_the_tightest_layer_that_is_accepted_stays_inside_at_its_largest_input() -> None:
    layer = one_weight(narrow_shift=6, bias=2**31 - 1)
    net = network(input_layer(1, 1, multiplier=65535, bits=24), layer)
    recorded: list[int] = []

    def shift_recorded(value: int, shift: int) -> int:
        recorded.append(value)
        return shift_right_half_up(value, shift)

    with pytest.MonkeyPatch.context() as patch:
        replace_rshift(patch, shift_recorded)
        oracle.run(net, np.full((1, 1, 1, 1), 255, np.uint8))
    # 255 * 2**30 * (65535 * 32767 / 2**6)
    assert 0.99 * 2**62 < max(recorded) < 2**63 - 2**31
