"""The simulator against the oracle, on every intermediate tensor, and against itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import asq_hw
from asq_hw import datasets, modelfile, oracle
from asq_hw.errors import InputError
from asq_hw.network.activation import AdapterStage, AdaptiveStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, AveragePool, MaxPool, Relu
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import MAX_LUT_FRACTION_BITS, Product, ProductKind
from asq_hw.numbers.schemes import POST, POT, SCHEMES, scheme_named
from asq_hw.sim import SimulationResult, TraceBatch, simulate, tensor_shapes
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.kernel_choice import available_kernels
from asq_hw.sim.lowering.network import lower
from asq_hw.sim.program import ComputeType
from tests.helpers import networks

BUNDLED_MODEL = "bundled/fashion-mnist-resnet20-w4a4.asq"
SPLIT = Product()
LUT = Product(kind=ProductKind.POST_LUT)


KERNELS = available_kernels()


def _traced(
    network: IntegerNetwork,
    images: NDArray[np.uint8],
    product: Product = SPLIT,
    *,
    kernel: str = "auto",
    threads: int = 1,
    batch_size: int = 2,
) -> tuple[SimulationResult, dict[str, NDArray[np.integer]]]:
    batches: list[TraceBatch] = []
    result = simulate(
        network,
        images,
        product=product,
        kernel=kernel,
        threads=threads,
        batch_size=batch_size,
        trace=batches.append,
    )
    names = tensor_shapes(network, product)
    return result, {
        name: np.concatenate([batch.tensors[name] for batch in batches]) for name in names
    }


def _check_against_oracle(
    network: IntegerNetwork, images: NDArray[np.uint8], product: Product = SPLIT
) -> None:
    """Every tensor, the outputs and the predictions, with every kernel, kept and not kept."""
    expected = oracle.trace(network, images, product).tensors()
    for kernel in KERNELS:
        result, tensors = _traced(network, images, product, kernel=kernel)
        assert list(tensors) == list(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(tensors[name], values, err_msg=f"{kernel}: {name}")
        plain = simulate(network, images, product=product, kernel=kernel, threads=1)
        scores = expected[network.outputs[0].layer].reshape(len(images), -1)
        np.testing.assert_array_equal(plain.scores, scores)
        np.testing.assert_array_equal(result.scores, scores)
        np.testing.assert_array_equal(plain.predictions, scores.argmax(axis=1))
        assert [*plain.outputs] == [output.name for output in network.outputs]
        for output in network.outputs:
            for made in (plain, result):
                values = made.outputs[output.name].integers
                np.testing.assert_array_equal(values, expected[output.layer], err_msg=output.name)
        assert plain.layers == result.layers


# Drawn networks


@given(case=networks.cases())
@settings(max_examples=150)
def test_every_tensor_of_drawn_networks_equals_the_oracles(
    case: tuple[IntegerNetwork, NDArray[np.uint8], Product],
) -> None:
    _check_against_oracle(*case)


@pytest.mark.parametrize("kind", sorted(set(networks.LAYER_KINDS)))
def test_every_layer_kind_equals_the_oracle(kind: str) -> None:
    for seed in range(8):
        for product in (SPLIT, LUT):
            network = networks.random_network(seed, [kind, kind], product=product)
            _check_against_oracle(network, networks.random_images(network, 3, seed), product)


def _conv_of_all_codes(grid: Grid, *, signed: bool, activation_bits: int) -> IntegerNetwork:
    """Every code of a grid as a weight, (codes, 2, 3, 3) in a shuffled order."""
    rng = np.random.default_rng(1)
    codes = np.array([level.code for level in grid.levels])
    weights = np.stack([rng.permutation(codes)[np.arange(18) % len(codes)] for _ in range(20)])
    weights[:, 0] = np.resize(codes, 20)
    return networks.network(
        networks.input_layer(5, 6, 2, multiplier=2, offset=-255),
        networks.conv(
            weights.reshape(20, 2, 3, 3),
            scheme=grid.scheme,
            bits=grid.bits,
            encoding=grid.encoding,
            activations=networks.quantizer(activation_bits, 2, signed=signed),
            padding=(1, 1),
            shift=max(0, grid.shift - 8),
        ),
    )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "grid",
    [
        Grid(scheme=scheme, bits=bits, encoding=encoding)
        for scheme in SCHEMES.values()
        for bits in (2, 3, 4, 5)
        for encoding in scheme.encodings
    ],
    ids=lambda grid: f"{grid.scheme}-{grid.bits}-{grid.encoding}",
)
def test_every_grid_equals_the_oracle(grid: Grid, signed: bool) -> None:
    network = _conv_of_all_codes(grid, signed=signed, activation_bits=4)
    images = np.random.default_rng(0).integers(0, 256, (2, 2, 5, 6)).astype(np.uint8)
    _check_against_oracle(network, images, SPLIT)
    if grid.uses_sqrt2:
        _check_against_oracle(network, images, LUT)


@pytest.mark.parametrize("fraction_bits", range(MAX_LUT_FRACTION_BITS + 1))
def test_lut_equals_the_oracle_with_any_fraction_bits(fraction_bits: int) -> None:
    grid = Grid(scheme=POST, bits=4)
    network = _conv_of_all_codes(grid, signed=True, activation_bits=4)
    images = np.random.default_rng(2).integers(0, 256, (2, 2, 5, 6)).astype(np.uint8)
    product = Product(kind=ProductKind.POST_LUT, lut_fraction_bits=fraction_bits)
    _check_against_oracle(network, images, product)


# Compute types


def _wide_network(outputs: int, inputs: int, code: int, *, signed: bool) -> IntegerNetwork:
    """All weights one 8-bit code; pixels 0 and 255 are the ends of the activations' range."""
    return networks.network(
        networks.input_layer(1, 1, inputs, offset=-128 if signed else 0),
        networks.conv(
            np.full((outputs, inputs, 1, 1), code),
            activations=networks.quantizer(8, signed=signed),
            shift=10,
        ),
    )


