"""Integer networks as ONNX and QONNX: other people's programs compute the contract's integers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, get_args

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import numpy_helper

from asq_hw import modelfile, oracle, sim
from asq_hw.cli.options import model_path
from asq_hw.conformance.builders import input_layer as pixels_as_they_are
from asq_hw.conformance.builders import linear as linear_layer
from asq_hw.conformance.builders import network as network_of
from asq_hw.conformance.builders import quantizer as quantizer_of
from asq_hw.conformance.models import EXAMPLES, Example
from asq_hw.datasets import load
from asq_hw.errors import InputError
from asq_hw.interchange.export import DIALECT_NAMES, save_onnx
from asq_hw.interchange.writing.dialects import DIALECTS
from asq_hw.interchange.writing.layers import LAYER_WRITERS, Writing, write_layer
from asq_hw.interchange.writing.network import to_model
from asq_hw.interchange.writing.steps import STEP_WRITERS
from asq_hw.network.activation import FixedStep, Step
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import LAYER_KINDS, Flatten, GlobalAveragePool, MaxPool, Relu
from asq_hw.numbers.products import Product, ProductKind
from tests.helpers.networks import networks, random_images
from tests.helpers.onnx_runs import integers_of, run_onnx, run_qonnx, run_qonnx_nodes, session

SPLIT = [example for example in EXAMPLES if example.product == Product()]
ids = [example.name for example in SPLIT]


def check_onnx(network: IntegerNetwork, images: np.ndarray) -> None:
    model = to_model(network, DIALECTS["onnx"])
    onnx.checker.check_model(model, full_check=True)
    found = run_onnx(model, network, images)
    maps = oracle.run(network, images)
    for name, expected in maps.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)
    check_outputs(model, network, images, maps, found)


def check_outputs(
    model: onnx.ModelProto,
    network: IntegerNetwork,
    images: np.ndarray,
    wanted: dict[str, np.ndarray],
    found: dict[str, np.ndarray],
) -> None:
    """What the graph gives out, in the network's order, and at last classes if there are any."""
    names = [one.name for one in model.graph.output]
    made = names[: len(network.outputs)]
    for name, output in zip(made, network.outputs, strict=True):
        assert name.rstrip("_") == output.name.rstrip("_")
        shape = (len(images), -1) if output.is_scores else wanted[output.layer].shape
        np.testing.assert_array_equal(found[name], wanted[output.layer].reshape(shape))
    if network.scores is None:
        assert names == made
        return
    assert found[names[-1]].tolist() == oracle.predict(network, images).tolist()
    assert len(names) == len(made) + 1


def check_qonnx(network: IntegerNetwork, images: np.ndarray) -> None:
    model = to_model(network, DIALECTS["qonnx"], batch_size=len(images))
    found = run_qonnx(model, {model.graph.input[0].name: images})
    reals = integers_of(network, found)
    maps = oracle.run(network, images)
    for name, expected in maps.items():
        np.testing.assert_array_equal(reals[name], expected, err_msg=name)
    formats = {name: made.format for name, made in network.feature_maps().items()}
    real = {name: x * 2.0 ** -formats[name].fraction_bits for name, x in maps.items()}
    check_outputs(model, network, images, real, found)


@pytest.mark.parametrize("example", SPLIT, ids=ids)
def test_onnx_runtime_computes_the_conformance_networks(example: Example) -> None:
    check_onnx(example.network, example.images)


@pytest.mark.parametrize("example", SPLIT, ids=ids)
def test_qonnx_computes_the_conformance_networks(example: Example) -> None:
    check_qonnx(example.network, example.images)


@settings(max_examples=60)
@given(drawn=networks(max_layers=6))
def test_onnx_runtime_computes_drawn_networks(drawn: IntegerNetwork) -> None:
    check_onnx(drawn, random_images(drawn, 2, seed=1))


@settings(max_examples=12)
@given(drawn=networks(max_layers=4))
def test_qonnx_computes_drawn_networks(drawn: IntegerNetwork) -> None:
    check_qonnx(drawn, random_images(drawn, 2, seed=2))


@pytest.fixture(scope="module")
def bundled() -> IntegerNetwork:
    return modelfile.load(model_path("bundled"))


