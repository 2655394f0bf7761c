"""Layers that train for ``post-dual``: a second code of each input, for weights that are odd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.products import ProductKind
from asq_hw.numbers.schemes import POST
from asq_hw.train import models, recipes
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.adapter import PaperAdapter
from asq_hw.train.quantizers.layers import QuantLinear
from asq_hw.train.quantizers.weights import GridWeightQuantizer
from asq_hw.train.recipes import Recipe

ROOT = math.sqrt(2)


def started(step: float, *, bits: int = 4, signed: bool = False) -> ActivationQuantizer:
    quantizer = ActivationQuantizer(bits=bits, signed=signed)
    quantizer.learned.initialize(torch.tensor(step))
    quantizer.is_initialised.fill_(True)
    return quantizer


def test_odd_codes_by_hand() -> None:
    # x / 0.5 * sqrt(2) = 0.28, 1.41, 3.54, 20.4, 29.7 -> 0, 1, 4, 20, 21 (the largest).
    x = torch.tensor([0.1, 0.5, 1.25, 7.2, 10.5])
    expected = torch.tensor([0.0, 1.0, 4.0, 20.0, 21.0]) * 0.5 / ROOT
    torch.testing.assert_close(started(0.5).odd(x), expected)
    # Signed: -11.31 and -14.1 -> -11, 9.9 -> 10.
    x = torch.tensor([-4.0, -5.0, 3.5])
    expected = torch.tensor([-11.0, -11.0, 10.0]) * 0.5 / ROOT
    torch.testing.assert_close(started(0.5, signed=True).odd(x), expected)


def test_gradients_pass_inside_the_odd_range_and_move_the_step() -> None:
    quantizer = started(0.5)
    x = torch.tensor([1.25, 7.2, 7.7], requires_grad=True)
    quantizer.odd(x).sum().backward()
    # 7.7 is beyond 21.5 odd steps of 0.3536, and 7.2 inside.
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 1.0, 0.0]))
    # LSQ's, of an odd step: round(v) - v inside and 21 outside, v = 3.5355 and 20.365.
    slope = (4 - 1.25 * ROOT / 0.5) + (20 - 7.2 * ROOT / 0.5) + 21
    scale = 1 / math.sqrt(15)
    assert quantizer.learned.value.grad is not None
    torch.testing.assert_close(quantizer.learned.value.grad, torch.tensor(slope / ROOT * scale))


def test_each_sample_s_odd_step_is_its_step_over_the_root() -> None:
    torch.manual_seed(0)
    quantizer = ActivationQuantizer(bits=4, signed=False, adapter=PaperAdapter(8))
    x = torch.rand(5, 8, 6, 6) * torch.arange(1, 6)[:, None, None, None]
    quantizer.train()(x)
    for parameter in quantizer.adapter.parameters() if quantizer.adapter else ():
        nn.init.normal_(parameter, std=0.2)
    steps = quantizer.steps(x).detach() / ROOT
    calls: list[Tensor] = []
    assert quantizer.adapter is not None
    quantizer.adapter.register_forward_hook(lambda *given: calls.append(given[2]))
    with torch.no_grad():
        codes = quantizer.odd(x) / steps[:, None, None, None]
        exact = (x / steps[:, None, None, None]).clamp(0, 21)
    assert float(steps.std() / steps.mean()) > 0.01
    torch.testing.assert_close(codes, codes.round(), atol=1e-3, rtol=0)
    assert float((codes - exact).abs().max()) < 0.501
    assert calls == []  # what watches the adapter sees each input once


def test_a_layer_is_the_sum_of_its_two_parts() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(6, 3)
    grid = Grid(scheme=POST, bits=4)
    layer = QuantLinear.from_float(
        linear,
        activation_quantizer=started(0.25),
        weight_quantizer=GridWeightQuantizer(grid, linear.weight, per_channel=False),
        product=ProductKind.POST_DUAL,
    )
    assert isinstance(layer.weight_quantizer, GridWeightQuantizer)
    alpha = float(layer.weight_quantizer.scale())
    values = torch.tensor([1, ROOT / 2, 0.5, ROOT / 4, -ROOT / 2, 0]) * alpha
    layer.weight.data[:] = values
    x = torch.rand(4, 6) * 3
    assert layer.activation_quantizer is not None
    even, odd = layer.activation_quantizer(x), layer.activation_quantizer.odd(x)
    is_odd = torch.tensor([False, True, False, True, True, False])
    mixed = torch.where(is_odd, odd, even)
    assert not torch.equal(mixed, even)
    torch.testing.assert_close(layer(x), functional.linear(mixed, values.expand(3, 6), layer.bias))


def dual(**changes: object) -> Recipe:
    return recipes.load("digits-asq-post-w4a4", {"product": "post-dual", "width": 8} | changes)


def test_only_layers_with_odd_powers_have_odd_codes() -> None:
    model = quantize(models.build("digits", width=8, in_channels=1, num_classes=10), dual())
    found = {
        name: layer.has_odd_codes
        for name, layer in model.named_modules()
        if hasattr(layer, "weight_quantizer")
    }
    assert found.pop("conv1") is False and found.pop("fc") is False  # uniform, 8 bits
    assert found and all(found.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "apot"}, "product must be post-split where weights are apot"),
        ({"product": "post-lut"}, "product must be one of post-split, post-dual"),
    ],
)
def test_a_product_that_cannot_be_trained_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        dual(**changes)


@pytest.mark.parametrize("activations", ["pact", "dsq", "daq", "dorefa", "shared-exponent"])
def test_activations_without_odd_codes_are_refused(activations: str) -> None:
    model = models.build("digits", width=8, in_channels=1, num_classes=10)
    with pytest.raises(InputError, match="layer .*product post-dual needs activations lsq, asq"):
        quantize(model, dual(activations=activations))