def _compute_type(network: IntegerNetwork, product: Product = SPLIT) -> ComputeType:
    plan = lower(network, product, kernel=Kernel.VNNI, keep=False)
    return ComputeType(int(plan.program.convolutions[0].compute_type))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("code", [0x80, 0x7F])
@pytest.mark.parametrize("pixel", [0, 255])
def test_extremes_of_bytes_equal_the_oracle(code: int, pixel: int, signed: bool) -> None:
    network = _wide_network(3, 37, code, signed=signed)
    assert _compute_type(network) is ComputeType.INT8
    images = np.full((1, 37, 1, 1), pixel, dtype=np.uint8)
    _check_against_oracle(network, images)


def test_sums_beyond_32_bits_leave_the_narrow_lanes() -> None:
    # With weights of -128 and activations of 255, 65793 inputs are the most that 32 bits hold.
    fits = _wide_network(1, 65793, 0x80, signed=False)
    wide = _wide_network(1, 65794, 0x80, signed=False)
    assert 255 * 128 * 65793 < 2**31 <= 255 * 128 * 65794
    assert _compute_type(fits) is ComputeType.INT8
    assert _compute_type(wide) is ComputeType.INT64
    for network, inputs in ((fits, 65793), (wide, 65794)):
        result = simulate(network, np.full((1, inputs, 1, 1), 255, dtype=np.uint8))
        exact = -128 * 255 * inputs
        assert result.layers[1].accumulator_bits_used == 1 + (~exact).bit_length()
        assert result.scores.tolist() == [[(exact + 512) >> 10]]


def test_each_compute_type_is_taken() -> None:
    narrow = _conv_of_all_codes(Grid(scheme=POST, bits=4), signed=True, activation_bits=4)
    assert _compute_type(narrow) is ComputeType.INT8
    assert _compute_type(narrow, LUT) is ComputeType.INT8
    fine = Product(kind=ProductKind.POST_LUT, lut_fraction_bits=8)
    assert _compute_type(narrow, fine) is ComputeType.INT32
    large = _conv_of_all_codes(Grid(scheme=POT, bits=5), signed=True, activation_bits=4)
    assert _compute_type(large) is ComputeType.INT32
    huge = _conv_of_all_codes(Grid(scheme=POST, bits=7), signed=True, activation_bits=4)
    assert _compute_type(huge) is ComputeType.INT64


# Shapes that meet the ends of tiles, blocks and vectors