def test_onnx_runtime_computes_the_bundled_network(bundled: IntegerNetwork) -> None:
    images = load("bundled").images[:40]
    expected = sim.simulate(bundled, images)
    model = session(to_model(bundled, DIALECTS["onnx"]))
    scores, classes = model.run(None, {"pixels": images})
    np.testing.assert_array_equal(scores, expected.scores)
    assert classes.tolist() == expected.predictions.tolist()


def test_qonnx_computes_the_bundled_network(bundled: IntegerNetwork) -> None:
    images = load("bundled").images[:4]
    found: dict[str, np.ndarray] = {}

    def keep(batch: sim.TraceBatch) -> None:
        found.update({layer.name: batch.tensors[layer.name].copy() for layer in bundled.layers})

    sim.simulate(bundled, images, trace=keep, batch_size=4, threads=1)
    model = to_model(bundled, DIALECTS["qonnx"], batch_size=4)
    reals = integers_of(bundled, run_qonnx_nodes(model, {"pixels": images}))
    assert set(found) == set(reals)
    for name, expected in found.items():
        np.testing.assert_array_equal(reals[name], expected, err_msg=name)


# What a file says


def test_weights_are_their_exact_values(bundled: IntegerNetwork) -> None:
    model = to_model(bundled, DIALECTS["qonnx"])
    layer = next(layer for layer in bundled.layers if layer.name == "layer1.0.conv1")
    table = {level.code: level for level in layer.weight_grid.levels}  # type: ignore[union-attr]
    codes = layer.weight_codes.tolist()  # type: ignore[union-attr]
    flat = np.array(codes).reshape(-1).tolist()
    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    convolutions = [
        arrays[node.input[1]]
        for node in model.graph.node
        if node.op_type == "Conv" and node.name.startswith("layer1.0.conv1/")
    ]
    even, odd = (array.reshape(-1).astype(np.float64) for array in convolutions)
    assert even.tolist() == [table[code].even * 2.0 ** -table[code].shift for code in flat]
    assert odd.tolist() == [table[code].odd * 2.0 ** -table[code].shift for code in flat]


def test_a_quant_node_takes_the_scale_that_the_adapter_computes(bundled: IntegerNetwork) -> None:
    model = to_model(bundled, DIALECTS["qonnx"])
    makers = {output: node for node in model.graph.node for output in node.output}
    scales = {
        node.name.partition("/")[0]: node.input[1]
        for node in model.graph.node
        if node.op_type == "Quant" and node.input[0] == "layer1.0.relu"
    }
    found, left = set(), [scales["layer1.0.conv2"]]
    while left:
        node = makers.get(left.pop())
        if node is not None and node.name.startswith("layer1.0.conv2/"):
            found.add(node.op_type)
            left += node.input
    assert {"ReduceSum", "MatMul"} <= found  # channel means, and a layer of the adapter


def test_uniform_weights_go_through_a_quant_node(bundled: IntegerNetwork) -> None:
    model = to_model(bundled, DIALECTS["qonnx"])
    constants = {one.name for one in model.graph.initializer}
    quantized = {
        node.name.partition("/")[0]
        for node in model.graph.node
        if node.op_type == "Quant" and node.input[0] in constants
    }
    assert quantized == {"conv1", "fc"}


@pytest.mark.parametrize(("name", "narrow"), [("uniform", 0), ("symmetric", 1)])
def test_weights_without_a_lowest_level_have_a_narrow_range(name: str, narrow: int) -> None:
    network = next(example.network for example in EXAMPLES if example.name == name)
    model = to_model(network, DIALECTS["qonnx"])
    constants = {one.name for one in model.graph.initializer}
    found = [
        [attribute.i for attribute in node.attribute if attribute.name == "narrow"]
        for node in model.graph.node
        if node.op_type == "Quant" and node.input[0] in constants
    ]
    assert found == [[narrow]] * 4


@pytest.mark.parametrize("to", DIALECT_NAMES)
def test_one_network_gives_one_file(to: str, bundled: IntegerNetwork, tmp_path: object) -> None:
    first, second = (f"{tmp_path}/{name}" for name in ("a.onnx", "b.onnx"))
    save_onnx(bundled, first, to=to)
    save_onnx(modelfile.load(model_path("bundled")), second, to=to)
    with open(first, "rb") as one, open(second, "rb") as other:
        assert one.read() == other.read()


