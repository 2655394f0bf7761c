"""QONNX straight to integers: the classes that qonnx gives, and what is not exact is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import asq_hw
from asq_hw import oracle, sim
from asq_hw.cli import main
from asq_hw.datasets import load
from asq_hw.errors import InputError
from asq_hw.interchange.quantized import load_qonnx
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.input_format import InputFormat
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.fixedpoint import divide_half_up
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import SYMMETRIC, UNIFORM
from tests.helpers.onnx_files import QUANT_DOMAIN, drawn, model, node
from tests.helpers.onnx_runs import run_qonnx

BREVITAS = Path(__file__).parent / "files" / "digits-brevitas.onnx"
"""Made by Brevitas 0.13.4's `export_qonnx` of a network that was trained on digits, normalized with
0.3 and 0.4: 3- and 4-bit weights by channel and by tensor, batch norm, 4- and 5-bit activations of
both signs, a sum, groups, a quantized bias; the file is as it came, without the places in code."""

I64, F32 = np.int64, np.float32
QONNX = {QUANT_DOMAIN: 1}


def number(value: float) -> np.ndarray:
    return np.array(value, dtype=F32)


def quant(name: str, made: str, scale: str, bits: str, **how: Any) -> onnx.NodeProto:
    how = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"} | how
    inputs = f"{name} {scale} zero {bits}"
    return node("Quant", inputs, made, domain=QUANT_DOMAIN, **how)


BASE = {
    "zero": number(0),
    "b3": number(3),
    "b4": number(4),
    "b8": number(8),
    "sx": number(0.03),
    "sr": number(0.2),
    "sw": drawn(3, 1, 1, 1, low=0.1, high=0.3, seed=1),
    "w": drawn(3, 2, 3, 3, seed=2),
    "c": drawn(3, seed=3),
    "k": drawn(4, 3, seed=4),
    "sk": number(0.1),
    "target": np.array([0, -1], I64),
}
HEAD = [
    quant("x", "xq", "sx", "b8"),
    quant("w", "wq", "sw", "b4", narrow=1),
    node("Conv", "xq wq c", "a", pads=[1, 1, 1, 1]),
]
TAIL = [
    node("GlobalAveragePool", "r", "g"),
    quant("g", "gq", "sr", "b8"),
    node("Flatten", "gq", "f"),
    quant("k", "kq", "sk", "b3"),
    node("Gemm", "f kq", "y", transB=1),
]
MIDDLES: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "relu": ([node("Relu", "a", "r")], {}),
    "batch_norm": (
        [node("BatchNormalization", "a s1 s2 s3 s4", "n"), node("Relu", "n", "r")],
        {"s1": drawn(3), "s2": drawn(3, seed=5), "s3": drawn(3, seed=6),
         "s4": drawn(3, low=1, high=2)},
    ),
    "scaled": (
        [node("Mul", "a two", "m"), node("Sub", "d m", "n"), node("Div", "n e", "r")],
        {"two": number(2), "d": drawn(3, 1, 1), "e": drawn(3, 1, 1, low=-2, high=-1)},
    ),
    "relu6": ([node("Clip", "a zero six", "r")], {"six": number(1.5)}),
    "residual": (
        [node("Relu", "a", "n"), quant("n", "q", "sr", "b4", signed=0),
         quant("v", "vq", "sv", "b1"), node("Conv", "q vq", "m", group=3),
         quant("m", "mq", "sv", "b8"), node("Add", "q mq", "t"), node("Relu", "t", "r")],
        {"v": drawn(3, 1, 1, 1), "sv": number(0.125), "b1": number(1)},
    ),
    "pool": (
        [quant("a", "q", "sr", "b4"), node("MaxPool", "q", "p", kernel_shape=[2, 2]),
         node("Pad", "p sides", "o"), node("Relu", "o", "r")],
        {"sides": np.array([0, 0, 1, 0, 0, 0, 0, 2], I64)},
    ),
    "concat": (
        [quant("a", "q", "sr", "b4"), node("Relu", "a", "n"), quant("n", "p", "sr", "b4"),
         node("Concat", "q p", "j", axis=1), quant("v", "vq", "sv", "b8"),
         node("Conv", "j vq", "r", pads=[2, 0, 0, 1])],
        {"v": drawn(3, 6, 2, 2), "sv": number(0.01)},
    ),
    "slice": (
        [quant("a", "q", "sr", "b4"), node("Slice", "q from to axes steps", "p"),
         quant("v", "vq", "sv", "b8"), node("Conv", "p vq", "r", dilations=[1, 2])],
        {"from": np.array([1, 0, -4], I64), "to": np.array([3, 2**62, -1], I64),
         "axes": np.array([1, 2, 3], I64), "steps": np.array([1, 2, 2], I64),
         "v": drawn(3, 2, 2, 1), "sv": number(0.01)},
    ),
    "average": (
        [quant("a", "q", "sr", "b4"),
         node("AveragePool", "q", "r", kernel_shape=[3, 2], strides=[2, 1])],
        {},
    ),
}  # fmt: skip


def build(middle: str) -> onnx.ModelProto:
    nodes, constants = MIDDLES[middle]
    made = model([*HEAD, *nodes, *TAIL], BASE | constants, shape=(1, 2, 6, 5), domains=QONNX)
    return described(made)


def described(made: onnx.ModelProto) -> onnx.ModelProto:
    """With the shapes that qonnx needs."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes

    with_shapes: onnx.ModelProto = ModelWrapper(made).transform(InferShapes()).model
    return with_shapes


