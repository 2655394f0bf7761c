"""The log-linear adapter: its formula by hand, its first batch, and its step in integers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("sklearn")

from asq_hw import datasets, oracle
from asq_hw.network.layers import Conv
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.train import models, recipes
from asq_hw.train.batch_norm import freeze_batch_norm
from asq_hw.train.data.batches import normalize
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.log_linear import LogLinearAdapter


def drawn(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def adapter_of(weight: list[float], mean: list[float], deviation: list[float]) -> LogLinearAdapter:
    adapter = LogLinearAdapter(len(weight))
    with torch.no_grad():
        adapter.weight.copy_(torch.tensor(weight))
    adapter.mean.copy_(torch.tensor(mean))
    adapter.deviation.copy_(torch.tensor(deviation))
    return adapter.eval()


def test_log_linear_by_hand() -> None:
    """Means 3 and 1: slopes 1 and -1/2 (127 and -63.5, so -64, of 1/127).

    With mean 2 and 0 taken away: 127 * 1 - 64 * 1 = 63, so 2^(63 / 127 + 1/4).
    """
    adapter = adapter_of([2.0, -0.25], [2.0, 0.0], [2.0, 0.5])
    nn.init.constant_(adapter.bias, 0.25)
    x = torch.tensor([[[[2.0, 4.0]], [[0.0, 2.0]]]])
    assert adapter(x).item() == pytest.approx(2 ** (63 / 127 + 0.25), rel=1e-6)
    assert adapter(x.mean(dim=(2, 3))).item() == adapter(x).item()


def test_its_gradients_are_those_of_the_formula() -> None:
    """d beta / d b = ln 2 * beta; d beta / d w_c is that times the standardized mean."""
    adapter = adapter_of([1.0, 0.5], [2.0, 0.0], [2.0, 0.5])
    beta = adapter(torch.tensor([[3.0, 1.0]]))
    to_bias, to_weight = torch.autograd.grad(beta.sum(), [adapter.bias, adapter.weight])
    assert to_bias.item() == pytest.approx(math.log(2) * beta.item())
    expected = [math.log(2) * beta.item() * z for z in ((3 - 2) / 2, (1 - 0) / 0.5)]
    assert to_weight.tolist() == pytest.approx(expected)


def test_it_stays_between_a_64th_and_64() -> None:
    adapter = adapter_of([1.0], [0.0], [1.0])
    assert adapter(torch.tensor([[-50.0], [50.0]])).tolist() == [1 / 64, 64]


def test_it_comes_back_from_its_ends_and_is_not_driven_beyond() -> None:
    """Descent on -beta raises it from 1/64; descent on beta would drive it further below."""
    adapter = adapter_of([1.0], [0.0], [1.0])
    low, high = torch.tensor([[-50.0]]), torch.tensor([[50.0]])
    for means, sign, expected in (
        (low, -1, -math.log(2) / 64),
        (low, 1, 0),
        (high, 1, math.log(2) * 64),
        (high, -1, 0),
    ):
        (gradient,) = torch.autograd.grad((sign * adapter(means)).sum(), adapter.bias)
        assert gradient.item() == pytest.approx(expected)


def test_the_first_batch_standardizes() -> None:
    """Mean and deviation of each channel's mean, that times the root of 3 channels.

    A still channel's deviation is a tenth of the root mean square.
    """
    quantizer = ActivationQuantizer(bits=4, signed=True, adapter=LogLinearAdapter(3))
    adapter = quantizer.adapter
    assert isinstance(adapter, LogLinearAdapter)
    means = torch.tensor([[1.0, 10.0, 5.0], [3.0, 30.0, 5.0]])
    quantizer(means[:, :, None, None].expand(2, 3, 4, 4) + torch.tensor([-1.0, 0, 0, 1]))
    assert adapter.mean.tolist() == [2, 20, 5]
    least = 0.1 * math.sqrt((1 + 100 + 0) / 3)
    root = math.sqrt(3)
    assert adapter.deviation.tolist() == pytest.approx([root, 10 * root, least * root])
    quantizer(2 * means[:, :, None, None].expand(2, 3, 4, 4))
    assert adapter.mean.tolist() == pytest.approx([2.2, 22, 5.5])  # a tenth of the way
    freeze_batch_norm(quantizer)
    quantizer(means[:, :, None, None].expand(2, 3, 4, 4))
    assert adapter.mean.tolist() == pytest.approx([2.2, 22, 5.5])


def test_one_image_alone_leaves_the_means_as_they_are() -> None:
    adapter = LogLinearAdapter(4)
    adapter.start(torch.ones(1, 4))
    assert adapter.deviation.tolist() == [2] * 4  # of 1, times the root of 4


def test_it_starts_at_one_and_has_one_number_for_each_channel_and_one() -> None:
    adapter = LogLinearAdapter(16, start=0.0)
    assert adapter(drawn(5, 16, 3, 3)).tolist() == [1.0] * 5
    assert sum(parameter.numel() for parameter in adapter.parameters()) == 17


def test_integer_steps_follow_the_adapter() -> None:
    """Within the roundings of the exponent: of the function and of the offset, a half each."""
    torch.manual_seed(7)
    images = datasets.load("digits", split="train").first(64)
    x = normalize(torch.from_numpy(images.images.copy()), mean=images.mean, std=images.std)
    changes = {"adapter": "log-linear", "width": 8}
    recipe = recipes.load("digits-asq-post-w4a4", changes)
    model = quantize(models.build("digits", width=8, in_channels=1, num_classes=10), recipe)
    with torch.no_grad():
        model(x)
        for name, parameter in model.named_parameters():
            if name.endswith("adapter.weight"):
                nn.init.normal_(parameter, std=0.2)
    network = export_network(model.eval(), recipe, images)
    layer = next(layer for layer in network.layers if layer.name == "conv2")
    assert isinstance(layer, Conv) and isinstance(layer.quantizer.step, LogLinearStep)
    traced = oracle.trace(network, images.images[:5])
    fraction_bits = network.feature_maps()[layer.source].format.fraction_bits
    source = torch.from_numpy(traced.feature_maps[layer.source] / 2.0**fraction_bits).float()
    quantizer = model.get_submodule("conv2").activation_quantizer
    with torch.inference_mode():
        expected = quantizer.steps(source).numpy()
    assert expected.std() / expected.mean() > 0.03
    found = traced.steps["conv2"] / 2.0 ** (fraction_bits + layer.quantizer.step_fraction_bits)
    np.testing.assert_allclose(found, expected, rtol=2 ** (1.1 / 256) - 1)