def test_names_of_inputs_and_outputs_are_free() -> None:
    net = network_of(
        "names",
        pixels_as_they_are(2, 2),
        Relu(name="pixels", source="input"),
        Relu(name="classes", source="pixels"),
        GlobalAveragePool(name="scores", source="classes", multiplier=1, shift=2),
    )
    check_onnx(net, np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2))
    model = to_model(net, DIALECTS["onnx"])
    assert [one.name for one in model.graph.input] == ["pixels_"]
    assert [one.name for one in model.graph.output] == ["scores_", "classes_"]


def test_the_dialects_are_those_of_the_command_line() -> None:
    assert tuple(DIALECTS) == DIALECT_NAMES


# What cannot be said


def test_every_kind_of_layer_and_step_has_a_writer() -> None:
    assert set(LAYER_WRITERS) == set(LAYER_KINDS.values())
    assert set(STEP_WRITERS) == set(get_args(Step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger(Flatten):
    kind: ClassVar[str] = "stranger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dilated(FixedStep):
    dilation: int = 1


def writing_of(layer_map: str = "input") -> Writing:
    from asq_hw.interchange.writing.graph import GraphWriter

    net = network_of("one", pixels_as_they_are(1, 1), Flatten(name="flat", source="input"))
    return Writing(
        graph=GraphWriter(), dialect=DIALECTS["onnx"], maps=net.feature_maps(), pixels="pixels"
    )


def test_a_kind_without_a_writer_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="odd: a layer of the kind stranger has no form in ONNX"):
        write_layer(writing_of(), Stranger(name="odd", source="input"))


def test_a_step_without_a_writer_is_refused_by_name() -> None:
    layer = linear_layer(
        "fc", "input", "uniform 4 packed", np.array([[1]]), quantizer_of(4, Dilated(step=3))
    )
    with pytest.raises(InputError, match="fc: Dilated has no form in ONNX"):
        write_layer(writing_of(), layer)


def test_a_field_without_a_writer_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Wider(MaxPool):
        dilation: int = 1

    monkeypatch.setitem(LAYER_WRITERS, Wider, LAYER_WRITERS[MaxPool])
    plain = Wider(name="pool", source="input", kernel_size=(1, 1), stride=(1, 1))
    write_layer(writing_of(), plain)
    wider = Wider(name="pool", source="input", kernel_size=(1, 1), stride=(1, 1), dilation=2)
    with pytest.raises(InputError, match="pool: dilation = 2 of Wider has no form in ONNX"):
        write_layer(writing_of(), wider)


def many_products(count: int) -> IntegerNetwork:
    return network_of(
        "many",
        pixels_as_they_are(1, 1, multiplier=[1] * count, offset=[0] * count),
        linear_layer(
            "fc",
            "input",
            "uniform 8 packed",
            np.full((2, count), 128),
            quantizer_of(8, 1),
            shift=12,
        ),
    )


@pytest.mark.parametrize("to", DIALECT_NAMES)
def test_a_network_of_another_product_is_refused(to: str, bundled: IntegerNetwork) -> None:
    other = replace(bundled, product=ProductKind.POST_DUAL)
    with pytest.raises(InputError, match="product = .*post-dual.* of IntegerNetwork has no form"):
        to_model(other, DIALECTS[to])


def test_sums_of_more_products_than_32_bits_hold_are_refused() -> None:
    check_onnx(many_products(33_025), np.full((1, 33_025, 1, 1), 255, dtype=np.uint8))
    message = "fc: sums of 33026 products have no form in ONNX"
    with pytest.raises(InputError, match=message):
        to_model(many_products(33_026), DIALECTS["onnx"])


def test_sums_beyond_24_bits_stay_exact_in_qonnx() -> None:
    check_qonnx(many_products(2_000), np.full((1, 2_000, 1, 1), 255, dtype=np.uint8))
    with pytest.raises(InputError, match="fc: sums of 70000 products have no form in QONNX"):
        to_model(many_products(70_000), DIALECTS["qonnx"])


@pytest.mark.parametrize("to", ["ONNX", "tflite", ""])
def test_an_unknown_format_is_refused(to: str, bundled: IntegerNetwork, tmp_path: object) -> None:
    with pytest.raises(InputError, match="to must be one of onnx, qonnx, not"):
        save_onnx(bundled, f"{tmp_path}/a.onnx", to=to)
