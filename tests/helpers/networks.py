"""Integer networks for tests: builders for ones made by hand, and a strategy that draws them.

A drawn network is valid, small, and meant to be hard on an executor: every layer kind, scheme,
encoding and width, operands at the ends of their ranges, results that saturate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from asq_hw.network.activation import (
    ActivationQuantizer,
    AdapterStage,
    AdaptiveStep,
    FixedStep,
    Step,
)
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.images import ImageSpec
from asq_hw.network.layers import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Input,
    Layer,
    Linear,
    Lookup,
    MaxPool,
    Multiply,
    Pad,
    Relu,
    Select,
)
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.outputs import Output, only_scores
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import MAX_LUT_FRACTION_BITS, SPLIT_FRACTION_BITS, Product, ProductKind
from asq_hw.numbers.schemes import SCHEMES, UNIFORM, scheme_named
from asq_hw.numbers.validation import IntArray
from asq_hw.numbers.widths import MAX_WEIGHT_SHIFT

Pixels = NDArray[Any]

# By hand


def pixels(values: ArrayLike) -> Pixels:
    """Images (N, C, H, W) from nested lists; leading dimensions may be left out."""
    array = np.array(values, dtype=np.uint8)
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def input_layer(
    height: int,
    width: int,
    channels: int = 1,
    *,
    multiplier: int = 1,
    offset: int = 0,
    shift: int = 0,
    bits: int = 16,
) -> Input:
    """An input named ``input`` that by default passes the pixels on as they are."""
    return Input(
        name="input",
        height=height,
        width=width,
        multiplier=np.full(channels, multiplier),
        offset=np.full(channels, offset),
        shift=shift,
        output=FeatureFormat(bits=bits, fraction_bits=0),
    )


def quantizer(
    bits: int = 8,
    step: int | Step = 1,
    *,
    signed: bool = False,
    step_fraction_bits: int = 0,
) -> ActivationQuantizer:
    """By default one that passes 0 .. 255 on as they are."""
    return ActivationQuantizer(
        grid=Grid(scheme=UNIFORM, bits=bits, signed=signed),
        step=FixedStep(step=step) if isinstance(step, int) else step,
        step_fraction_bits=step_fraction_bits,
    )


def conv(
    codes: ArrayLike,
    *,
    name: str = "conv",
    source: str = "input",
    activations: ActivationQuantizer | None = None,
    scheme: str = "uniform",
    bits: int = 8,
    encoding: str = "packed",
    multiplier: ArrayLike = 1,
    narrow_shift: int = 0,
    shift: int = 0,
    bias: ArrayLike = 0,
    output_bits: int = 24,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    dilation: tuple[int, int] = (1, 1),
) -> Conv:
    """A convolution; by default its output is the dot product itself, 24 bits wide."""
    weight_codes = np.asarray(codes)
    outputs = weight_codes.shape[0]
    return Conv(
        name=name,
        source=source,
        quantizer=activations or quantizer(),
        weight_grid=Grid(scheme=scheme_named(scheme), bits=bits, encoding=Encoding(encoding)),
        weight_codes=weight_codes,
        multiplier=np.broadcast_to(multiplier, outputs),
        narrow_shift=narrow_shift,
        shift=shift,
        bias=np.broadcast_to(bias, outputs),
        output=FeatureFormat(bits=output_bits, fraction_bits=0),
        stride=stride,
        padding=padding,
        groups=groups,
        dilation=dilation,
    )


def linear(
    codes: ArrayLike,
    *,
    name: str = "linear",
    source: str = "input",
    activations: ActivationQuantizer | None = None,
    scheme: str = "uniform",
    bits: int = 8,
    encoding: str = "packed",
    multiplier: ArrayLike = 1,
    narrow_shift: int = 0,
    shift: int = 0,
    bias: ArrayLike = 0,
    output_bits: int = 24,
) -> Linear:
    """A linear layer; by default its output is the dot product itself, 24 bits wide."""
    weight_codes = np.asarray(codes)
    outputs = weight_codes.shape[0]
    return Linear(
        name=name,
        source=source,
        quantizer=activations or quantizer(),
        weight_grid=Grid(scheme=scheme_named(scheme), bits=bits, encoding=Encoding(encoding)),
        weight_codes=weight_codes,
        multiplier=np.broadcast_to(multiplier, outputs),
        narrow_shift=narrow_shift,
        shift=shift,
        bias=np.broadcast_to(bias, outputs),
        output=FeatureFormat(bits=output_bits, fraction_bits=0),
    )


def network(*layers: Layer) -> IntegerNetwork:
    """A network of these layers and a last one, ``scores``, that makes the output (C, 1, 1)."""
    scores = Flatten(name="scores", source=layers[-1].name)
    return IntegerNetwork(name="test", layers=(*layers, scores))


def adaptive_step(channels: int = 1, *, hidden: int = 2) -> AdaptiveStep:
    """The step ``1 + hidden * sum over c of (half the sum of X[c], rounded)``, in two stages."""
    stages = (
        AdapterStage(
            weight=np.ones((hidden, channels), dtype=np.int64),
            bias=np.zeros(hidden, dtype=np.int64),
            multiplier=1,
            shift=0,
            minimum=0,
            maximum=65535,
        ),
        AdapterStage(
            weight=np.ones((1, hidden), dtype=np.int64),
            bias=np.ones(1, dtype=np.int64),
            multiplier=1,
            shift=0,
            minimum=1,
            maximum=65535,
        ),
    )
    return AdaptiveStep(pool_multiplier=1, pool_shift=1, stages=stages)


def log_linear_step(channels: int = 1, **changes: int) -> LogLinearStep:
    """The step 2 to (2 and twice the sum over c of (half the sum of X[c], rounded) / 256)."""
    fields = {
        "pool_multiplier": 1,
        "pool_shift": 1,
        "multiplier": 4,
        "shift": 1,
        "offset": 512,
        "lowest": 0,
        "highest": 4095,
    }
    weight = np.ones(channels, dtype=np.int64)
    return LogLinearStep(weight=weight, **(fields | changes))


def network_of_every_step() -> IntegerNetwork:
    """A network with both kinds of steps that are exponents, behind one whose step is fixed."""
    return network(
        input_layer(3, 3, 2),
        _log_linear(),
        conv(
            np.arange(36).reshape(2, 2, 3, 3) % 8,
            name="shared_exponent",
            source="log_linear",
            activations=quantizer(4, SharedExponentStep(lowest=1, highest=9), signed=True),
            output_bits=16,
        ),
        conv([[[[1]], [[2]]]], name="fixed", source="shared_exponent", activations=quantizer(8, 3)),
    )


def network_of_a_block() -> IntegerNetwork:
    """A network with a step that comes from another layer's adapter."""
    step = SharedAdapterStep(layer="log_linear", multiplier=3, shift=1, minimum=2, maximum=99)
    taken = quantizer(4, step, step_fraction_bits=3)
    return network(
        input_layer(3, 3, 2),
        _log_linear(),
        conv([[[[1]], [[2]]]], name="shared", source="log_linear", activations=taken),
    )


