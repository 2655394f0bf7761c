"""Conversion reads first, last and signed from the data flow."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import APOT, POST, POT, SYMMETRIC, UNIFORM, Scheme
from asq_hw.train.graph.conversion import LayerRole, layer_roles, quantize
from asq_hw.train.methods.min_max import MinMaxWeightQuantizer
from asq_hw.train.models import build, names
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.weights import GridWeightQuantizer, UniformWeightQuantizer
from asq_hw.train.recipes import Recipe, load

SHAPES = {"in_channels": 1, "num_classes": 10}


def recipe(**changes: object) -> Recipe:
    return load("digits-asq-post-w4a4", changes)


def quantized_layers(model: nn.Module) -> dict[str, QuantConv2d | QuantLinear]:
    kinds = (QuantConv2d, QuantLinear)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


def test_roles_in_the_digits_net() -> None:
    roles = layer_roles(build("digits", width=4, **SHAPES))
    assert roles == {
        "conv1": LayerRole(is_edge=True, signed_input=True),
        "block1.depthwise": LayerRole(is_edge=False, signed_input=False),
        "block1.pointwise": LayerRole(is_edge=False, signed_input=False),
        "conv2": LayerRole(is_edge=False, signed_input=True),
        "block2.depthwise": LayerRole(is_edge=False, signed_input=False),
        "block2.pointwise": LayerRole(is_edge=False, signed_input=False),
        "fc": LayerRole(is_edge=True, signed_input=False),
    }


def test_roles_in_resnet20() -> None:
    roles = layer_roles(build("resnet20", width=4, **SHAPES))
    assert len(roles) == 22
    assert [name for name, role in roles.items() if role.is_edge] == ["conv1", "fc"]
    assert [name for name, role in roles.items() if role.signed_input] == ["conv1"]
    assert "layer2.0.downsample.0" in roles


class Branches(nn.Module):
    """Two first layers, two last ones, and sums of every sign."""

    def __init__(self) -> None:
        super().__init__()
        self.first_a, self.first_b = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.both_positive, self.one_negative = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
        self.last_a, self.last_b = nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first_a(x), self.first_b(x)
        positive = self.both_positive(functional.relu(a) + torch.relu(b))
        negative = self.one_negative(functional.relu(a) + b)
        pooled = functional.adaptive_avg_pool2d(functional.relu6(positive), 1)
        raw = functional.adaptive_avg_pool2d(negative, 1)
        y: Tensor = self.last_a(pooled.flatten(1)) + self.last_b(torch.flatten(raw, 1))
        return y


def test_roles_follow_every_branch() -> None:
    roles = layer_roles(Branches())
    edges = {name for name, role in roles.items() if role.is_edge}
    signed = {name for name, role in roles.items() if role.signed_input}
    assert edges == {"first_a", "first_b", "last_a", "last_b"}
    assert signed == {"first_a", "first_b", "one_negative", "last_b"}


def test_a_layer_that_is_used_twice_is_refused() -> None:
    shared = nn.Conv2d(2, 2, 1)
    with pytest.raises(InputError, match="layer 0 must be used once, not 2 times"):
        layer_roles(nn.Sequential(shared, nn.ReLU(), shared))


def test_edges_are_uniform_at_their_own_width() -> None:
    layers = quantized_layers(quantize(build("digits", width=8, **SHAPES), recipe(edge_bits=7)))
    for name in ("conv1", "fc"):
        weights, activations = layers[name].weight_quantizer, layers[name].activation_quantizer
        assert isinstance(weights, UniformWeightQuantizer)
        assert weights.grid == Grid(scheme=UNIFORM, bits=7)
        assert weights.scale().numel() == len(layers[name].weight)
        assert activations is not None
        assert activations.adapter is None
        assert activations.bits == 7
        assert activations.signed == (name == "conv1")


def test_edges_can_have_steps_that_are_not_learned() -> None:
    chosen = recipe(edge_weights="min-max")
    layers = quantized_layers(quantize(build("digits", width=8, **SHAPES), chosen))
    for name, layer in layers.items():
        is_edge = name in ("conv1", "fc")
        assert isinstance(layer.weight_quantizer, MinMaxWeightQuantizer) == is_edge
        if is_edge:
            assert layer.weight_quantizer.grid == Grid(scheme=UNIFORM, bits=8)
            assert layer.weight_quantizer.scale().numel() == len(layer.weight)


@pytest.mark.parametrize("per_channel", [False, True])
def test_inner_layers_follow_the_recipe(per_channel: bool) -> None:
    chosen = recipe(weight_bits=3, activation_bits=5, encoding="paper", per_channel=per_channel)
    layers = quantized_layers(quantize(build("digits", width=8, **SHAPES), chosen))
    for name in ("block1.depthwise", "block1.pointwise", "conv2"):
        weights, activations = layers[name].weight_quantizer, layers[name].activation_quantizer
        assert isinstance(weights, GridWeightQuantizer)
        assert weights.grid == Grid(scheme=POST, bits=3, encoding=Encoding.PAPER)
        assert weights.scale().numel() == (len(layers[name].weight) if per_channel else 1)
        assert activations is not None
        assert activations.adapter is not None
        assert activations.adapter.linear_layers()[0].in_features == 8
        assert activations.bits == 5


@pytest.mark.parametrize(
    ("weights", "scheme"),
    [("lsq", UNIFORM), ("symmetric", SYMMETRIC), ("pot", POT), ("post", POST), ("apot", APOT)],
)
def test_each_weight_method_has_its_grid(weights: str, scheme: Scheme) -> None:
    chosen = recipe(weights=weights, encoding="zero-free")
    layers = quantized_layers(quantize(build("digits", width=8, **SHAPES), chosen))
    quantizer = layers["conv2"].weight_quantizer
    assert quantizer is not None
    exponential = scheme in (POT, POST)
    encoding = Encoding.ZERO_FREE if exponential else Encoding.PACKED
    assert quantizer.grid == Grid(scheme=scheme, bits=4, encoding=encoding)


def test_each_side_can_stay_real() -> None:
    weights_only = quantize(build("digits", width=8, **SHAPES), recipe(activations="none"))
    for layer in quantized_layers(weights_only).values():
        assert layer.activation_quantizer is None
        assert layer.weight_quantizer is not None
    activations_only = quantize(build("digits", width=8, **SHAPES), recipe(weights="none"))
    for layer in quantized_layers(activations_only).values():
        assert layer.activation_quantizer is not None
        assert layer.weight_quantizer is None
    plain = quantize(build("digits", width=8, **SHAPES), load("digits-float"))
    assert quantized_layers(plain) == {}


@pytest.mark.parametrize("name", names())
def test_weights_are_taken_over_and_the_network_runs(name: str) -> None:
    model = build(name, width=8, **SHAPES)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    quantize(model, recipe())
    after = model.state_dict()
    for key, value in before.items():
        assert torch.equal(after[key], value), key
    model(torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    logits = model.eval()(torch.zeros(3, 1, 8, 8))
    assert logits.shape == (3, 10)
    assert bool(logits.isfinite().all())


def test_a_quantized_layer_is_the_layer_of_its_quantized_parts() -> None:
    torch.manual_seed(0)
    model = quantize(build("digits", width=8, **SHAPES), recipe())
    layer = quantized_layers(model)["conv2"]
    assert isinstance(layer, QuantConv2d)
    x = torch.randn(5, 8, 8, 8)
    layer(x)
    assert layer.activation_quantizer is not None
    assert layer.weight_quantizer is not None
    expected = functional.conv2d(
        layer.activation_quantizer(x), layer.weight_quantizer(layer.weight), padding=1
    )
    assert torch.equal(layer(x), expected)


def test_eight_bits_change_little() -> None:
    torch.manual_seed(0)
    model = build("digits", width=16, **SHAPES)
    x = torch.randn(16, 1, 8, 8)
    real = model(x)
    wide = recipe(weights="lsq", weight_bits=8, activation_bits=8)
    quantized = quantize(model, wide)(x)
    assert float((quantized - real).abs().max().detach()) < 0.1 * float(real.abs().max().detach())
