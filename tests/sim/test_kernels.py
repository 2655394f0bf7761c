"""Every method of the vector code against the oracle, and against plain loops on ResNet-18."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asq_hw import oracle
from asq_hw.network.activation import AdaptiveStep
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Add, GlobalAveragePool, Layer, MaxPool, Relu
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.odd_codes import odd_code_range, odd_step
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.schemes import POST, scheme_named
from asq_hw.sim import SimulationResult, TraceBatch, profile_layers, simulate
from asq_hw.sim.instruction_sets import LANES, Kernel
from asq_hw.sim.kernel_choice import available_kernels
from asq_hw.sim.lowering.network import lower
from asq_hw.sim.lowering.weight_layout import Panels, quads_in_words
from asq_hw.sim.program import ComputeType, Method, Requantization
from asq_hw.sim.records import NOWHERE
from tests.helpers import networks

VECTORS = [kernel for kernel in available_kernels() if kernel is not Kernel.PORTABLE]
needs_vectors = pytest.mark.skipif(not VECTORS, reason="the processor has no vector kernel")
Digests = dict[str, str]


DUAL = Product(kind=ProductKind.POST_DUAL)


def _method(network: IntegerNetwork, product: Product | None = None) -> Method:
    product = Product() if product is None else product
    conv = lower(network, product, kernel=VECTORS[0], keep=False).program.convolutions[0]
    assert conv.compute_type == ComputeType.INT8
    return Method(int(conv.dot.method))


def _digests(
    network: IntegerNetwork, images: NDArray[np.uint8], kernel: str, product: Product | None = None
) -> tuple[SimulationResult, Digests]:
    """A run, and the SHA-256 of every tensor."""
    digests: Digests = {}

    def add(batch: TraceBatch) -> None:
        for name, values in batch.tensors.items():
            known = digests.get(name, "")
            digests[name] = hashlib.sha256(known.encode() + values.tobytes()).hexdigest()

    result = simulate(network, images, kernel=kernel, trace=add, threads=1, product=product)
    return result, digests


def _check_forms(
    network: IntegerNetwork, images: NDArray[np.uint8], product: Product | None = None
) -> None:
    """The same tensors, statistics and scores from all kernels, kept and not kept."""
    expected, tensors = _digests(network, images, "portable", product)
    assert set(tensors) >= {layer.name for layer in network.layers}
    for kernel in VECTORS:
        actual, others = _digests(network, images, kernel, product)
        assert [name for name in tensors if tensors[name] != others[name]] == [], kernel
        plain = simulate(network, images, kernel=kernel, threads=1, product=product)
        for result in (actual, plain):
            np.testing.assert_array_equal(result.scores, expected.scores)
            assert result.layers == expected.layers


def _conv_network(
    channels: int,
    outputs: int,
    size: tuple[int, int],
    *,
    scheme: str = "post",
    groups: int = 1,
    activation_bits: int = 4,
    signed: bool = True,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    extreme: bool = False,
    shift: int = 16,
) -> tuple[IntegerNetwork, NDArray[np.uint8]]:
    """A 3 x 3 convolution and a ReLU; with `extreme`, all codes are ends of their ranges."""
    rng = np.random.default_rng(channels * outputs + size[0])
    levels = Grid(scheme=scheme_named(scheme), bits=4).ordered_levels
    codes = [level.code for level in ((levels[0], levels[-1]) if extreme else levels)]
    span = 2**activation_bits
    step = 400 // span if not extreme else 3
    network = networks.network(
        networks.input_layer(*size, channels, multiplier=3, offset=-384 if signed else 0),
        networks.conv(
            rng.choice(codes, (outputs, channels // groups, 3, 3)),
            scheme=scheme,
            bits=4,
            groups=groups,
            stride=stride,
            padding=padding,
            activations=networks.quantizer(activation_bits, step, signed=signed),
            multiplier=rng.integers(-32768, 32768, outputs),
            bias=rng.integers(-(2**12), 2**12, outputs),
            shift=shift,
            output_bits=16,
        ),
        Relu(name="relu", source="conv", maximum=20000),
    )
    values = rng.choice([0, 255], (2, channels, *size)) if extreme else None
    images = rng.integers(0, 256, (2, channels, *size)) if values is None else values
    return network, images.astype(np.uint8)


def _check_oracle(
    network: IntegerNetwork, images: NDArray[np.uint8], product: Product | None = None
) -> None:
    maps = oracle.run(network, images, product)
    scores = maps[network.outputs[0].layer].reshape(len(images), -1)
    for kernel in VECTORS:
        made = simulate(network, images, kernel=kernel, product=product).scores
        np.testing.assert_array_equal(made, scores)


@needs_vectors
@pytest.mark.parametrize("scheme", ["uniform", "post"])
@pytest.mark.parametrize(
    ("channels", "outputs", "size", "padding", "bits"),
    [
        (32, 32, (2, 2), (1, 1), 4),
        (33, 40, (5, 4), (1, 1), 4),
        (36, 33, (3, 6), (0, 0), 4),
        (32, 48, (4, 3), (2, 1), 6),
        (40, 32, (1, 1), (1, 1), 2),
    ],
)
def test_winograds_method_equals_the_oracle(
    channels: int,
    outputs: int,
    size: tuple[int, int],
    padding: tuple[int, int],
    bits: int,
    scheme: str,
) -> None:
    for signed in (False, True):
        for extreme in (False, True):
            network, images = _conv_network(
                channels,
                outputs,
                size,
                scheme=scheme,
                padding=padding,
                activation_bits=bits,
                signed=signed,
                extreme=extreme,
            )
            assert _method(network) is Method.WINOGRAD
            _check_oracle(network, images)
            _check_forms(network, images)


@needs_vectors
@pytest.mark.parametrize("scheme", ["uniform", "post"])
@pytest.mark.parametrize("channels", [2, 16, 31, 40, 65])
def test_depthwise_layers_equal_the_oracle(channels: int, scheme: str) -> None:
    for stride, padding in (((1, 1), (1, 1)), ((2, 1), (0, 2)), ((2, 2), (1, 1))):
        for extreme in (False, True):
            network, images = _conv_network(
                channels,
                channels,
                (7, 6),
                scheme=scheme,
                groups=channels,
                stride=stride,
                padding=padding,
                extreme=extreme,
            )
            assert _method(network) is Method.DEPTHWISE
            _check_oracle(network, images)
            _check_forms(network, images)


@needs_vectors
@pytest.mark.parametrize("bits", [2, 4, 6, 8])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("outputs", "groups", "method"),
    [
        (33, 1, Method.WINOGRAD),
        (20, 1, Method.IMPLICIT_GEMM),
        (72, 2, Method.IMPLICIT_GEMM),
        (36, 36, Method.DEPTHWISE),
    ],
)
def test_every_method_takes_both_planes_of_post_dual(
    outputs: int, groups: int, method: Method, bits: int, signed: bool
) -> None:
    """Codes of 8 bits have odd codes beyond a byte, and are bytes in their planes all the same."""
    for extreme in (False, True):
        network, images = _conv_network(
            36, outputs, (5, 4), groups=groups, activation_bits=bits, signed=signed, extreme=extreme
        )
        if method is not Method.WINOGRAD or bits < 7:
            assert _method(network, DUAL) is method
        _check_oracle(network, images, DUAL)
        _check_forms(network, images, DUAL)


@needs_vectors
def test_a_method_is_left_where_its_bounds_end() -> None:
    size = (4, 4)
    wide, _ = _conv_network(32, 32, size, activation_bits=7)
    assert _method(wide) is Method.IMPLICIT_GEMM  # four times 127 is no byte
    strided, _ = _conv_network(32, 32, size, stride=(2, 2))
    assert _method(strided) is Method.IMPLICIT_GEMM
    # Sums of nine products of 8-bit codes and weights of 8 leave 16 bits only with larger weights.
    narrow, images = _conv_network(32, 32, size, groups=32, activation_bits=8)
    assert _method(narrow) is Method.DEPTHWISE
    _check_oracle(narrow, images)
    codes = np.full((32, 1, 3, 3), 0x7F)
    large = networks.network(networks.input_layer(*size, 32), networks.conv(codes, groups=32))
    assert _method(large) is Method.IMPLICIT_GEMM


@needs_vectors
@pytest.mark.parametrize(
    ("scheme", "bits", "channels", "groups", "expected"),
    [
        ("uniform", 4, 100, 1, {Requantization.SPLIT, Requantization.WIDE}),
        ("uniform", 8, 8, 1, {Requantization.SPLIT, Requantization.WIDE}),
        ("uniform", 8, 40, 40, {Requantization.SPLIT, Requantization.WIDE}),
        (
            "post",
            4,
            100,
            1,
            {Requantization.SPLIT, Requantization.WIDE},
        ),  # Winograd's sums share no lanes
        ("post", 8, 100, 1, {Requantization.WIDE}),
        ("post", 4, 8, 1, {Requantization.HALVES, Requantization.WIDE}),
        ("post", 4, 40, 40, {Requantization.HALVES, Requantization.WIDE}),
    ],
)
def test_requantization_equals_the_oracle_with_any_shift(
    scheme: str, bits: int, channels: int, groups: int, expected: set[Requantization]
) -> None:
    outputs, chosen = channels if groups > 1 else 33, set()
    for shift in (12, 20, 27, 28, 29, 31, 32, 33, 36, 46):
        network, images = _conv_network(
            channels,
            outputs,
            (3, 4),
            scheme=scheme,
            groups=groups,
            activation_bits=bits,
            shift=shift,
            extreme=shift % 2 == 0,
        )
        plan = lower(network, Product(), kernel=VECTORS[0], keep=False).program.convolutions[0]
        assert plan.compute_type == ComputeType.INT8
        chosen.add(Requantization(int(plan.requantization.method)))
        _check_oracle(network, images)
        _check_forms(network, images)
    assert chosen == expected


@needs_vectors
@pytest.mark.parametrize(
    ("channels", "parts", "expected"),
    [
        (16, "even", Requantization.HALVES),  # 16 * 255 * 8 = 32,640
        (16, "even and odd", Requantization.HALVES),
        (17, "even", Requantization.SPLIT),
        (32, "odd", Requantization.HALVES),  # 32 * 255 * 4
        (33, "odd", Requantization.SPLIT),
    ],
)
def test_pairs_share_lanes_as_long_as_sums_have_16_bits(
    channels: int, parts: str, expected: Requantization
) -> None:
    table = Grid(scheme=POST, bits=4).decode_table()
    ends = [
        end(table, key=lambda code: table[code][part])
        for part, name in enumerate(("even", "odd"))
        for end in (min, max)
        if name in parts
    ]
    assert {abs(sum(table[code])) for code in ends} <= {4, 8}
    network = networks.network(
        networks.input_layer(2, 3, channels, multiplier=1, offset=0),
        networks.conv(
            np.tile(np.array(ends).reshape(-1, 1, 1, 1), (9, channels, 1, 1)),
            scheme="post",
            bits=4,
            activations=networks.quantizer(8, 1, signed=False),
            multiplier=3,
            shift=2,
        ),
    )
    plan = lower(network, Product(), kernel=VECTORS[0], keep=False).program.convolutions[0]
    assert plan.requantization.method == expected
    images = np.full((1, channels, 2, 3), 255, dtype=np.uint8)
    _check_oracle(network, images)
    _check_forms(network, images)


@needs_vectors
@pytest.mark.parametrize("scheme", ["uniform", "post"])
@pytest.mark.parametrize(
    ("outputs", "groups", "method"),
    [
        (48, 1, Method.WINOGRAD),
        (20, 1, Method.IMPLICIT_GEMM),
        (40, 2, Method.IMPLICIT_GEMM),
        (40, 40, Method.DEPTHWISE),
    ],
)
def test_sums_of_channels_that_a_layer_leaves_give_the_adapters_steps(
    outputs: int, groups: int, method: Method, scheme: str
) -> None:
    """A map that a layer in the lane of bytes makes is not read again for its channels' means."""
    first, images = _conv_network(40, outputs, (5, 7), scheme=scheme, groups=groups)
    codes = np.random.default_rng(0).integers(0, 255, (3, outputs, 1, 1))
    layers = list(first.layers[:3])
    if outputs != 40:
        layers.pop()  # the ReLU, which is computed with the convolution
    source = layers[-1].name
    for name in ("head", "other"):
        hidden, last = networks.adaptive_step(outputs).stages
        hidden = replace(hidden, bias=np.full(2, 2000))
        step = AdaptiveStep(pool_multiplier=1, pool_shift=13, stages=(hidden, last))
        quantizer = networks.quantizer(6, step, signed=True, step_fraction_bits=4)
        layers.append(networks.conv(codes, name=name, source=source, activations=quantizer))
    layers.append(Add(name="sum", sources=("head", "other")))
    network = networks.network(*layers)
    assert _method(network) is method
    made = lower(network, Product(), kernel=VECTORS[0], keep=False)
    plan = made.program.convolutions.view(np.recarray)
    assert plan.requantization.channel_sums_at.tolist() == [0, NOWHERE, NOWHERE]
    assert plan.quantizer.adapter.channel_sums_at.tolist() == [NOWHERE, 0, 0]
    _check_oracle(network, images)
    _check_forms(network, images)
    found = {layer.name: layer.step_size for layer in simulate(network, images).layers}
    assert found["head"] is not None and 1 < 16 * found["head"].maximum < 65535  # 4 fraction bits