def _log_linear() -> Conv:
    return conv(
        np.arange(4).reshape(2, 2, 1, 1),
        name="log_linear",
        activations=quantizer(4, log_linear_step(2), step_fraction_bits=2),
        output_bits=16,
    )


def network_of_moved_maps() -> IntegerNetwork:
    """A network with the kinds that only move values: zeros on sides, three maps in one."""
    return network(
        input_layer(2, 3),
        Pad(name="wider", source="input", rows=(1, 0), columns=(2, 1)),
        Pad(name="deeper", source="wider", channels=(0, 2)),
        Concat(name="joined", sources=("deeper", "wider", "deeper")),
        Relu(name="relu", source="joined"),
    )


def network_of_selected_maps() -> IntegerNetwork:
    """A network that takes parts of maps."""
    return network(
        input_layer(3, 5, 2),
        Select(
            name="part",
            source="input",
            channels=np.array([1, 1, 0]),
            first=(1, 0),
            stride=(1, 2),
            size=(2, 3),
        ),
        Relu(name="relu", source="part"),
    )


def network_of_functions() -> IntegerNetwork:
    """A network with tables, one for all channels and one for each, and products of maps."""
    return network(
        input_layer(3, 4, 2, multiplier=200, offset=-20000),
        Lookup(
            name="up",
            source="input",
            shift=13,
            values=np.array([[-900, -800, 500, 90, -90, 3, 40_000, 70_000, -70_000]]),
            output=FeatureFormat(bits=16, fraction_bits=3),
        ),
        GlobalAveragePool(name="mean", source="up", multiplier=5461, shift=16),
        Multiply(
            name="gated",
            sources=("up", "mean"),
            shift=4,
            output=FeatureFormat(bits=12, fraction_bits=-2),
        ),
        Lookup(
            name="scaled",
            source="gated",
            shift=12,
            values=np.array([[-1500, 1500], [700, -(2**31)]]),
            output=FeatureFormat(bits=20, fraction_bits=0),
        ),
        Multiply(
            name="squared",
            sources=("scaled", "scaled"),
            shift=9,
            output=FeatureFormat(bits=24, fraction_bits=0),
        ),
    )


