"""The shared exponent: its formula by hand, and the same steps in integers."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("sklearn")

from asq_hw import datasets, oracle
from asq_hw.errors import InputError
from asq_hw.network.layers import Conv
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.train import models, recipes
from asq_hw.train.data.batches import normalize
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.methods.shared_exponent import SharedExponentActivationQuantizer


@pytest.mark.parametrize(
    ("largest", "bits", "signed", "step"),
    [
        (1.0, 4, False, 1 / 8),  # 2^0 over 2^3, the largest power of two up to 15
        (1.99, 4, False, 1 / 8),
        (2.0, 4, False, 2 / 8),
        (-6.0, 4, True, 4 / 4),  # 2^2 over 2^2, of codes up to 7
        (0.3, 2, True, 0.25 / 1),
        (0.0, 8, False, 1 / 128),
    ],
)
def test_shared_exponent_by_hand(largest: float, bits: int, signed: bool, step: float) -> None:
    quantizer = SharedExponentActivationQuantizer(bits=bits, signed=signed)
    x = torch.tensor([[[[0.0, largest]]], [[[0.1, 0.0]]]])
    assert quantizer.steps(x)[0].item() == step
    assert quantizer(x).shape == x.shape


def test_codes_and_gradients_by_hand() -> None:
    """A largest value of 3.9 with 2 bits: steps of 2 / 2 = 1, codes 0 to 3, 3.9 clipped."""
    quantizer = SharedExponentActivationQuantizer(bits=2, signed=False)
    x = torch.tensor([[0.4, 1.6, 3.2, 3.9]], requires_grad=True)
    quantized = quantizer(x)
    assert quantized.tolist() == [[0, 2, 3, 3]]
    (gradient,) = torch.autograd.grad(quantized.sum(), x)
    assert gradient.tolist() == [[1, 1, 0, 0]]


def test_every_sample_has_its_own_step() -> None:
    quantizer = SharedExponentActivationQuantizer(bits=4, signed=True)
    x = torch.randn((6, 4, 5, 5), generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([0.1, 0.5, 1, 2, 4, 8]).reshape(-1, 1, 1, 1)
    alone = torch.cat([quantizer(sample[None]) for sample in x])
    assert torch.equal(quantizer(x), alone)
    assert len(quantizer.steps(x).unique()) > 4
    assert not list(quantizer.parameters())


RECIPE = recipes.load("digits-asq-post-w4a4", {"activations": "shared-exponent", "width": 8})


def trained(images: datasets.Dataset) -> nn.Module:
    """A network that has seen a batch."""
    torch.manual_seed(7)
    x = normalize(torch.from_numpy(images.images.copy()), mean=images.mean, std=images.std)
    model = quantize(models.build("digits", width=8, in_channels=1, num_classes=10), RECIPE)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model(x)
    return model.eval()


def test_a_step_that_does_not_fit_is_refused() -> None:
    """Of features of 24 bits, up to about 2^22, steps are about 2^19."""
    images = datasets.load("digits", split="train").first(64)
    with pytest.raises(InputError, match=r"a step of 2\*\*\d\d units does not fit 16 bits"):
        export_network(trained(images), RECIPE, images, feature_bits=24)


def test_integer_steps_are_the_trained_ones() -> None:
    images = datasets.load("digits", split="train").first(64)
    model = trained(images)
    network = export_network(model, RECIPE, images)
    layer = next(layer for layer in network.layers if layer.name == "conv2")
    assert isinstance(layer, Conv) and isinstance(layer.quantizer.step, SharedExponentStep)
    traced = oracle.trace(network, images.images[:9])
    fraction_bits = network.feature_maps()[layer.source].format.fraction_bits
    source = torch.from_numpy(traced.feature_maps[layer.source] / 2.0**fraction_bits).float()
    expected = model.get_submodule("conv2").activation_quantizer.steps(source).numpy()
    found = traced.steps["conv2"] / 2.0 ** (fraction_bits + layer.quantizer.step_fraction_bits)
    np.testing.assert_array_equal(found, expected)
