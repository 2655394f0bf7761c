"""One adapter for the layers of a block: in training, in integers, in the count of what is held."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asq_hw import datasets, oracle
from asq_hw.errors import InputError
from asq_hw.network.activation import AdaptiveStep, FixedStep
from asq_hw.network.layers import Conv, Linear
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.sim import simulate
from asq_hw.train import models, recipes
from asq_hw.train.data.batches import normalize
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.adapter import PaperAdapter
from asq_hw.train.quantizers.shared_adapter import SharedAdapter

BLOCK = {"width": 8, "adapter_block": "block*"}


def digits(**changes: object) -> tuple[nn.Module, recipes.Recipe]:
    torch.manual_seed(5)
    recipe = recipes.load("digits-asq-post-w4a4", BLOCK | changes)
    model = models.build("digits", width=8, in_channels=1, num_classes=10)
    return quantize(model, recipe), recipe


def images_of(count: int) -> tuple[datasets.Dataset, Tensor]:
    images = datasets.load("digits", split="train").first(count)
    pixels = torch.from_numpy(images.images.copy())
    return images, normalize(pixels, mean=images.mean, std=images.std)


def adapters_of(model: nn.Module) -> dict[str, object]:
    return {
        name.removesuffix(".activation_quantizer"): module.adapter
        for name, module in model.named_modules()
        if isinstance(module, ActivationQuantizer) and module.adapter is not None
    }


def test_beta_is_the_first_layers_and_both_losses_reach_its_adapter_by_hand() -> None:
    """Two channels: beta = w1 m1 + w2 m2 + b, whatever the second layer reads.

    The first layer's means are 1 and 2, w = 127/127 and 64/127 of the scale (1, 0.504), b = 1:
    beta = 1 + 2 * 64 / 127 + 1. In 1 bit of sign the derivatives to b add: 3 * 1 + 5 * 1.
    """
    first = PaperAdapter(2)
    with torch.no_grad():
        first.output.weight.copy_(torch.tensor([[1.0, 64 / 127]]))
        first.output.bias.fill_(1)
    second = SharedAdapter(first)
    assert [*second.parameters()] == [] and second.state_dict() == {}
    beta = first(torch.tensor([[1.0, 2.0]]))
    taken = second(torch.full((1, 7, 3, 3), 99.0))
    assert beta.item() == taken.item() == pytest.approx(2 + 128 / 127)
    (3 * beta + 5 * taken).sum().backward()  # type: ignore[no-untyped-call]
    assert first.output.bias.grad is not None
    assert first.output.bias.grad.item() == 8
    assert first.output.weight.grad is not None
    assert first.output.weight.grad.tolist() == [[8, 16]]


def test_the_layers_of_a_block_share_the_adapter_of_its_first() -> None:
    model, _ = digits()
    adapters = adapters_of(model)
    for block in ("block1", "block2"):
        first, second = adapters[f"{block}.depthwise"], adapters[f"{block}.pointwise"]
        assert isinstance(first, PaperAdapter)
        assert isinstance(second, SharedAdapter) and second.first is first
    assert isinstance(adapters["conv2"], PaperAdapter)  # of no block
    keys = [key for key in model.state_dict() if ".adapter." in key]
    assert keys and not any("pointwise" in key for key in keys)


def test_steps_are_each_layers_own_times_one_beta() -> None:
    model, _ = digits(adapter_ratio=16)  # one linear layer, which no ReLU can cut off
    _, x = images_of(16)
    seen: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if name in ("block1.depthwise", "block1.pointwise"):
            module.register_forward_hook(
                lambda layer, inputs, output, name=name: seen.update(
                    {name: layer.activation_quantizer.steps(inputs[0])}
                )
            )
    with torch.no_grad():
        model(x)
        adapter = adapters_of(model)["block1.depthwise"]
        assert isinstance(adapter, PaperAdapter)
        nn.init.normal_(adapter.output.weight, std=1.0)
        model(x)
    steps = {name: model.get_submodule(name).activation_quantizer.step() for name in seen}
    betas = [seen[name] / steps[name] for name in seen]
    assert betas[0].std() > 0.005
    torch.testing.assert_close(betas[0], betas[1])


def test_a_copy_has_its_own_adapters_and_no_graph_of_the_original() -> None:
    model, _ = digits()
    _, x = images_of(4)
    model(x).sum().backward()
    adapters = adapters_of(copy.deepcopy(model))
    second = adapters["block1.pointwise"]
    assert isinstance(second, SharedAdapter)
    assert second.first is adapters["block1.depthwise"]
    assert second.first is not adapters_of(model)["block1.depthwise"]
    assert second.first.latest is None


@pytest.mark.parametrize("adapter", ["paper", "log-linear"])
def test_integers_follow_and_the_adapter_is_computed_once(adapter: str) -> None:
    model, recipe = digits(adapter=adapter, **({"adapter_ratio": 16} if adapter == "paper" else {}))
    images, x = images_of(64)
    with torch.no_grad():
        model(x)
        for name, parameter in model.named_parameters():
            if name.endswith(("adapter.output.weight", "adapter.weight")):
                nn.init.normal_(parameter, std=1.0)
    network = export_network(model.eval(), recipe, images)
    layers = {one.name: one for one in network.layers if isinstance(one, Conv | Linear)}
    kinds = {name: type(layer.quantizer.step) for name, layer in layers.items()}
    own = AdaptiveStep if adapter == "paper" else LogLinearStep
    assert kinds == {
        "conv1": FixedStep,
        "block1.depthwise": own,
        "block1.pointwise": SharedAdapterStep,
        "block2.depthwise": own,
        "block2.pointwise": SharedAdapterStep,
        "conv2": own,
        "fc": FixedStep,
    }
    traced = oracle.trace(network, images.images[:5])
    maps = network.feature_maps()
    real = {
        name: traced.steps[name]
        / 2.0 ** (maps[layer.source].format.fraction_bits + layer.quantizer.step_fraction_bits)
        for name, layer in layers.items()
    }
    steps = [
        float(model.get_submodule(f"block1.{part}").activation_quantizer.step().detach())
        for part in ("depthwise", "pointwise")
    ]
    first, second = real["block1.depthwise"], real["block1.pointwise"]
    assert first.std() / first.mean() > 0.005
    np.testing.assert_allclose(second / first, steps[1] / steps[0], rtol=2**-12)
    expected = traced.feature_maps[network.layers[-1].name].reshape(5, 10)
    made = simulate(network, images.images[:5], kernel="portable").scores
    assert np.array_equal(made, expected)


def test_a_pattern_that_joins_nothing_is_refused() -> None:
    for pattern in ("layer*", "conv2", "block1.depthwise"):
        with pytest.raises(InputError, match="recipe key adapter_block must match .* not '"):
            digits(adapter_block=pattern)
    with pytest.raises(InputError, match="adapter_block must be empty where activations are lsq"):
        recipes.load("digits-asq-post-w4a4", BLOCK | {"activations": "lsq"})


def test_the_shortest_beginning_that_matches_is_the_block() -> None:
    recipe = recipes.load("digits-asq-post-w4a4", {"adapter_block": "layer*.*"})
    assert recipe.block_of("layer1.0.conv1") == "layer1.0"
    assert recipe.block_of("layer1.0.downsample.0") == "layer1.0"
    assert recipe.block_of("layer2.1.conv1") == "layer2.1"
    assert recipe.block_of("conv1") is None
    assert recipes.load("digits-asq-post-w4a4").block_of("layer1.0.conv1") is None