def network_of_several_outputs() -> IntegerNetwork:
    """A network of signed 12-bit vectors that gives out a sum, its ReLU and class scores."""
    layers = (
        replace(input_layer(1, 1, 3), bits=12, signed=True),
        linear([[1, 2, 254], [3, 255, 0]], name="sum", activations=quantizer(8, 16, signed=True)),
        Relu(name="relu", source="sum"),
        linear([[1, 2], [255, 1], [3, 0]], name="head", source="relu"),
    )
    outputs = (
        Output(name="below.0", layer="sum"),
        Output(name="head", layer="head", is_scores=True),
        Output(name="above", layer="relu"),
    )
    return IntegerNetwork(name="several", layers=layers, outputs=outputs)


def network_of_every_kind() -> IntegerNetwork:
    """A network with version 1's layer kinds, a fixed and an adaptive step, references."""
    return IntegerNetwork(
        name="every_kind",
        layers=(
            input_layer(6, 6, 2, multiplier=3, offset=-100, shift=2),
            conv(
                np.arange(36).reshape(2, 2, 3, 3) % 8,
                name="stem.0",
                activations=quantizer(4, adaptive_step(2), signed=True, step_fraction_bits=8),
                scheme="post",
                bits=4,
                padding=(1, 1),
                multiplier=[300, -400],
                narrow_shift=6,
                shift=9,
                bias=[1, -2],
                output_bits=16,
            ),
            conv(
                np.arange(8).reshape(2, 1, 2, 2),
                name="depthwise",
                source="stem.0",
                activations=quantizer(3, 1500),
                scheme="pot",
                bits=4,
                encoding="zero-free",
                multiplier=7,
                shift=7,
                output_bits=16,
                groups=2,
                stride=(2, 2),
            ),
            Relu(name="relu6", source="depthwise", maximum=6000),
            MaxPool(name="max", source="relu6", kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)),
            AveragePool(
                name="mean",
                source="relu6",
                kernel_size=(3, 3),
                stride=(1, 1),
                padding=(1, 1),
                multiplier=7282,
                shift=16,
            ),
            Add(name="sum", sources=("max", "mean")),
            Relu(name="relu", source="sum"),
            GlobalAveragePool(name="global", source="relu", multiplier=7282, shift=16),
            Flatten(name="flat", source="global"),
            linear(
                [[0, 1], [2, 3], [6, 7]],
                name="head",
                source="flat",
                scheme="apot",
                bits=4,
                activations=quantizer(8, 60),
                multiplier=[1, 2, -3],
                shift=1,
            ),
        ),
        references={"fashion-mnist": np.array([3, 1, 2], dtype=np.uint16)},
        metadata={"made_by": "a test", "note": "\u221a2 \U0001f600"},
        # 4 / (255 * 0.0052) = 3.02, and -255 * 0.13 times that is -100.0.
        images=ImageSpec(
            shape=(2, 6, 6),
            mean=(0.13, 0.13),
            std=(0.0052, 0.0052),
            classes=("ankle boot", "sac \u00e0 main", "3"),
        ),
    )


# Drawn

LAYER_KINDS = (
    "conv",
    "conv",
    "conv",
    "conv",
    "conv",
    "depthwise",
    "linear",
    "add",
    "multiply",
    "concat",
    "pad",
    "select",
    "relu",
    "lookup",
    "relu6",
    "max_pool",
    "average_pool",
    "global_average_pool",
    "flatten",
)
WEIGHT_GRIDS = tuple(
    grid
    for scheme in SCHEMES.values()
    for bits in range(2, 9)
    for encoding in scheme.encodings
    if (grid := Grid(scheme=scheme, bits=bits, encoding=encoding)).shift <= MAX_WEIGHT_SHIFT
)
_LARGEST_MAP = 400
_RESULT_BITS = 61  # of a dot product times a multiplier; two bits less than the executors have


def products() -> st.SearchStrategy[Product]:
    """Both kinds of product and every width of table entries."""
    return st.builds(
        Product,
        kind=st.sampled_from(ProductKind),
        lut_fraction_bits=st.integers(0, MAX_LUT_FRACTION_BITS),
    )


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    product: Product | None = None,
    kinds: Iterable[str] = LAYER_KINDS,
    max_layers: int = 6,
) -> IntegerNetwork:
    """A valid network, also for `product` (by default ``post-split``)."""
    plan = draw(st.lists(st.sampled_from(tuple(kinds)), min_size=1, max_size=max_layers))
    seed = draw(st.integers(0, 2**32 - 1))
    return random_network(seed, plan, product=product)