@needs_vectors
def test_many_pieces_and_channels_make_no_difference() -> None:
    for channels, size in ((132, (17, 16)), (64, (13, 22)), (300, (9, 7))):
        network, images = _conv_network(channels, 50, size)
        assert _method(network) is Method.WINOGRAD
        _check_forms(network, images)


@needs_vectors
@pytest.mark.parametrize("bits", [2, 4, 5, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_every_16_bit_value_becomes_its_exact_code(bits: int, signed: bool) -> None:
    values = np.arange(-32768, 32768).reshape(256, 256)  # a channel's offset, and a pixel
    rng = np.random.default_rng(bits)
    steps = [1, 2, 3, 255, 4096, 65535, *rng.integers(1, 65536, 12).tolist()]
    low, high = -(2 ** (bits - 1)) * signed, 2 ** (bits - signed) - 1
    images = np.tile(np.arange(256, dtype=np.uint8), (256, 1)).reshape(1, 256, 1, 256)
    first = replace(networks.input_layer(1, 256, 256), offset=values[:, 0])
    for step in steps:
        for fraction_bits in (0, int(rng.integers(1, 9))):
            network = networks.network(
                first,
                networks.conv(
                    np.ones((1, 256, 1, 1), dtype=np.int64),
                    activations=networks.quantizer(
                        bits, step, signed=signed, step_fraction_bits=fraction_bits
                    ),
                    output_bits=16,
                    shift=4,
                ),
            )
            exact = (2 * (values << fraction_bits) + step) // (2 * step)
            for kernel in VECTORS:
                batches: list[TraceBatch] = []
                result = simulate(network, images, kernel=kernel, trace=batches.append)
                codes = batches[0].tensors["conv-codes"].reshape(256, 256)
                np.testing.assert_array_equal(codes, np.clip(exact, low, high))
                assert result.layers[1].clipped == np.count_nonzero((exact < low) | (exact > high))


@needs_vectors
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_every_16_bit_value_becomes_its_exact_odd_code(bits: int, signed: bool) -> None:
    values = np.arange(-32768, 32768).reshape(256, 256)
    rng = np.random.default_rng(bits)
    images = np.tile(np.arange(256, dtype=np.uint8), (256, 1)).reshape(1, 256, 1, 256)
    first = replace(networks.input_layer(1, 256, 256), offset=values[:, 0])
    for step in [1, 2, 3, 255, 4096, 65535, *rng.integers(1, 65536, 6).tolist()]:
        fraction_bits = int(rng.integers(0, 9))
        quantizer = networks.quantizer(bits, step, signed=signed, step_fraction_bits=fraction_bits)
        layer = networks.conv(
            np.full((1, 256, 1, 1), 6),
            scheme="post",
            bits=4,
            activations=quantizer,
            output_bits=16,
            shift=9,
        )
        size = odd_step(step)
        exact = (2 * (values << fraction_bits) + size) // (2 * size)
        expected = np.clip(exact, *odd_code_range(quantizer.grid))
        for kernel in (*VECTORS, Kernel.PORTABLE):
            batches: list[TraceBatch] = []
            net = networks.network(first, layer)
            simulate(net, images, kernel=kernel, trace=batches.append, product=DUAL)
            codes = batches[0].tensors["conv-odd-codes"].reshape(256, 256)
            np.testing.assert_array_equal(codes, expected)


# Sums in 16 bits


@given(
    quads=st.integers(1, 40),
    largest=st.integers(0, 255),
    bound=st.integers(1, 128),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200)
def test_no_sum_of_a_run_leaves_16_bits(quads: int, largest: int, bound: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-bound, bound, (2, quads, LANES, 4))
    run = quads_in_words(_panels(weights, largest))
    assert run == 0 or 2 <= run <= quads
    pairs = weights.reshape(2, quads, 2 * LANES, 2) * largest
    for first in range(0, quads, max(run, 2)):
        part = pairs[:, first : first + max(run, 2)]
        ends = [np.clip(part, *side).sum(axis=(1, 3)) for side in ((0, None), (None, 0))]
        if run:
            assert ends[0].max() < 2**15 and ends[1].min() >= -(2**15)
        elif max(ends[0].max(), -ends[1].min()) >= 2**15:
            break
    else:
        assert run > 0 or largest == 0 or quads == 1


def _panels(weights: NDArray[np.int64], largest: int) -> Panels:
    nothing = np.zeros(0, dtype=np.int64)
    return Panels(
        weights=weights,
        corrections=nothing,
        quads=4 * np.arange(weights.shape[-3]),
        windows=nothing,
        outputs=nothing,
        largest=largest,
    )


@pytest.mark.skipif(Kernel.AVX2 not in VECTORS, reason="the processor has no AVX2")
@pytest.mark.parametrize(
    ("bits", "weight", "inputs", "run"),
    [
        (4, 127, 32, 8),  # 2 * 8 * 15 * 127 = 30480
        (4, 127, 36, 5),  # nine quads would make 34290
        (4, -128, 36, 5),
        (8, 32, 8, 2),  # 2 * 2 * 255 * 32 = 32640
        (8, -33, 8, 0),
        (8, 127, 37, 0),  # 2 * 255 * 127 = 64770: not even two products
        (8, -128, 37, 0),
        (2, 1, 4000, 1000),
    ],
)
def test_sums_of_16_bits_do_not_saturate(bits: int, weight: int, inputs: int, run: int) -> None:
    for pixel in (0, 255):
        network = networks.network(
            networks.input_layer(1, 9, inputs),
            networks.conv(
                np.full((18, inputs, 1, 1), weight & 0xFF),
                activations=networks.quantizer(bits, signed=False),
                shift=12,
            ),
        )
        plan = lower(network, Product(), kernel=Kernel.AVX2, keep=False).program.convolutions[0]
        assert (plan.compute_type, plan.dot.run) == (ComputeType.INT8, run)
        images = np.full((1, inputs, 1, 9), pixel, dtype=np.uint8)
        images[..., 1:8:2] = 255 - pixel
        _check_oracle(network, images)
        _check_forms(network, images)


# A whole network


class _Resnet18:
    """ResNet-18 at 224 x 224 with random weights; every map spreads over about 2**11."""

    def __init__(self, scheme: str) -> None:
        self.rng = np.random.default_rng(18)
        self.scheme = scheme
        first = networks.input_layer(224, 224, 3, multiplier=64, offset=-8192)
        self.layers: list[Layer] = [first]
        self.relu(self.conv("input", "conv1", (64, 3, 7), 2, edge=True))
        pool = MaxPool(
            name="maxpool", source="conv1_relu", kernel_size=(3, 3), stride=(2, 2), padding=(1, 1)
        )
        self.layers.append(pool)
        source, channels = "maxpool", 64
        for stage, width in enumerate((64, 128, 256, 512), 1):
            for block in range(2):
                source = self.block(f"layer{stage}_{block}", source, channels, width)
                channels = width
        mean = GlobalAveragePool(name="mean", source=source, multiplier=1337, shift=16)
        self.layers.append(mean)
        self.conv("mean", "fc", (1000, 512, 1), 1, edge=True)
        self.network = networks.network(*self.layers)

    def block(self, name: str, source: str, channels: int, width: int) -> str:
        stride = 1 if channels == width else 2
        shortcut = source
        if stride == 2:
            shortcut = self.conv(source, f"{name}_down", (width, channels, 1), 2)
        middle = self.relu(self.conv(source, f"{name}_conv1", (width, channels, 3), stride))
        last = self.conv(middle, f"{name}_conv2", (width, width, 3), 1)
        self.layers.append(Add(name=f"{name}_add", sources=(last, shortcut)))
        return self.relu(f"{name}_add")

    def relu(self, source: str) -> str:
        self.layers.append(Relu(name=f"{source}_relu", source=source))
        return f"{source}_relu"

    def conv(
        self, source: str, name: str, shape: tuple[int, int, int], stride: int, edge: bool = False
    ) -> str:
        outputs, inputs, kernel = shape
        scheme, bits = ("uniform", 8) if edge else (self.scheme, 4)
        grid = Grid(scheme=scheme_named(scheme), bits=bits)
        codes = self.rng.choice(
            [level.code for level in grid.levels], (outputs, inputs, kernel, kernel)
        )
        step = 16 if edge else 500
        spread = np.sqrt(inputs) * kernel * (4 if bits == 4 else 2000)
        layer = networks.conv(
            codes,
            name=name,
            source=source,
            scheme=scheme,
            bits=bits,
            activations=networks.quantizer(bits, step, signed=source == "input"),
            multiplier=self.rng.permuted(np.linspace(0.5, 1.5, outputs) * 2**28 / spread / step)
            .clip(1, 32767)
            .astype(np.int64),
            bias=self.rng.integers(-500, 500, outputs),
            shift=17 + (4 if bits == 4 else 0),
            output_bits=16,
            stride=(stride, stride),
            padding=(kernel // 2, kernel // 2),
        )
        self.layers.append(layer)
        return name


@needs_vectors
@pytest.mark.parametrize("scheme", ["uniform", "post"])
def test_resnet18_has_the_same_bits_with_every_kernel(scheme: str) -> None:
    network = _Resnet18(scheme).network
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224)).astype(np.uint8)
    _check_forms(network, images)
    result = simulate(network, images, threads=1)
    assert len(np.unique(result.scores)) > 500
    steps = lower(network, Product(), kernel=VECTORS[0], keep=False).program.convolutions
    assert np.count_nonzero(steps["dot"]["method"] == Method.WINOGRAD) == 13


def test_a_profile_has_every_layer_that_takes_time() -> None:
    network, images = _conv_network(4, 4, (6, 6))
    seconds = profile_layers(network, images, kernel="portable")
    # The ReLU is computed with the convolution.
    assert list(seconds) == [layer.name for layer in network.layers if layer.name != "relu"]
    assert all(value >= 0 for value in seconds.values())