@pytest.mark.parametrize(
    ("channels", "outputs", "groups"),
    [(1, 1, 1), (3, 17, 1), (4, 32, 1), (5, 33, 1), (6, 12, 6), (32, 64, 32), (40, 80, 2)],
)
@pytest.mark.parametrize("scheme", ["uniform", "post"])
def test_wide_and_grouped_convolutions_equal_the_oracle(
    channels: int, outputs: int, groups: int, scheme: str
) -> None:
    rng = np.random.default_rng(channels)
    grid = Grid(scheme=scheme_named(scheme), bits=4)
    codes = rng.choice([level.code for level in grid.levels], (outputs, channels // groups, 3, 2))
    network = networks.network(
        networks.input_layer(7, 9, channels, multiplier=3, offset=-300),
        networks.conv(
            codes,
            scheme=scheme,
            bits=4,
            groups=groups,
            padding=(2, 1),
            stride=(1, 2),
            activations=networks.quantizer(4, 70, signed=True),
            multiplier=rng.integers(-32768, 32768, outputs),
            bias=rng.integers(-(2**15), 2**15, outputs),
            shift=12,
            output_bits=16,
        ),
    )
    images = rng.integers(0, 256, (2, channels, 7, 9)).astype(np.uint8)
    _check_against_oracle(network, images)
    _check_against_oracle(network, images, LUT)


def test_a_block_of_pixels_may_end_anywhere() -> None:
    rng = np.random.default_rng(4)
    # 600 outputs make blocks of 8 pixels; 5 * 5 pixels leave a last block of one.
    codes = rng.integers(0, 256, (600, 1, 1, 1))
    network = networks.network(
        networks.input_layer(5, 5), networks.conv(codes, shift=2, output_bits=12)
    )
    _check_against_oracle(network, rng.integers(0, 256, (1, 1, 5, 5)).astype(np.uint8))


# Quantizer


@given(
    bits=st.integers(2, 8),
    signed=st.booleans(),
    step=st.one_of(st.integers(1, 65535), st.sampled_from([1, 2, 3, 32768, 65535])),
    fraction_bits=st.integers(0, 24),
    offset=st.integers(-(2**23), 2**23 - 1),
    multiplier=st.integers(-(2**15), 2**15),
)
@settings(max_examples=100)
def test_codes_of_any_step_equal_the_oracle(
    bits: int, signed: bool, step: int, fraction_bits: int, offset: int, multiplier: int
) -> None:
    network = networks.network(
        networks.input_layer(16, 16, multiplier=multiplier, offset=offset, bits=24),
        networks.conv(
            [[[[1]]]],
            activations=networks.quantizer(
                bits, step, signed=signed, step_fraction_bits=fraction_bits
            ),
        ),
    )
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    expected = oracle.trace(network, images).tensors()
    result, tensors = _traced(network, images)
    np.testing.assert_array_equal(tensors["conv-codes"], expected["conv-codes"])
    values = [int(x) << fraction_bits for x in expected["input"].reshape(-1)]
    rounded = [(2 * v + step) // (2 * step) for v in values]
    low, high = -(2 ** (bits - 1)) * signed, 2 ** (bits - signed) - 1
    assert result.layers[1].clipped == sum(not low <= q <= high for q in rounded)
    assert result.layers[1].ties == sum((2 * v + step) % (2 * step) == 0 for v in values)


def test_ties_go_up_and_are_counted() -> None:
    network = networks.network(
        networks.input_layer(1, 7, offset=-6),
        networks.conv([[[[1]]]], activations=networks.quantizer(4, 4, signed=True)),
    )
    images = networks.pixels([[0, 2, 4, 6, 8, 10, 12]])  # X = -6, -4, ..., 6 by steps of 4
    result, tensors = _traced(network, images)
    assert tensors["conv-codes"].reshape(-1).tolist() == [-1, -1, 0, 0, 1, 1, 2]
    assert result.layers[1].ties == 4


# Invariance and statistics


def _busy_network() -> tuple[IntegerNetwork, NDArray[np.uint8]]:
    network = networks.random_network(
        8, ["conv", "relu", "conv", "add", "depthwise", "average_pool", "linear"]
    )
    return network, networks.random_images(network, 13, 3)


def test_threads_and_batches_change_nothing() -> None:
    network, images = _busy_network()
    expected, tensors = _traced(network, images, threads=1, batch_size=13)
    for threads in (1, 2, 3):
        for batch_size in (1, 2, 5, 64):
            plain = simulate(network, images, threads=threads, batch_size=batch_size)
            np.testing.assert_array_equal(plain.scores, expected.scores)
            assert plain.layers == expected.layers
            _, other = _traced(network, images, threads=threads, batch_size=batch_size)
            for name, values in tensors.items():
                np.testing.assert_array_equal(other[name], values)


_CHILD = """
import sys, numpy as np
from tests.helpers import networks
from asq_hw.numbers.products import Product
from asq_hw.sim import simulate
results = []
for seed in range(12):
    for kind in ("post-split", "post-lut", "post-dual"):
        product = Product(kind=kind, lut_fraction_bits=seed % 3)
        plan = ["conv", "relu", "depthwise", "add", "max_pool", "average_pool", "linear"]
        network = networks.random_network(seed, plan, product=product)
        images = networks.random_images(network, 3, seed)
        result = simulate(network, images, product=product, batch_size=2)
        results.append((result.scores.tolist(), repr(result.layers)))
print(results)
"""


def _run_child(**environment: str) -> str:
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", _CHILD],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    ).stdout


def test_without_the_compiler_the_bits_are_the_same() -> None:
    plain = _run_child(NUMBA_DISABLE_JIT="1")
    assert len(plain) > 1000
    assert plain == _run_child()


def test_statistics_count_what_the_tensors_show() -> None:
    network = networks.network(
        networks.input_layer(4, 4, 3, multiplier=300, offset=-9000),
        networks.conv(
            np.arange(5 * 3 * 9).reshape(5, 3, 3, 3) % 256,
            activations=networks.quantizer(4, 3000, signed=True),
            multiplier=[3000, -3000, 20000, 1, 0],
            shift=4,
            output_bits=12,
            padding=(1, 1),
        ),
        Add(name="sum", sources=("conv", "conv")),
    )
    images = np.random.default_rng(5).integers(0, 256, (6, 3, 4, 4)).astype(np.uint8)
    result, tensors = _traced(network, images)
    by_name = {layer.name: layer for layer in result.layers}
    conv = by_name["conv"]
    sums = tensors["conv-sum"]
    low, high = -sums.min(), sums.max()
    assert conv.accumulator_bits_used == 1 + max(int(low - 1).bit_length(), int(high).bit_length())
    assert conv.accumulator_bits is not None
    assert conv.accumulator_bits >= conv.accumulator_bits_used
    assert conv.macs == 5 * 3 * 9 * 16
    multipliers = np.array([3000, -3000, 20000, 1, 0])[None, :, None, None] * 3000
    exact = (sums * multipliers + 8) >> 4
    assert conv.saturated == np.count_nonzero(np.abs(exact + 0.5) > 2**11) > 0
    doubled = 2 * tensors["conv"].astype(np.int64)
    assert by_name["sum"].saturated == np.count_nonzero(np.abs(doubled + 0.5) > 2**11) > 0
    assert (
        by_name["input"].saturated
        == np.count_nonzero(np.abs(images.astype(np.int64) * 300 - 9000 + 0.5) > 2**15)
        > 0
    )
    assert conv.kind == "conv" and by_name["scores"].kind == "flatten"


def test_steps_are_told_in_real_units() -> None:
    stage = AdapterStage(
        weight=np.array([[1]]), bias=np.array([10]), multiplier=1, shift=0, minimum=1, maximum=200
    )
    adaptive = AdaptiveStep(pool_multiplier=1, pool_shift=0, stages=(stage,))
    network = networks.network(
        networks.input_layer(1, 1),
        networks.conv([[[[1]]]], activations=networks.quantizer(8, adaptive, step_fraction_bits=3)),
        networks.conv([[[[1]]]], name="fixed", source="conv", activations=networks.quantizer(8, 7)),
    )
    images = networks.pixels([0, 20, 255]).reshape(3, 1, 1, 1)
    layers = simulate(network, images).layers
    step = layers[1].step_size
    assert step is not None and step.adaptive
    assert (step.minimum, step.maximum) == (10 / 8, 200 / 8)
    assert step.mean == pytest.approx((10 + 30 + 200) / 3 / 8)
    fixed = layers[2].step_size
    assert fixed is not None and not fixed.adaptive
    assert (fixed.minimum, fixed.mean, fixed.maximum) == (7, 7, 7)


def test_progress_counts_all_images() -> None:
    network, images = _busy_network()
    seen: list[int] = []
    simulate(network, images, batch_size=5, threads=2, progress=seen.append)
    assert seen == [5, 10, 13]


def test_an_interrupt_between_batches_reaches_the_caller_and_harms_nothing() -> None:
    network, images = _busy_network()

    def interrupt(done: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(network, images, batch_size=2, threads=2, progress=interrupt)
    _check_against_oracle(network, images)


# Bad input


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (np.zeros((1, 1, 4, 4), dtype=np.float32), {}, "images must be a uint8 array, not float32"),
        ([[1]], {}, "images must be a uint8 array, not list"),
        (np.zeros((1, 1, 4, 5), dtype=np.uint8), {}, r"images must be \(N, 1, 4, 4\), not .*5\)"),
        (np.zeros((4, 4), dtype=np.uint8), {}, r"images must be \(N, 1, 4, 4\), not \(4, 4\)"),
        (np.zeros((0, 1, 4, 4), dtype=np.uint8), {}, "at least one image, not 0"),
        (np.zeros((1, 1, 4, 4), dtype=np.uint8), {"threads": 0}, "threads must be .* not 0"),
        (np.zeros((1, 1, 4, 4), dtype=np.uint8), {"threads": True}, "threads must be .* not True"),
        (np.zeros((1, 1, 4, 4), dtype=np.uint8), {"batch_size": -1}, "batch size must .* not -1"),
        (np.zeros((1, 1, 4, 4), dtype=np.uint8), {"kernel": "gpu"}, "kernel must be .* not 'gpu'"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    images: object, arguments: dict[str, object], message: str
) -> None:
    network = networks.network(networks.input_layer(4, 4))
    with pytest.raises(InputError, match=message) as caught:
        simulate(network, images, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_product_that_could_overflow_is_refused() -> None:
    network = networks.network(
        networks.input_layer(1, 1),
        networks.conv([[[[63]]]], scheme="post", bits=7, multiplier=32767, shift=40),
    )
    product = Product(kind=ProductKind.POST_LUT, lut_fraction_bits=15)
    with pytest.raises(InputError, match="bits"):
        simulate(network, networks.pixels([[1]]), product=product)


# Layers by hand


def test_a_convolution_by_hand() -> None:
    network = networks.network(
        networks.input_layer(2, 2),
        networks.conv([[[[1, 2], [3, 4]]]], multiplier=3, shift=1, bias=-5),
    )
    # 1*1 + 2*2 + 3*3 + 4*4 = 30; 30 * 3 / 2 - 5
    assert simulate(network, networks.pixels([[1, 2], [3, 4]])).scores.tolist() == [[40]]


def test_pools_and_relu_by_hand() -> None:
    network = networks.network(
        networks.input_layer(3, 3, offset=-5),
        MaxPool(name="max", source="input", kernel_size=(2, 2), stride=(2, 2), padding=(1, 1)),
        Relu(name="relu", source="max", maximum=2),
        AveragePool(
            name="mean",
            source="relu",
            kernel_size=(2, 2),
            stride=(1, 1),
            padding=(0, 0),
            multiplier=1,
            shift=1,
        ),
    )
    _, tensors = _traced(network, networks.pixels([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))
    assert tensors["max"].reshape(-1).tolist() == [-4, -2, 2, 4]
    assert tensors["relu"].reshape(-1).tolist() == [0, 0, 2, 2]
    assert tensors["mean"].reshape(-1).tolist() == [2]
    assert tensors["mean"].dtype == np.int32


def test_the_lowest_of_equal_scores_wins() -> None:
    network = networks.network(networks.input_layer(1, 4))
    result = simulate(network, networks.pixels([[3, 9, 9, 1]]))
    assert result.predictions.tolist() == [1]
    assert result.scores.dtype == result.predictions.dtype == np.int64


def test_formats_of_24_bits_are_held() -> None:
    fmt = FeatureFormat(bits=24, fraction_bits=0)
    network = networks.network(
        networks.input_layer(1, 2, multiplier=2**16, offset=-(2**23), bits=fmt.bits)
    )
    images = networks.pixels([[0, 255]])
    assert simulate(network, images).scores.tolist() == [[-(2**23), 255 * 2**16 - 2**23]]


@pytest.mark.parametrize(("code", "bits"), [(0xFF, 9), (0x01, 9), (0x80, 16), (0x00, 1)])
def test_accumulator_bits_used_are_those_of_the_worst_sample(code: int, bits: int) -> None:
    network = networks.network(networks.input_layer(1, 1), networks.conv([[[[code]]]]))
    images = networks.pixels([1, 200, 255, 3]).reshape(4, 1, 1, 1)
    assert simulate(network, images, batch_size=1).layers[1].accumulator_bits_used == bits


# The bundled network


@pytest.mark.parametrize("product", [SPLIT, LUT], ids=lambda product: product.kind.value)
def test_every_tensor_of_the_bundled_network_equals_the_oracles(product: Product) -> None:
    network = modelfile.load(Path(asq_hw.__file__).parent / BUNDLED_MODEL)
    images = datasets.load("bundled", limit=3).images[2:]
    _check_against_oracle(network, images, product)