@st.composite
def cases(
    draw: st.DrawFn, *, max_images: int = 3, max_layers: int = 6
) -> tuple[IntegerNetwork, Pixels, Product]:
    """A network, images for it, and a product to run it with."""
    product = draw(products())
    drawn = draw(networks(product=product, max_layers=max_layers))
    count = draw(st.integers(1, max_images))
    return drawn, random_images(drawn, count, draw(st.integers(0, 2**32 - 1))), product


def random_images(drawn: IntegerNetwork, count: int, seed: int) -> Pixels:
    """Images for a network: noise, constant, black and white, or one bright pixel."""
    rng = np.random.default_rng(seed)
    taken = drawn.input.integers
    low, high, middle = taken.low, taken.high, (taken.low + taken.high) // 2
    shape = drawn.input.shape
    images = np.zeros((count, *shape), dtype=taken.dtype)
    for image in images:
        match int(rng.integers(5)):
            case 0:
                image[...] = rng.choice([low, high], size=shape)
            case 1:
                image[...] = rng.choice([low, low + 1, middle, middle + 1, high - 1, high])
            case 2:
                image.flat[rng.integers(image.size)] = high
            case _:
                image[...] = rng.integers(low, high + 1, size=shape)
    return images


def random_network(
    seed: int, plan: Iterable[str], *, product: Product | None = None
) -> IntegerNetwork:
    """The network that `seed` makes of a plan, a list of names out of `LAYER_KINDS`."""
    builder = _Builder(rng=np.random.default_rng(seed), product=product or Product())
    builder.add_input()
    for kind in plan:
        builder.add(kind)
    builder.finish()
    ends = _Ends(rng=np.random.default_rng([seed, 1]))
    builder.layers[0] = ends.input_of(builder.layers[0])
    references = {"drawn": builder.rng.integers(0, 10, size=5).astype(np.uint16)}
    return IntegerNetwork(
        name="drawn",
        layers=tuple(builder.layers),
        outputs=ends.outputs_of(builder.layers),
        references=references if builder.often(0.5) else {},
        metadata={"seed": str(seed)} if builder.often(0.5) else {},
    )


@dataclass
class _Ends:
    """What a drawn network takes and gives out."""

    rng: Generator

    def input_of(self, layer: Layer) -> Input:
        """The same input, of other integers now and then."""
        assert isinstance(layer, Input)
        if self.rng.random() < 0.5:
            return layer
        bits = int(self.rng.integers(2, 17))
        shift = min(max(layer.shift + bits - 8, 0), 62)
        return replace(layer, bits=bits, signed=bool(self.rng.random() < 0.5), shift=shift)

    def outputs_of(self, layers: Sequence[Layer]) -> tuple[Output, ...]:
        """Class scores, and now and then other maps, some of them under two names."""
        outputs = [*only_scores(layers[-1].name)]
        if self.rng.random() < 0.5:
            for number in range(int(self.rng.integers(1, 4))):
                chosen = layers[int(self.rng.integers(len(layers)))].name
                outputs.append(Output(name=f"map.{number}", layer=chosen))
        return tuple(outputs)


@dataclass(frozen=True)
class _Made:
    """A feature map that later layers can read."""

    name: str
    shape: tuple[int, int, int]
    format: FeatureFormat