def saved(made: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def images_of(network: IntegerNetwork, count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, *network.image_shape), dtype=np.uint8)


def scores_of(made: onnx.ModelProto, images: np.ndarray, mean: float, std: float) -> np.ndarray:
    """What qonnx computes, image by image."""
    real = ((images / 255 - mean) / std).astype(F32)
    output = made.graph.output[0].name
    return np.concatenate(
        [run_qonnx(made, {"x": real[i : i + 1]})[output] for i in range(len(real))]
    )


def real_scores(network: IntegerNetwork, images: np.ndarray) -> np.ndarray:
    fraction = network.feature_maps()[network.outputs[0].layer].format.fraction_bits
    found = oracle.run(network, images)[network.outputs[0].layer].reshape(len(images), -1)
    scores: np.ndarray = found * 2.0**-fraction
    return scores


@pytest.mark.parametrize("middle", MIDDLES)
def test_scores_are_those_of_qonnx(middle: str, tmp_path: Path) -> None:
    made = build(middle)
    network = load_qonnx(saved(made, tmp_path), mean=0.4, std=0.5)
    images = images_of(network, 4)
    wanted = scores_of(made, images, 0.4, 0.5)
    found = real_scores(network, images)
    # One step of the last codes is all that a rounding can change.
    last = next(x for x in network.layers if isinstance(x, Linear))
    assert last.quantizer.grid.bits == 8
    assert np.abs(found - wanted).max() <= 0.1 * 0.2 * 4 + 1e-3
    assert np.median(np.abs(found - wanted)) < 1e-3
    assert found.argmax(1).tolist() == wanted.argmax(1).tolist()


