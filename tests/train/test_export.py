"""The integer network computes what the trained one does, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asq_hw import datasets, oracle
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Input, Linear, Relu
from asq_hw.sim import simulate
from asq_hw.train import models, recipes
from asq_hw.train.data.batches import normalize
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.graph.operation import OperationKind
from asq_hw.train.graph.operations import trace
from asq_hw.train.methods.catalog import ACTIVATION_METHODS, WEIGHT_METHODS, exportable
from asq_hw.train.recipes import Recipe

WEIGHTS = exportable(WEIGHT_METHODS)
ACTIVATIONS = exportable(ACTIVATION_METHODS)
METHODS = [("asq", weights, "post-split") for weights in WEIGHTS]
# A power-of-two step meets exact ties, which PyTorch takes to the even neighbor: its steps are held
# against the integers' in test_shared_exponent.py.
OTHERS = [name for name in ACTIVATIONS if name not in ("asq", "shared-exponent")]
METHODS += [(activations, "post", "post-split") for activations in OTHERS]
METHODS += [(activations, "post", "post-dual") for activations in ("asq", "lsq", "asq-constant")]


@pytest.fixture(scope="module")
def images() -> Dataset:
    return datasets.load("digits", split="train").first(64)


def make_recipe(
    activations: str = "asq", weights: str = "post", product: str = "post-split"
) -> Recipe:
    changes = {"activations": activations, "weights": weights, "product": product, "width": 8}
    return recipes.load("digits-asq-post-w4a4", changes)


def warmed_up(recipe: Recipe, images: Dataset, model: nn.Module | None = None) -> nn.Module:
    """A converted network that has seen two batches, with adapters that do something."""
    torch.manual_seed(7)
    if model is None:
        model = models.build(recipe.model, width=recipe.width, in_channels=1, num_classes=10)
    model = quantize(model, recipe)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.momentum = None
    for name, parameter in model.named_parameters():
        if "adapter" in name and name.endswith("weight"):
            nn.init.normal_(parameter, std=0.5)
    model.train()
    with torch.no_grad():
        for _ in range(2):
            model(pixels(images))
    return model.eval()


def pixels(dataset: Dataset) -> Tensor:
    return normalize(torch.from_numpy(dataset.images.copy()), mean=dataset.mean, std=dataset.std)


def real(network: IntegerNetwork, name: str, values: np.ndarray) -> Tensor:
    bits = network.feature_maps()[name].format.fraction_bits
    return torch.from_numpy(values / 2.0**bits).float()


@pytest.mark.parametrize(("activations", "weights", "product"), METHODS)
def test_every_weighted_layer_follows_its_trained_twin(
    activations: str, weights: str, product: str, images: Dataset
) -> None:
    """Oracle and simulator know grids and steps, not methods: here every exportable one comes."""
    recipe = make_recipe(activations, weights, product)
    model = warmed_up(recipe, images)
    network = export_network(model, recipe, images)
    assert network.product == product
    first = 6 if product == "post-dual" else 0  # of fc's few values, one beside a boundary is many
    few = Dataset(**{**fields(images), "images": images.images[first : first + 3], "labels": None})
    maps = oracle.run(network, few.images)
    simulated = simulate(network, few.images, threads=1)
    np.testing.assert_array_equal(simulated.scores, maps[network.outputs[0].layer][:, :, 0, 0])
    compared = 0
    for operation in trace(model).operations:
        if operation.weighted is None:
            continue
        # The trained layer gets the oracle's own input, so that errors do not add up.
        source = real(network, operation.sources[0], maps[operation.sources[0]])
        source = source.flatten(1) if isinstance(operation.weighted, nn.Linear) else source
        with torch.inference_mode():
            expected = operation.weighted(source)
            if operation.batch_norm is not None:
                expected = operation.batch_norm(expected)
        found = real(network, operation.name, maps[operation.name]).reshape(expected.shape)
        # A value next to a rounding boundary may fall to its other side; few ever do.
        error = ((found - expected).abs() / expected.std()).flatten()
        assert error.quantile(0.9) < 0.003, operation.name
        assert error.max() < 0.5, operation.name
        compared += 1
    assert compared == 7


def fields(dataset: Dataset) -> dict[str, object]:
    return {name: getattr(dataset, name) for name in dataset.__dataclass_fields__}


def test_step_sizes_follow_the_adapters(images: Dataset) -> None:
    recipe = make_recipe()
    model = warmed_up(recipe, images)
    network = export_network(model, recipe, images)
    traced = oracle.trace(network, images.images[:5])
    layer = next(x for x in network.layers if x.name == "conv2")
    assert isinstance(layer, Conv)
    source = real(network, layer.source, traced.feature_maps[layer.source])
    quantizer = model.get_submodule("conv2").activation_quantizer
    with torch.inference_mode():
        expected = quantizer.adapter(source) * quantizer.step()
    bits = network.feature_maps()[layer.source].format.fraction_bits
    found = traced.steps["conv2"] / 2.0 ** (bits + layer.quantizer.step_fraction_bits)
    assert float(expected.std() / expected.mean()) > 0.01  # the adapter does something
    np.testing.assert_allclose(found, expected.numpy(), rtol=3e-4)


def test_the_input_is_the_normalized_image(images: Dataset) -> None:
    recipe = make_recipe()
    network = export_network(warmed_up(recipe, images), recipe, images)
    layer = network.input
    assert isinstance(layer, Input)
    found = oracle.run(network, images.images[:2])[layer.name]
    expected = pixels(images)[:2].double().numpy() * 2.0**layer.output.fraction_bits
    assert np.abs(found - expected).max() <= 0.51


def test_a_dead_channel_does_not_take_the_others_precision(images: Dataset) -> None:
    recipe = make_recipe()
    model = warmed_up(recipe, images)
    alive = export_network(model, recipe, images)
    layer = model.get_submodule("block1")
    with torch.no_grad():
        model.get_submodule("conv1").weight[0] = 0
        model.get_submodule("bn1").bias[0] = -1
        model.get_submodule("bn1").running_mean[0] = 0
        layer.bn1.running_var[0] = 1e-12
        layer.bn1.running_mean[0] = 0
    dead = export_network(model, recipe, images)
    name = "block1.depthwise"
    before, after = (next(x for x in network.layers if x.name == name) for network in (alive, dead))
    assert isinstance(before, Conv) and isinstance(after, Conv)
    assert abs(before.shift + before.narrow_shift - after.shift - after.narrow_shift) <= 2
    assert np.abs(after.multiplier[1:]).max() > 1 << 11


def test_formats_are_shared_where_feature_maps_meet(images: Dataset) -> None:
    recipe = make_recipe()
    network = export_network(warmed_up(recipe, images), recipe, images)
    maps = network.feature_maps()
    assert maps["relu"].format == maps["block1.pointwise"].format == maps["block1.add"].format
    relu6 = next(x for x in network.layers if x.name == "block1.relu6")
    assert isinstance(relu6, Relu) and relu6.maximum is not None
    assert relu6.maximum == 6 * 2.0 ** maps["block1.relu6"].format.fraction_bits


def test_references_are_the_trained_networks_predictions(images: Dataset) -> None:
    recipe = make_recipe()
    model = warmed_up(recipe, images)
    network = export_network(model, recipe, images, [images])
    with torch.inference_mode():
        expected = model(pixels(images)).argmax(1).numpy()
    np.testing.assert_array_equal(network.references[images.name], expected)


def test_batch_norm_disappears_and_functions_get_their_modules_name(images: Dataset) -> None:
    operations = trace(warmed_up(make_recipe(), images)).operations
    kinds = {operation.name: operation.kind for operation in operations}
    assert kinds["block1.add"] is OperationKind.ADD
    assert not any("bn" in name for name in kinds)
    assert "flatten" not in kinds  # behind global pooling it changes nothing


class Odd(nn.Module):
    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.middle = middle
        self.conv2 = nn.Conv2d(8, 10, 6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.conv2(self.middle(self.conv1(x))), 1)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (nn.Softmax2d(), "middle: Softmax2d has no integer form"),
        (nn.AdaptiveAvgPool2d(2), "middle: adaptive pooling must be global"),
        (nn.MaxPool2d(1, dilation=2), "middle: max pooling must have no dilation"),
    ],
)
def test_what_has_no_integer_form_is_named(
    middle: nn.Module, message: str, images: Dataset
) -> None:
    model = Odd(middle)
    quantize(model, make_recipe())
    with pytest.raises(InputError, match=message):
        trace(model)


def test_a_network_that_is_not_quantized_is_refused(images: Dataset) -> None:
    recipe = make_recipe()
    model = models.build(recipe.model, width=8, in_channels=1, num_classes=10)
    with pytest.raises(InputError, match="conv1: not quantized"):
        export_network(model, recipe, images)


def test_biases_and_plain_layers_export(images: Dataset) -> None:
    recipe = make_recipe("lsq", "pot")
    model = warmed_up(recipe, images, Odd(nn.AvgPool2d(3, stride=1, padding=1)))
    network = export_network(model, recipe, images)
    assert [type(x).__name__ for x in network.layers] == [
        "Input",
        "Conv",
        "AveragePool",
        "Conv",
        "Flatten",
    ]
    scores = oracle.run(network, images.images[:4])[network.outputs[0].layer][:, :, 0, 0]
    with torch.inference_mode():
        expected = model(pixels(images))[:4].numpy()
    found = real(network, network.outputs[0].layer, scores).numpy()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    assert not any(isinstance(x, Linear) for x in network.layers)