@dataclass
class _Builder:
    rng: Generator
    product: Product
    layers: list[Layer] = field(default_factory=list)
    made: list[_Made] = field(default_factory=list)

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included; `low` where `high` is smaller."""
        return int(self.rng.integers(low, max(low, high) + 1))

    def often(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def append(self, layer: Layer, shape: tuple[int, int, int], fmt: FeatureFormat) -> None:
        self.layers.append(layer)
        self.made.append(_Made(layer.name, shape, fmt))

    def next_name(self, kind: str) -> str:
        separator = str(self.rng.choice([".", "_"]))
        return f"{kind}{separator}{len(self.layers)}"

    def source(self, accept: Callable[[_Made], bool] = lambda _: True) -> _Made | None:
        """A feature map to read, mostly the latest."""
        usable = [made for made in self.made if accept(made)]
        if not usable:
            return None
        return usable[-1] if self.often(0.7) else usable[self.integer(0, len(usable) - 1)]

    def random_format(self) -> FeatureFormat:
        bits = 16 if self.often(0.5) else self.integer(4, 24)
        return FeatureFormat(bits=bits, fraction_bits=self.integer(-32, 32))

    def add_input(self) -> None:
        channels = self.integer(1, 4)
        fmt = self.random_format()
        multiplier_bits = self.integer(1, 31)
        top = 2**multiplier_bits - 1
        multiplier = _with_extremes(self.rng, channels, -top - 1, top)
        offset = _with_extremes(self.rng, channels, -top - 1, top)
        if self.often(0.1):
            offset = _with_extremes(self.rng, channels, -(2**31), 2**31 - 1)
        layer = Input(
            name="input" if self.often(0.8) else "pixels.in",
            height=self.integer(1, 8),
            width=self.integer(1, 8),
            multiplier=multiplier,
            offset=offset,
            shift=max(0, multiplier_bits + 8 - fmt.bits + self.integer(-2, 2)),
            output=fmt,
        )
        self.append(layer, (channels, layer.height, layer.width), fmt)

    def add(self, kind: str) -> None:
        match kind:
            case "conv" | "depthwise":
                self.add_conv(depthwise=kind == "depthwise")
            case "linear":
                self.add_linear()
            case "add":
                self.add_sum()
            case "multiply":
                self.add_product()
            case "lookup":
                self.add_lookup()
            case "concat":
                self.add_concat()
            case "pad":
                self.add_zeros()
            case "select":
                self.add_selection()
            case "max_pool" | "average_pool":
                self.add_pool(kind)
            case _:
                self.add_simple(kind)

    def finish(self) -> None:
        """Make the output (C, 1, 1)."""
        if self.made[-1].shape[1:] != (1, 1):
            last = self.made[-1]
            pool = GlobalAveragePool(
                name="last", source=last.name, multiplier=self.integer(1, 65535), shift=16
            )
            if self.often(0.5):
                self.append(pool, (last.shape[0], 1, 1), last.format)
            else:
                size = int(np.prod(last.shape))
                self.append(Flatten(name="last", source=last.name), (size, 1, 1), last.format)

    def add_simple(self, kind: str) -> None:
        source = self.source()
        assert source is not None
        name, shape = self.next_name(kind), source.shape
        layer: Layer
        match kind:
            case "relu":
                layer = Relu(name=name, source=source.name)
            case "relu6":
                maximum = self.integer(1, 2 ** (source.format.bits - 1) - 1)
                layer = Relu(name=name, source=source.name, maximum=maximum)
            case "flatten":
                layer, shape = Flatten(name=name, source=source.name), (int(np.prod(shape)), 1, 1)
            case _:
                multiplier, shift = self.mean_of(shape[1] * shape[2])
                layer = GlobalAveragePool(
                    name=name, source=source.name, multiplier=multiplier, shift=shift
                )
                shape = (shape[0], 1, 1)
        self.append(layer, shape, source.format)

    def add_sum(self) -> None:
        first = self.source()
        assert first is not None
        second = self.source(lambda made: (made.shape, made.format) == (first.shape, first.format))
        assert second is not None
        layer = Add(name=self.next_name("add"), sources=(first.name, second.name))
        self.append(layer, first.shape, first.format)

    def add_product(self) -> None:
        first = self.source()
        assert first is not None

        def meets(made: _Made) -> bool:
            return all(size in (1, of) for size, of in zip(made.shape, first.shape, strict=True))

        second = self.source(meets)
        assert second is not None
        output = self.random_format()
        bits = first.format.bits + second.format.bits - 2
        layer = Multiply(
            name=self.next_name("product"),
            sources=(first.name, second.name),
            shift=62 if self.often(0.05) else max(0, bits - output.bits + self.integer(-9, 2)),
            output=output,
        )
        self.append(layer, first.shape, output)

    def add_lookup(self) -> None:
        source = self.source()
        assert source is not None
        output = self.random_format()
        segments = self.integer(0, min(source.format.bits, 6))
        tables = source.shape[0] if self.often(0.5) else 1
        top = 2**31 if self.often(0.1) else 2 ** (output.bits - 1)
        count = 2**segments + 1
        values = [_with_extremes(self.rng, count, -top, top - 1) for _ in range(tables)]
        layer = Lookup(
            name=self.next_name("lookup"),
            source=source.name,
            shift=source.format.bits - segments,
            values=np.array(values),
            output=output,
        )
        self.append(layer, source.shape, output)

    def add_concat(self) -> None:
        first = self.source()
        assert first is not None
        size, fmt = first.shape[1:], first.format
        sources = [first]
        for _ in range(self.integer(1, 3)):
            other = self.source(lambda made: (made.shape[1:], made.format) == (size, fmt))
            assert other is not None
            sources.append(other)
        layer = Concat(name=self.next_name("concat"), sources=tuple(s.name for s in sources))
        self.append(layer, (sum(s.shape[0] for s in sources), *size), fmt)

    def add_zeros(self) -> None:
        source = self.source()
        assert source is not None
        zeros = [self.integer(0, 3) if self.often(0.5) else 0 for _ in range(6)]
        zeros[self.integer(0, 5)] += 1
        channels, rows, columns = zeros[:2], zeros[2:4], zeros[4:]
        layer = Pad(
            name=self.next_name("pad"),
            source=source.name,
            channels=(channels[0], channels[1]),
            rows=(rows[0], rows[1]),
            columns=(columns[0], columns[1]),
        )
        sums = (sum(channels), sum(rows), sum(columns))
        shape = tuple(size + more for size, more in zip(source.shape, sums, strict=True))
        self.append(layer, shape, source.format)  # type: ignore[arg-type]

    def add_selection(self) -> None:
        source = self.source()
        assert source is not None
        count = self.integer(1, source.shape[0] + 1)
        rectangle = []
        for extent in source.shape[1:]:
            stride, first = self.integer(1, 3), self.integer(0, extent - 1)
            rectangle.append((first, stride, self.integer(1, 1 + (extent - 1 - first) // stride)))
        rows, columns = rectangle
        layer = Select(
            name=self.next_name("select"),
            source=source.name,
            channels=np.array([self.integer(0, source.shape[0] - 1) for _ in range(count)]),
            first=(rows[0], columns[0]),
            stride=(rows[1], columns[1]),
            size=(rows[2], columns[2]),
        )
        self.append(layer, (count, rows[2], columns[2]), source.format)

    def mean_of(self, count: int) -> tuple[int, int]:
        """Multiplier and shift that make a mean of `count` values, now and then twice as much."""
        shift = self.integer(0, 24)
        return min(max(1, round(2**shift / count)), 65535), max(0, shift - self.often(0.2))

    def add_pool(self, kind: str) -> None:
        source = self.source()
        assert source is not None
        kernel, stride, padding, size = self.window(source.shape[1:], pool=True)
        shape = (source.shape[0], *size)
        name = self.next_name(kind)
        layer: Layer
        if kind == "max_pool":
            layer = MaxPool(
                name=name, source=source.name, kernel_size=kernel, stride=stride, padding=padding
            )
        else:
            multiplier, shift = self.mean_of(kernel[0] * kernel[1])
            layer = AveragePool(
                name=name,
                source=source.name,
                kernel_size=kernel,
                stride=stride,
                padding=padding,
                multiplier=multiplier,
                shift=shift,
            )
        self.append(layer, shape, source.format)

    def window(
        self, extents: tuple[int, ...], *, pool: bool, dilation: tuple[int, int] = (1, 1)
    ) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Kernel, stride, padding and the number of window positions, by axis."""
        axes = []
        for extent, distance in zip(extents, dilation, strict=True):
            kernel = self.integer(1, min(4, extent + 2))
            most = kernel // 2 if pool else 3
            least = max(0, -(-((kernel - 1) * distance + 1 - extent) // 2))
            padding = self.integer(least, most)
            if least > most:
                kernel, padding = (extent, 0) if distance == 1 else (1, padding)
            stride = self.integer(1, 3)
            room = extent + 2 * padding - (kernel - 1) * distance - 1
            axes.append((kernel, stride, padding, room // stride + 1))
        first, second = axes
        return (
            (first[0], second[0]),
            (first[1], second[1]),
            (first[2], second[2]),
            (first[3], second[3]),
        )

    def add_conv(self, *, depthwise: bool) -> None:
        source = self.source(lambda made: np.prod(made.shape) <= _LARGEST_MAP)
        assert source is not None  # the input is always small enough
        channels = source.shape[0]
        groups = [g for g in range(1, channels + 1) if channels % g == 0]
        group = channels if depthwise else int(self.rng.choice(groups)) if self.often(0.4) else 1
        outputs = group * self.integer(1, max(1, 4 // group))
        dilation = (self.integer(1, 3), self.integer(1, 3)) if self.often(0.3) else (1, 1)
        window = self.window(source.shape[1:], pool=False, dilation=dilation)
        kernel, stride, padding, size = window
        shape = (outputs, channels // group, *kernel)
        name = self.next_name("conv")
        fields = self.weighted_fields(source, shape)
        layer = Conv(
            name=name,
            source=source.name,
            stride=stride,
            padding=padding,
            groups=group,
            dilation=dilation,
            **fields,  # type: ignore[arg-type]
        )
        self.append(layer, (outputs, *size), layer.output)

    def add_linear(self) -> None:
        source = self.source(lambda made: made.shape[1:] == (1, 1))
        if source is None:
            self.add_simple(str(self.rng.choice(["flatten", "global_average_pool"])))
            source = self.made[-1]
        outputs = self.integer(1, 6)
        fields = self.weighted_fields(source, (outputs, source.shape[0]))
        layer = Linear(
            name=self.next_name("linear"),
            source=source.name,
            **fields,  # type: ignore[arg-type]
        )
        self.append(layer, (outputs, 1, 1), layer.output)

    def weighted_fields(self, source: _Made, shape: tuple[int, ...]) -> dict[str, object]:
        """What convolution and linear layer share, chosen so that 64 bits suffice."""
        activations = self.activation_quantizer(source)
        reach = int(np.prod(shape[1:])) * (activations.grid.maximum + 1)
        grid, value_bits = self.weight_grid(reach)
        output = self.random_format()
        narrowed_bits = self.integer(2, min(31, _RESULT_BITS - value_bits))
        largest_bits = (activations.step.maximum * 32768).bit_length()
        fraction = self.product.fraction_bits(grid)
        # The shift brings the largest dot products some way around the output's range.
        shift = value_bits - 2 + narrowed_bits - fraction - output.bits + self.integer(-4, 2)
        outputs = shape[0]
        bias_top = 2 ** (output.bits - 1) if self.often(0.9) else 2**31
        return {
            "quantizer": activations,
            "weight_grid": grid,
            "weight_codes": self.codes(grid, shape),
            "multiplier": _with_extremes(self.rng, outputs, -32768, 32767),
            "narrow_shift": max(0, largest_bits - narrowed_bits),
            "shift": min(max(0, shift), 46),
            "bias": _with_extremes(self.rng, outputs, -bias_top, bias_top - 1),
            "output": output,
        }

    def weight_grid(self, reach: int) -> tuple[Grid, int]:
        """A grid, and the bits that a dot product needs on it, with room for a multiplier."""
        scheme = scheme_named(str(self.rng.choice(list(SCHEMES))))
        usable = []
        for grid in WEIGHT_GRIDS:
            fraction = 0
            if grid.uses_sqrt2:
                fraction = max(SPLIT_FRACTION_BITS, self.product.fraction_bits(grid))
            bits = reach.bit_length() + grid.shift + fraction + 2
            odd_bits = reach.bit_length() + grid.shift + 17 if grid.uses_sqrt2 else 0
            if grid.scheme is scheme and bits <= _RESULT_BITS - 3 and odd_bits <= 62:
                usable.append((grid, bits))
        return usable[self.integer(0, len(usable) - 1)]

    def codes(self, grid: Grid, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        levels = [level.code for level in grid.ordered_levels]
        match self.integer(0, 5):
            case 0:
                allowed = [levels[0], levels[-1]]
            case 1:
                allowed = [levels[self.integer(0, len(levels) - 1)]]
            case _:
                allowed = levels
        return np.asarray(self.rng.choice(allowed, size=shape), dtype=np.uint16)

    def activation_quantizer(self, source: _Made) -> ActivationQuantizer:
        bits = self.integer(2, 8)
        # Step sizes that spread the source's range over the codes, as far as 16 bits allow.
        least = source.format.bits - bits
        fraction_bits = self.integer(max(0, 4 - least), min(24, 18 - least))
        step_bits = min(max(1, least + fraction_bits + self.integer(-3, 0)), 16)
        step: Step
        adapted = [
            layer
            for layer in self.layers
            if isinstance(layer, Conv | Linear)
            and isinstance(layer.quantizer.step, AdaptiveStep | LogLinearStep)
        ]
        if adapted and self.often(0.3):
            first = adapted[self.integer(0, len(adapted) - 1)]
            step = self.shared_step(first, step_bits)
        elif self.often(0.4):
            step = self.adaptive_step(source, step_bits)
        elif self.often(0.3):
            step = self.log_linear_step(source, step_bits)
        elif self.often(0.3):
            lowest = self.integer(0, 15) if self.often(0.3) else 0
            highest = self.integer(lowest, 15) if self.often(0.3) else 15
            step = SharedExponentStep(lowest=lowest, highest=highest)
        elif self.often(0.1):
            step = FixedStep(step=int(self.rng.choice([1, 65535])))
        else:
            step = FixedStep(step=self.integer(2 ** (step_bits - 1), 2**step_bits - 1))
        return ActivationQuantizer(
            grid=Grid(scheme=UNIFORM, bits=bits, signed=self.often(0.5)),
            step=step,
            step_fraction_bits=fraction_bits,
        )

    def adaptive_step(self, source: _Made, step_bits: int) -> AdaptiveStep:
        channels, height, width = source.shape
        pool_multiplier, pool_shift = self.mean_of(height * width)
        low = max(1, 2 ** max(0, step_bits - self.integer(1, 4)) - self.integer(0, 2))
        ends = (low, min(65535, low * self.integer(1, 16)))
        value_bits = source.format.bits - 2
        if self.often(0.5):
            stages = (self.stage(1, channels, value_bits, step_bits, ends),)
        else:
            hidden, hidden_bits = self.integer(1, 4), self.integer(4, 16)
            least = self.integer(0, 5) if self.often(0.2) else 0
            stages = (
                self.stage(hidden, channels, value_bits, hidden_bits, (least, 2**hidden_bits - 1)),
                self.stage(1, hidden, hidden_bits - 1, step_bits, ends),
            )
        return AdaptiveStep(pool_multiplier=pool_multiplier, pool_shift=pool_shift, stages=stages)

    def shared_step(self, first: Conv | Linear, step_bits: int) -> SharedAdapterStep:
        """The step of an earlier layer, brought to about `step_bits` bits."""
        multiplier = self.integer(1, 65535)
        bits = (multiplier * first.quantizer.step.maximum).bit_length()
        low = self.integer(1, 2**step_bits - 1) if self.often(0.3) else 1
        return SharedAdapterStep(
            layer=first.name,
            multiplier=multiplier,
            shift=min(62, max(0, bits - step_bits + self.integer(-1, 1))),
            minimum=low,
            maximum=self.integer(low, 65535) if self.often(0.3) else 65535,
        )

    def log_linear_step(self, source: _Made, step_bits: int) -> LogLinearStep:
        channels, height, width = source.shape
        pool_multiplier, pool_shift = self.mean_of(height * width)
        sum_bits = min(31, source.format.bits + 5)
        multiplier = 0 if self.often(0.03) else self.integer(1, 65535)
        shift = max(0, sum_bits + multiplier.bit_length() - self.integer(4, 11))
        middle = 256 * (step_bits - 1) + self.integer(-200, 255)
        lowest = max(0, middle - self.integer(0, 600))
        return LogLinearStep(
            pool_multiplier=pool_multiplier,
            pool_shift=pool_shift,
            weight=_with_extremes(self.rng, channels, -128, 127),
            multiplier=multiplier,
            shift=min(shift, 62),
            offset=middle if self.often(0.9) else self.integer(-(2**31), 2**31 - 1),
            lowest=lowest,
            highest=min(4095, lowest + self.integer(0, 1200)),
        )

    def stage(
        self, outputs: int, inputs: int, value_bits: int, result_bits: int, ends: tuple[int, int]
    ) -> AdapterStage:
        """A stage that makes results of about `result_bits` bits of inputs of `value_bits`."""
        sum_bits = min(31, value_bits + 7)
        multiplier = 0 if self.often(0.03) else self.integer(1, 65535)
        shift = max(0, sum_bits - 1 + multiplier.bit_length() - result_bits + self.integer(-1, 1))
        top = 2 ** (sum_bits - 1)
        bias = self.rng.integers(-top // 4, top, size=outputs)
        if self.often(0.05):
            bias = _with_extremes(self.rng, outputs, -(2**31), 2**31 - 1)
        return AdapterStage(
            weight=_with_extremes(self.rng, (outputs, inputs), -128, 127),
            bias=bias,
            multiplier=multiplier,
            shift=shift,
            minimum=ends[0],
            maximum=ends[1],
        )


def _with_extremes(rng: Generator, size: int | tuple[int, ...], low: int, high: int) -> IntArray:
    """Integers from `low` to `high`, one in ten of them an end of the range, -1, 0 or 1."""
    values = rng.integers(low, high + 1, size=size)
    special = rng.choice([low, high, 0, min(1, high), max(-1, low)], size=size)
    return np.where(rng.random(size) < 0.1, special, values).astype(np.int64)