def test_maps_and_several_outputs_are_those_of_qonnx(tmp_path: Path) -> None:
    made = described(
        model(
            [*HEAD, *MIDDLES["relu"][0], *TAIL],
            BASE | MIDDLES["relu"][1],
            shape=(1, 2, 6, 5),
            domains=QONNX,
            output=["y", "a"],
        )
    )
    network = load_qonnx(saved(made, tmp_path), mean=0.4, std=0.5)
    assert [(one.name, one.is_scores) for one in network.outputs] == [("y", False), ("a", False)]
    images = images_of(network, 3)
    real = ((images / 255 - 0.4) / 0.5).astype(F32)
    maps = oracle.run(network, images)
    for place in range(3):
        wanted = run_qonnx(made, {"x": real[place : place + 1]})
        for output in network.outputs:
            unit = 2.0 ** -network.feature_maps()[output.layer].format.fraction_bits
            found = maps[output.layer][place : place + 1] * unit
            off = np.abs(found.reshape(wanted[output.name].shape) - wanted[output.name])
            assert off.max() <= 0.1 * 0.2 * 4 + 1e-3 and np.median(off) < 1e-3


def behind_softmax(axis: int, *others: str) -> onnx.ModelProto:
    last = node("Gemm", "f kq", "s", transB=1)
    nodes = [*HEAD, *RELU, *TAIL[:-1], last, node("Softmax", "s", "y", axis=axis)]
    return model(nodes, BASE, shape=(1, 2, 6, 5), domains=QONNX, output=["y", *others])


@pytest.mark.parametrize("axis", [1, -1])
def test_softmax_is_left_out_behind_the_only_output(axis: int, tmp_path: Path) -> None:
    network = load_qonnx(saved(behind_softmax(axis), tmp_path))
    plain = load_qonnx(saved(changed([*HEAD, *RELU, *TAIL], {}), tmp_path))
    images = images_of(network, 2)
    assert oracle.predict(network, images).tolist() == oracle.predict(plain, images).tolist()
    np.testing.assert_array_equal(real_scores(network, images), real_scores(plain, images))


@pytest.mark.parametrize(("axis", "others"), [(0, ""), (1, "a"), (-1, "s")])
def test_softmax_is_refused_elsewhere(axis: int, others: str, tmp_path: Path) -> None:
    path = saved(behind_softmax(axis, *others.split()), tmp_path)
    with pytest.raises(InputError, match="the_y: Softmax is left out behind scores that are the"):
        load_qonnx(path)


def test_normalization_inside_is_of_pixels_alone(tmp_path: Path) -> None:
    """Real values that a network of integers is given become the integers of its own input."""
    inside = [node("Sub", "x half", "d"), quant("d", "xq", "sx", "b8")]
    path = saved(changed([*inside, *HEAD[1:], *RELU, *TAIL], {"half": number(0.5)}), tmp_path)
    pixels = load_qonnx(path, mean=0.25, std=0.5)
    assert pixels.images is not None and pixels.images.mean == (0.5, 0.5)
    with pytest.raises(InputError, match="the_d: Sub of an input that is no pixels .* its mean"):
        load_qonnx(path, input=InputFormat(bits=8, step=0.25))


def one_convolution() -> onnx.ModelProto:
    return described(
        model(
            [quant("w", "wq", "sw", "b4"), node("Conv", "x wq", "y")],
            {"w": drawn(3, 2, 3, 3), "sw": number(0.125), "b4": number(4), "zero": number(0)},
            shape=(1, 2, 6, 5),
            domains=QONNX,
        )
    )


