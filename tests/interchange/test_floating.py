"""ONNX in floating point: every operator means what ONNX says, and what is not known is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

import asq_hw
from asq_hw.errors import InputError
from asq_hw.interchange.floating import IMAGE_SHAPE, load_onnx
from asq_hw.interchange.reading.floating.operators import OPERATORS
from tests.helpers.onnx_files import drawn, model, node

I64 = np.int64
F32 = np.float32


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=I64)


def norm(channels: int) -> dict[str, np.ndarray]:
    return {
        "s": drawn(channels, seed=1),
        "b": drawn(channels, seed=2),
        "m": drawn(channels, seed=3),
        "v": drawn(channels, seed=4, low=0.5, high=2),
    }


def one(kind: str, inputs: str = "x", **how: Any) -> list[onnx.NodeProto]:
    return [node(kind, inputs, "y", **how)]


W = {"w": drawn(4, 2, 3, 2)}
FLAT = node("Flatten", "x", "f")
RESHAPED = [
    node("Shape", "x", "sizes"),
    node("Gather", "sizes zero", "images", axis=0),
    node("Unsqueeze", "images first", "images1"),
    node("Concat", "images1 minus", "target", axis=0),
    node("Reshape", "x target", "y"),
]
NAMED = {"zero": np.array(0, I64), "first": ints(0), "minus": ints(-1)}

CASES: list[tuple[str, list[onnx.NodeProto], dict[str, np.ndarray], int]] = [
    ("conv", one("Conv", "x w"), W, 18),
    ("conv_bias", one("Conv", "x w b", strides=[2, 1]), W | {"b": drawn(4)}, 18),
    ("conv_pads", one("Conv", "x w", pads=[1, 0, 2, 1], dilations=[1, 2]), W, 18),
    ("conv_even", one("Conv", "x w", pads=[1, 1, 1, 1], kernel_shape=[3, 2]), W, 18),
    ("conv_upper", one("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2]), W, 18),
    ("conv_lower", one("Conv", "x w", auto_pad="SAME_LOWER"), W, 18),
    ("conv_valid", one("Conv", "x w", auto_pad="VALID"), W, 18),
    ("conv_groups", one("Conv", "x w", group=2), {"w": drawn(4, 1, 3, 3)}, 18),
    ("gemm", [FLAT, *one("Gemm", "f w b", transB=1, alpha=0.5, beta=2.0)],
     {"w": drawn(3, 60), "b": drawn(3)}, 18),
    ("gemm_plain", [FLAT, *one("Gemm", "f w")], {"w": drawn(60, 3)}, 18),
    ("gemm_scalar", [FLAT, *one("Gemm", "f w b")], {"w": drawn(60, 3), "b": drawn(1)}, 18),
    ("matmul", [FLAT, node("MatMul", "f w", "p"), *one("Add", "p b")],
     {"w": drawn(60, 3), "b": drawn(3)}, 18),
    ("matmul_add_first", [FLAT, node("MatMul", "f w", "p"), *one("Add", "b p")],
     {"w": drawn(60, 3), "b": drawn(3)}, 18),
    ("batch_norm", one("BatchNormalization", "x s b m v", epsilon=0.1), norm(2), 18),
    ("batch_norm_flat", [FLAT, *one("BatchNormalization", "f s b m v")], norm(60), 18),
    ("relu", one("Relu"), {}, 18),
    ("leaky", one("LeakyRelu", alpha=0.25), {}, 18),
    ("leaky_default", one("LeakyRelu"), {}, 18),
    ("hard_swish", one("HardSwish"), {}, 18),
    ("hard_sigmoid", one("HardSigmoid"), {}, 18),
    ("hard_sigmoid_torch", one("HardSigmoid", alpha=1 / 6), {}, 18),
    ("sigmoid", one("Sigmoid"), {}, 18),
    ("softmax", [FLAT, *one("Softmax", "f")], {}, 18),
    ("softmax_old", [FLAT, *one("Softmax", "f")], {}, 11),
    ("log_softmax", [FLAT, *one("LogSoftmax", "f", axis=1)], {}, 18),
    ("clip", one("Clip", "x l h"), {"l": np.array(-0.5, F32), "h": np.array(0.25, F32)}, 18),
    ("clip_high", one("Clip", "x - h"), {"h": np.array(0.25, F32)}, 18),
    ("clip_none", one("Clip"), {}, 18),
    ("clip_old", one("Clip", min=0.0, max=0.5), {}, 9),
    ("max_pool", one("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0]), {}, 18),
    ("max_pool_side", one("MaxPool", kernel_shape=[2, 2], pads=[1, 0, 0, 1]), {}, 18),
    ("max_pool_dilated", one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), {}, 18),
    ("max_pool_ceil", one("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), {}, 18),
    ("average_pool", one("AveragePool", kernel_shape=[3, 2], pads=[1, 1, 1, 1]), {}, 18),
    ("average_pool_counted", one("AveragePool", kernel_shape=[3, 2], pads=[1, 0, 1, 1],
                                 count_include_pad=1), {}, 18),
    ("average_pool_ceil", one("AveragePool", kernel_shape=[2, 1], strides=[2, 1], ceil_mode=1),
     {}, 18),
    ("global_average", one("GlobalAveragePool"), {}, 18),
    ("global_max", one("GlobalMaxPool"), {}, 18),
    ("mean", one("ReduceMean", "x a", keepdims=0), {"a": ints(-1, 2)}, 18),
    ("mean_old", one("ReduceMean", axes=[2, 3], keepdims=1), {}, 13),
    ("add", [node("Relu", "x", "r"), *one("Add", "x r")], {}, 18),
    ("sum", [node("Relu", "x", "r"), *one("Sum", "x r x")], {}, 18),
    ("sub_first", one("Sub", "c x"), {"c": drawn(2, 1, 1)}, 18),
    ("sub", one("Sub", "x c"), {"c": drawn(2, 1, 1)}, 18),
    ("mul", [node("Sigmoid", "x", "r"), *one("Mul", "x r")], {}, 18),
    ("div", one("Div", "x c"), {"c": drawn(1, low=1, high=2)}, 18),
    ("max", one("Max", "x c"), {"c": np.array(0, F32)}, 18),
    ("min", one("Min", "x c"), {"c": np.array(0.5, F32)}, 18),
    ("concat", [node("Relu", "x", "r"), *one("Concat", "x r x", axis=1)], {}, 18),
    ("pad", one("Pad", "x p"), {"p": ints(0, 1, 0, 2, 0, 0, 1, 0)}, 18),
    ("pad_axes", one("Pad", "x p c a"),
     {"p": ints(1, 2), "c": np.array(0.5, F32), "a": ints(-1)}, 18),
    ("pad_old", one("Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1]), {}, 9),
    ("flatten", one("Flatten"), {}, 18),
    ("reshape", one("Reshape", "x s"), {"s": ints(0, -1)}, 18),
    ("reshape_minus", one("Reshape", "x s"), {"s": ints(-1, 60)}, 18),
    ("reshape_kept", one("Reshape", "x s"), {"s": ints(0, 0, 5, 6)}, 18),
    ("reshape_by_shape", RESHAPED, NAMED, 18),
    ("squeeze", [node("GlobalAveragePool", "x", "g"), *one("Squeeze", "g a")],
     {"a": ints(2, -1)}, 18),
    ("squeeze_old", [node("GlobalAveragePool", "x", "g"), *one("Squeeze", "g", axes=[2, 3])],
     {}, 11),
    ("unsqueeze", [FLAT, *one("Unsqueeze", "f a")], {"a": ints(2, 3)}, 18),
    ("transpose", one("Transpose", perm=[0, 2, 3, 1]), {}, 18),
    ("slice", one("Slice", "x s e a t"),
     {"s": ints(0, -4), "e": ints(2**62, -1), "a": ints(2, 3), "t": ints(2, 2)}, 18),
    ("slice_plain", one("Slice", "x s e"), {"s": ints(0, 1), "e": ints(2**62, 2)}, 18),
    ("identity", one("Identity"), {}, 18),
    ("dropout", one("Dropout"), {}, 18),
    ("cast", one("Cast", to=1), {}, 18),
    ("folded", [node("Constant", "", "c", value_floats=[2.0, 3.0]),
                node("Reshape", "c s", "d"), node("Sqrt", "d", "e"), *one("Mul", "x e")],
     {"s": ints(2, 1, 1)}, 18),
]  # fmt: skip


def load(made: onnx.ModelProto, folder: Path) -> torch.fx.GraphModule:
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return load_onnx(path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_an_operator_means_what_onnx_says(
    case: tuple[str, list[onnx.NodeProto], dict[str, np.ndarray], int], tmp_path: Path
) -> None:
    _, nodes, constants, opset = case
    made = model(nodes, constants, opset=opset)
    images = drawn(3, 2, 6, 5, seed=9, low=-4, high=4)
    (expected,) = ReferenceEvaluator(made).run(None, {"x": images})
    found = load(made, tmp_path)(torch.from_numpy(images)).detach().numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_every_operator_has_a_case() -> None:
    shown = {one.op_type for _, nodes, _, _ in CASES for one in nodes}
    assert set(OPERATORS) <= shown


def test_a_file_for_one_image_takes_many(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x s", "f"), *one("Gemm", "f w")]
    made = model(nodes, {"s": ints(1, 60), "w": drawn(60, 3)}, shape=(1, 2, 6, 5))
    images = drawn(4, 2, 6, 5)
    network = load(made, tmp_path)
    expected = [ReferenceEvaluator(made).run(None, {"x": images[i : i + 1]})[0] for i in range(4)]
    found = network(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-5)
    assert network.meta[IMAGE_SHAPE] == (2, 6, 5)


def small() -> onnx.ModelProto:
    """A network as exporters write them, with names that are paths."""
    return model(
        [
            node("Conv", "x w", "a", name="/features/0/Conv", pads=[1, 1, 1, 1]),
            node("BatchNormalization", "a s b m v", "n", name="/features/1/BN"),
            node("Clip", "n zero six", "r", name="/features/2/Clip"),
            node("GlobalAveragePool", "r", "g", name="/pool/GlobalAveragePool"),
            node("Flatten", "g", "f", name="/Flatten"),
            node("Gemm", "f k c", "y", name="/classifier/Gemm", transB=1),
        ],
        {
            "w": drawn(6, 1, 3, 3),
            **norm(6),
            "zero": np.array(0, F32),
            "six": np.array(6, F32),
            "k": drawn(10, 6),
            "c": drawn(10),
        },
        shape=("N", 1, 8, 8),
    )


def test_it_goes_the_way_of_every_own_network(tmp_path: Path) -> None:
    network = load(small(), tmp_path)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 1, 8, 8))).float()
    images = (images / 255 - 0.5) / 0.25
    report = asq_hw.check(network, images)
    assert [layer.name for layer in report.layers] == ["features_0_Conv", "classifier_Gemm"]
    quantized = asq_hw.prepare(network, images)
    asq_hw.calibrate(quantized, [images])
    made = asq_hw.export(quantized, mean=0.5, std=0.25, reference=[images])
    assert asq_hw.simulate(made, [images]).agreement == 1
    wanted = network(images).argmax(1)
    predicted = asq_hw.simulate(made, [images]).predictions
    assert (predicted == wanted.numpy()).mean() >= 0.9


def test_several_outputs_are_a_dict_and_go_the_same_way(tmp_path: Path) -> None:
    made = model(
        [
            node("Conv", "x w", "map"),
            node("Relu", "map", "r"),
            node("GlobalAveragePool", "r", "g"),
            node("Flatten", "g", "0.scores"),
        ],
        {"w": drawn(3, 1, 3, 3)},
        shape=("N", 1, 8, 8),
        output=["0.scores", "map"],
    )
    network = load(made, tmp_path)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8))) / 255
    images = images.float()
    wanted = ReferenceEvaluator(made).run(None, {"x": images.numpy()})
    found = network(images)
    assert [*found] == ["0.scores", "map"]
    for one, other in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other, atol=1e-5)
    quantized = asq_hw.prepare(network, images)
    asq_hw.calibrate(quantized, [images])
    integers = asq_hw.export(quantized, mean=0.0, std=1.0)
    assert [output.name for output in integers.outputs] == ["output.0_scores", "map"]
    result = asq_hw.simulate(integers, [images])
    for output, other in zip(result.outputs.values(), wanted, strict=True):
        real = output.real.reshape(other.shape)
        assert np.abs(real - other).max() < 0.03 * np.abs(other).max()


def test_vectors_are_taken(tmp_path: Path) -> None:
    made = model(
        [node("Gemm", "x w", "h"), node("Relu", "h", "r"), *one("Gemm", "r k")],
        {"w": drawn(5, 4), "k": drawn(4, 2)},
        shape=("N", 5),
    )
    network = load(made, tmp_path)
    assert network.meta[IMAGE_SHAPE] == (5,)
    values = drawn(12, 5)
    (wanted,) = ReferenceEvaluator(made).run(None, {"x": values})
    found = network(torch.from_numpy(values)).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert asq_hw.check(network, torch.from_numpy(values[:2])).ok


def test_nothing_of_the_random_state_is_used(tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load(small(), tmp_path)
    assert torch.equal(torch.rand(1), expected)


REFUSED: list[tuple[str, list[onnx.NodeProto], dict[str, np.ndarray], str]] = [
    ("unknown", [node("Gelu", "x", "g"), node("Erf", "g", "e"), *one("Gelu", "e")], {},
     r"operators without an integer form: Erf \(the_e\), Gelu \(the_g\)"),
    ("strange", one("Mystery", domain="my.own"), {}, r"my\.own\.Mystery \(the_y\)"),
    ("if", [node("If", "x", "y", then_branch=onnx.GraphProto(), else_branch=onnx.GraphProto())],
     {}, "the_y: If decides what is computed"),
    ("missing", one("Conv", "x w"), {}, "the_y: reads 'w', which is missing"),
    ("circle", [node("Add", "x b", "a"), node("Relu", "a", "b"), *one("Relu", "b")], {},
     "the_a: reads 'b', which is made behind it"),
    ("twice", [node("Relu", "x", "a"), node("Relu", "x", "a"), *one("Relu", "a")], {},
     "the_a: makes 'a', which is there already"),
    ("no_output", [node("Relu", "x", "a")], {}, "no node makes the output 'y'"),
    ("constant", [node("Relu", "x", "a"), *one("Identity", "w")], {"w": drawn(1, 2)},
     "the output 'y' must not be a constant"),
    ("weights", one("Conv", "x x"), {}, "the_y: weights must be a constant"),
    ("channels", one("Conv", "x w"), {"w": drawn(4, 3, 3, 3)}, "do not fit 2 channels"),
    ("volume", one("Conv", "x w"), {"w": drawn(4, 2, 3, 3, 3)}, "must be of two dimensions"),
    ("large", one("Conv", "x w"), {"w": drawn(4, 2, 9, 9)}, "the_y: Conv fails"),
    ("integers", one("Conv", "x w"), {"w": np.ones((4, 2, 3, 3), I64)},
     "weights must be floating point, not int64"),
    ("batch", one("ReduceMean", "x a"), {"a": ints(0)}, "computed over several images"),
    ("everything", one("ReduceMean"), {}, "computed over several images"),
    ("across", one("Reshape", "x s"), {"s": ints(-1, 30)}, "must keep the images of a batch apart"),
    ("first", one("Transpose", perm=[1, 0, 2, 3]), {}, "must keep the images of a batch first"),
    ("negative", one("Slice", "x s e a t"),
     {"s": ints(-1), "e": ints(-7), "a": ints(2), "t": ints(-1)}, "steps from 1 on"),
    ("huge_pad", one("Pad", "x p"), {"p": ints(0, 0, 0, 0, 0, 0, 2**31, 2**31)},
     "the_y: Pad fails: Storage size"),
    ("large_pad", one("Pad", "x p"), {"p": ints(0, 0, 0, 0, 0, 0, 2**16, 2**16)}, "is too large"),
    ("huge_constant", [node("ConstantOfShape", "s", "c"), *one("Add", "x c")],
     {"s": ints(2**20, 2**20)}, r"the_c: it makes \d+ numbers; at most"),
    ("huge_sum", [node("Add", "a b", "c"), *one("Add", "x c")],
     {"a": drawn(1 << 15, 1), "b": drawn(1, 1 << 15)}, r"the_c: it makes \d+ numbers"),
    ("counted", [node("Shape", "x", "s"), node("Mul", "s s", "t"), *one("Reshape", "x t")], {},
     "the size of a batch must not be computed with"),
    ("batch_behind", [node("Flatten", "x", "f"), node("Slice", "f a e a", "p"),
     node("Shape", "p", "s", end=1), node("Concat", "t s", "r", axis=0), *one("Reshape", "p r")],
     {"a": ints(1), "e": ints(3), "t": ints(-1)}, "'r' must keep the images of a batch first"),
    ("sample_bias", [node("Flatten", "x", "f"), *one("Gemm", "f w c")],
     {"w": drawn(60, 2), "c": drawn(2, 1)}, r"the_y: bias must be 2 numbers, not .* \(2, 1\)"),
    ("map_bias", one("Conv", "x w c"), {"w": drawn(4, 2, 3, 3), "c": drawn(1, 4)},
     r"the_y: bias must be 4 numbers, not an array of \(1, 4\)"),
    ("twice", one("Slice", "x s e a"), {"s": ints(0, 1), "e": ints(4, 5), "a": ints(2, -2)},
     r"the_y: the axes \[2, -2\] must be named once each"),
    ("ceil", one("MaxPool", kernel_shape=[2, 2], strides=[3, 3], pads=[0, 0, 1, 1], ceil_mode=1),
     {}, "the_y: ceil mode with padding on one side"),
    ("nothing", one("Slice", "x s e a"), {"s": ints(3), "e": ints(3), "a": ints(2)},
     "a map must not be empty"),
    ("places", [node("MaxPool", "x", "y i", name="pool", kernel_shape=[2, 2])], {},
     "pool: places of the largest values"),
    ("attribute", one("Relu", slope=0.5), {}, "the_y: Relu with slope = 0.5 has no integer form"),
    ("training", one("Dropout", "x r t"), {"r": np.array(0.5, F32), "t": np.array(True)},
     "the_y: dropout must be exported in evaluation mode"),
    ("both_pads", one("MaxPool", kernel_shape=[2, 2], auto_pad="VALID", pads=[1, 0, 0, 0]), {},
     r"the_y: pads must be four integers from 0 on, not \[1, 0, 0, 0\] with VALID"),
    ("of_constants", [node("Sqrt", "c", "d", tables=[1, 2]), *one("Mul", "x d")],
     {"c": np.array(4, F32)}, r"the_d: Sqrt with tables = \[1, 2\] has no integer form"),
]  # fmt: skip


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_what_has_no_counterpart_is_named(
    case: tuple[str, list[onnx.NodeProto], dict[str, np.ndarray], str], tmp_path: Path
) -> None:
    _, nodes, constants, message = case
    with pytest.raises(InputError, match=message) as caught:
        load(model(nodes, constants), tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "net.onnx"))
