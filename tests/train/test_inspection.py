"""What is measured inside a quantized network, against NumPy and the network itself."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("sklearn")

from asq_hw import datasets
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError
from asq_hw.train import inspection, models, recipes
from asq_hw.train.data.batches import normalize
from asq_hw.train.graph.conversion import quantize

LAYER = "conv2"


@pytest.fixture(scope="module")
def images() -> Dataset:
    return datasets.load("digits", split="train", limit=12)


def pixels(images: Dataset) -> Tensor:
    return normalize(torch.from_numpy(images.images.copy()), mean=images.mean, std=images.std)


@pytest.fixture
def model(images: Dataset) -> nn.Module:
    """A network with adapters that do something, and steps that clip."""
    torch.manual_seed(5)
    recipe = recipes.load("digits-asq-post-w4a4", ["width=8"])
    model = quantize(models.build("digits", width=8, in_channels=1, num_classes=10), recipe)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    for name, parameter in model.named_parameters():
        if "adapter" in name and name.endswith("weight"):
            nn.init.normal_(parameter, std=2.0)
    with torch.no_grad():
        model(pixels(images))
        model.get_submodule(LAYER).activation_quantizer.learned.value.mul_(0.2)
    return model.eval()


@torch.inference_mode()
def seen(model: nn.Module, images: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The layer's input for each image, its beta, and its output."""
    kept = []
    layer = model.get_submodule(LAYER)
    handle = layer.register_forward_hook(lambda _, inputs, output: kept.extend([*inputs, output]))
    model(pixels(images))
    handle.remove()
    x, output = kept
    beta = layer.activation_quantizer.adapter(x)
    return x.flatten(1).double().numpy(), beta.double().numpy(), output.numpy()


def test_rounding_and_clipping_are_told_apart(model: nn.Module, images: Dataset) -> None:
    x, beta, _ = seen(model, images)
    found = next(e for e in inspection.layer_errors(model, images) if e.layer == LAYER)
    ratio = x / (found.step * beta[:, None])
    codes = np.clip(np.round(ratio), -8, 7)
    error = codes * (found.step * beta[:, None]) - x
    outside = (ratio < -8) | (ratio > 7)
    assert outside.any() and not outside.all()
    np.testing.assert_allclose(found.beta, beta, rtol=1e-6)
    np.testing.assert_allclose(found.norm, np.sqrt((x**2).sum(1)), rtol=1e-6)
    np.testing.assert_allclose(found.clipping, np.linalg.norm(error * outside, axis=1), rtol=1e-4)
    np.testing.assert_allclose(found.rounding, np.linalg.norm(error * ~outside, axis=1), rtol=1e-4)
    assert found.codes_used.tolist() == [len(np.unique(row)) for row in codes]
    assert (found.bits, found.adaptive) == (4, True)
    samples = inspection.activation_samples(model, images, LAYER)
    np.testing.assert_array_equal([sample.codes for sample in samples], codes)
    np.testing.assert_allclose([s.step for s in samples], found.step * beta, rtol=1e-6)


def test_weights_are_at_the_nearest_level(model: nn.Module) -> None:
    found = inspection.weight_sample(model, LAYER)
    assert (np.diff(found.levels) > 0).all()
    distance = np.abs(found.values[:, None] - found.levels)
    np.testing.assert_allclose(np.abs(found.values - found.quantized), distance.min(1), atol=1e-6)


def test_a_held_beta_is_the_same_for_all(model: nn.Module, images: Dataset) -> None:
    def beta() -> np.ndarray:
        return next(e for e in inspection.layer_errors(model, images) if e.layer == LAYER).beta

    before = beta()
    assert np.ptp(before) > 0.01
    with inspection.constant_beta(model, {LAYER: 0.75}):
        np.testing.assert_array_equal(beta(), 0.75)
    np.testing.assert_array_equal(beta(), before)


def test_full_precision_takes_the_quantizers_out_and_puts_them_back(
    model: nn.Module, images: Dataset
) -> None:
    before = seen(model, images)[2]
    layer = model.get_submodule(LAYER)
    inputs = []
    handle = layer.register_forward_hook(lambda _, x, y: inputs.extend([x[0], y]))
    with inspection.full_precision(model), torch.inference_mode():
        model(pixels(images))
    handle.remove()
    plain = nn.functional.conv2d(inputs[0].clone(), layer.weight.detach(), padding=1)
    torch.testing.assert_close(inputs[1].clone(), plain)
    np.testing.assert_array_equal(seen(model, images)[2], before)


def test_what_cannot_be_measured_is_named(model: nn.Module, images: Dataset) -> None:
    plain = models.build("digits", width=8, in_channels=1, num_classes=10)
    with pytest.raises(InputError, match="the network must quantize its activations"):
        inspection.layer_errors(plain, images)
    with pytest.raises(InputError, match="layer must be one of conv1, .*, not 'conv9'"):
        inspection.activation_samples(model, images, "conv9")
    with pytest.raises(InputError, match="'bn1' must be one whose weights are levels of a grid"):
        inspection.weight_sample(model, "bn1")
    with pytest.raises(InputError, match="layer conv1 must have one scale"):
        inspection.weight_sample(model, "conv1")