def test_integers_that_are_no_pixels(tmp_path: Path) -> None:
    """Signed 5-bit integers in steps of 1/4 are codes already, whose products are exact."""
    made = one_convolution()
    form = InputFormat(bits=5, signed=True, step=0.25)
    network = load_qonnx(saved(made, tmp_path), input=form)
    values = np.random.default_rng(0).integers(-16, 16, (1, 2, 6, 5))
    wanted = run_qonnx(made, {"x": (values / 4).astype(F32)})["y"]
    (output,) = network.outputs
    assert (output.name, output.is_scores, network.input.bits) == ("y", False, 5)
    unit = 2.0 ** -network.feature_maps()[output.layer].format.fraction_bits
    found = oracle.run(network, values)[output.layer] * unit
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_command_takes_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, target = saved(one_convolution(), tmp_path), tmp_path / "made.asq"
    command = f"import {path} -o {target} --input-bits 5"
    for wrong, said in (
        ("", "--input-bits goes with --step"),
        ("--step 1/4 --data digits", "--data names images"),
        ("--step 1/0", "'1/0'"),
    ):
        assert main([*command.split(), *wrong.split()]) == 2
        captured = capsys.readouterr()
        assert said in captured.err and captured.err.count("\n") == 1 and not target.exists()
    for more, form in (
        ("--step 1/4", InputFormat(bits=5, signed=True, step="1/4")),
        ("--step 0.5 --unsigned", InputFormat(bits=5, step=0.5)),
    ):
        assert main([*command.split(), *more.split()]) == 0
        found, wanted = asq_hw.load(target), load_qonnx(path, input=form)
        assert found.images == wanted.images and found.images is not None
        assert found.images.format == form
        values = np.arange(60).reshape(1, 2, 6, 5) % 16
        for one, other in zip(
            *(oracle.run(n, values).values() for n in (found, wanted)), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_a_network_of_brevitas_gives_the_classes_that_qonnx_gives() -> None:
    network = load_qonnx(BREVITAS, mean=0.3, std=0.4)
    data = load("digits")
    found = sim.simulate(network, data.images)
    assert data.labels is not None
    assert (found.predictions == data.labels).mean() > 0.9
    few = data.images[:24]
    wanted = scores_of(onnx.load(BREVITAS), few, 0.3, 0.4)
    assert found.predictions[:24].tolist() == wanted.argmax(1).tolist()
    np.testing.assert_allclose(real_scores(network, few[:4]), wanted[:4], atol=0.01)


def test_weights_are_the_codes_of_their_quant_nodes(tmp_path: Path) -> None:
    network = load_qonnx(saved(build("relu"), tmp_path))
    conv = next(layer for layer in network.layers if isinstance(layer, Conv))
    even, odd = conv.decoded_weights()
    expected = np.clip(np.round(BASE["w"] / BASE["sw"]), -7, 7)
    assert even.tolist() == expected.tolist() and not odd.any()
    assert conv.weight_grid == Grid(scheme=SYMMETRIC, bits=4)  # its range is narrow
    head = next(layer for layer in network.layers if isinstance(layer, Linear))
    assert head.weight_grid == Grid(scheme=UNIFORM, bits=3)


def test_pixels_alone_are_codes_where_they_have_one_scale(tmp_path: Path) -> None:
    nodes = [*HEAD[1:2], node("Conv", "x wq", "a"), node("Relu", "a", "r"), *TAIL]
    made = described(model(nodes, BASE, shape=(1, 2, 6, 5), domains=QONNX))
    path = saved(made, tmp_path)
    network = load_qonnx(path, std=0.5)
    images = images_of(network, 3)
    codes = oracle.trace(network, images).codes["the_a"]
    assert np.array_equal(codes, images)
    wanted = scores_of(made, images, 0, 0.5)
    assert real_scores(network, images).argmax(1).tolist() == wanted.argmax(1).tolist()
    with pytest.raises(InputError, match="the_a: Conv reads a map that went through no Quant node"):
        load_qonnx(path, mean=0.5)


def test_nothing_saturates_whatever_the_pixels(tmp_path: Path) -> None:
    network = load_qonnx(saved(build("residual"), tmp_path), mean=0.4, std=0.5)
    images = images_of(network, 2)
    images[0], images[1] = 0, 255
    for name, made in network.feature_maps().items():
        largest = (1 << (made.format.bits - 1)) - 1
        assert np.abs(oracle.run(network, images)[name]).max() < largest, name


def test_scales_are_as_near_as_their_bits_allow(tmp_path: Path) -> None:
    network = load_qonnx(saved(build("relu"), tmp_path))
    conv = next(layer for layer in network.layers if isinstance(layer, Conv))
    source = network.feature_maps()["x"].format
    step = conv.quantizer.step.maximum
    real = step * 2.0 ** -(conv.quantizer.step_fraction_bits + source.fraction_bits)
    assert step >= 1 << 14 and real == pytest.approx(float(BASE["sx"]), rel=2**-15)
    narrowed = [divide_half_up(step * m, 1 << conv.narrow_shift) for m in conv.multiplier.tolist()]
    factors = np.array(narrowed) * 2.0 ** -(conv.shift + conv.output.fraction_bits)
    expected = BASE["sw"].reshape(-1).astype(np.float64) * float(BASE["sx"])
    np.testing.assert_allclose(factors, expected, rtol=2**-13)


def changed(nodes: list[onnx.NodeProto], constants: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    return model(nodes, BASE | dict(constants), shape=(1, 2, 6, 5), domains=QONNX)


RELU = [node("Relu", "a", "r")]
REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray], str]] = {
    "float weights": (
        [HEAD[0], node("Conv", "xq w", "a"), *RELU, *TAIL], {},
        "the_a: weights must go through a Quant node"),
    "moving scale": (
        [quant("x", "xq", "x", "b8"), *HEAD[1:], *RELU, *TAIL], {},
        "the_xq: the scale of a Quant node must be a constant"),
    "zero point": (
        [*HEAD, node("Quant", "a sr sr b8", "r", domain=QUANT_DOMAIN), *TAIL], {},
        "the_r: the zero point of a Quant node must be 0"),
    "narrow": ([*HEAD, quant("a", "r", "sr", "b8", narrow=1), *TAIL], {},
               "the_r: codes of maps must not be narrow"),
    "wide": ([*HEAD, quant("a", "r", "sr", "b9"), *TAIL], {"b9": number(9)},
             r"the_r: codes of maps must have 2\.\.8 bits, not 9"),
    "half": ([*HEAD, quant("a", "r", "sr", "b9"), *TAIL], {"b9": number(3.5)},
             r"the_r: the bit width of a Quant node must be 1\.\.32"),
    "floor": ([*HEAD, quant("a", "r", "sr", "b8", rounding_mode="FLOOR"), *TAIL], {},
              "the_r: codes of maps must be rounded to the nearest, not FLOOR"),
    "mode": ([*HEAD, quant("a", "r", "sr", "b8", rounding_mode="ODD"), *TAIL], {},
             "the_r: the rounding mode 'ODD' is not known"),
    "by channel": ([*HEAD, quant("a", "r", "sc", "b8"), *TAIL], {"sc": drawn(3, 1, 1, low=1)},
                   "the_r: codes of maps must have one scale, not 3"),
    "negative scale": ([*HEAD, quant("a", "r", "sc", "b8"), *TAIL], {"sc": number(-1)},
                       "the_r: the scale of a Quant node must be positive"),
    "nan scale": ([*HEAD, quant("a", "r", "sc", "b8"), *TAIL], {"sc": number(np.nan)},
                  "the_r: the scale of a Quant node must be positive"),
    "weights by input": (
        [HEAD[0], quant("w", "wq", "si", "b4"), HEAD[2], *RELU, *TAIL],
        {"si": drawn(1, 2, 1, 1, low=0.5)},
        "the_a: weights must have one scale, or one for each output channel"),
    "wide weights": (
        [HEAD[0], quant("w", "wq", "tiny", "b9"), HEAD[2], *RELU, *TAIL],
        {"tiny": number(1e-4), "b9": number(9)}, "weights must be signed codes of 8 bits"),
    "nan weights": ([*HEAD, *RELU, *TAIL], {"w": np.full((3, 2, 3, 3), np.nan, F32)},
                    "the_wq: weights must be finite"),
    "bias of samples": (
        [*HEAD, *RELU, *TAIL[:-1], node("Gemm", "f kq e", "y", transB=1)],
        {"e": drawn(*BASE["k"].shape[:1], 1)}, "the_y: bias must be . numbers, not an array of"),
    "slice twice": (
        [*HEAD, node("Slice", "a from to axes", "r"), *TAIL],
        dict(zip(("from", "to", "axes"), np.array([[0, 1], [2, 2], [2, -2]], I64), strict=True)),
        r"the_r: the axes \[2, -2\] must be named once each"),
    "trunc": (
        [*HEAD, node("Trunc", "a sr zero b8 b4", "r", domain=QUANT_DOMAIN), *TAIL], {},
        r"operators without an integer form: qonnx\.custom_op\.general\.Trunc \(the_r\)"),
    "product": ([*HEAD, node("Mul", "a a", "r"), *TAIL], {},
                "the_r: Mul of two maps has no integer form"),
    "read twice": (
        [*HEAD, node("Mul", "a two", "m"), node("Add", "a m", "r"), *TAIL], {"two": number(2)},
        "the_m: Mul must follow a convolution or linear layer, and be alone in that"),
    "read under another name": (
        [*HEAD, node("Identity", "a", "b"), node("Mul", "b two", "m"), node("Add", "a m", "r"),
         *TAIL], {"two": number(2)},
        "the_m: Mul must follow a convolution or linear layer, and be alone in that"),
    "behind relu": ([*HEAD, *RELU[:0], node("Relu", "a", "b"), node("Mul", "b two", "r"), *TAIL],
                    {"two": number(2)}, "the_r: Mul must follow a convolution or linear layer"),
    "not quantized": ([*HEAD, *RELU, TAIL[0], node("Flatten", "g", "f"), *TAIL[3:]], {},
                      "the_y: Gemm reads a map that went through no Quant node"),
    "no weights": ([quant("x", "r", "sx", "b8"), *TAIL[:2], node("Flatten", "gq", "y")], {},
                   "a network must have weights, and this one has none"),
    "trained batch norm": (
        [*HEAD, node("BatchNormalization", "a n n n n", "r", training_mode=1), *TAIL],
        {"n": drawn(3, low=1, high=2)},
        "the_r: BatchNormalization with training_mode = 1 has no integer form"),
    "dilated average": (
        [*HEAD, node("AveragePool", "a", "r", kernel_shape=[2, 2], dilations=[2, 2]), *TAIL], {},
        "the_r: a dilated pool has no integer form"),
    "trained dropout": (
        [*HEAD, node("Dropout", "a half yes", "r"), *TAIL],
        {"half": number(0.5), "yes": np.array(True)},
        "the_r: dropout must be exported in evaluation mode"),
    "attribute of a quantizer": (
        [*HEAD, quant("a", "r", "sr", "b8", saturating=0), *TAIL], {},
        r"the_r: qonnx\.custom_op\.general\.Quant with saturating = 0 has no integer form"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_integers_cannot_say_is_refused_by_name(case: str, tmp_path: Path) -> None:
    nodes, constants, message = REFUSED[case]
    path = saved(changed(nodes, constants), tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_qonnx(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_network_in_floating_point_is_sent_to_quantize(tmp_path: Path) -> None:
    path = saved(model([node("Relu", "x", "y")]), tmp_path)
    with pytest.raises(InputError, match="it has no Quant nodes: .* asq-hw quantize"):
        load_qonnx(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": [0.1, 0.2, 0.3]}, "mean must hold one number for each of 1 channels, not 3"),
        ({"std": 0.0}, r"std must be at least 1e-06, not 0\.0"),
        ({"std": np.ones((1, 1))}, r"std must be one row of numbers, not an array of \(1, 1\)"),
        ({"mean": "half"}, "mean must be numbers, not 'half'"),
        ({"mean": np.nan}, "mean must be finite"),
        ({"classes": ["one", "two"]}, "a network of 10 scores must have as many classes"),
    ],
)
def test_wrong_images_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_qonnx(BREVITAS, **values)
