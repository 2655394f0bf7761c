"""Corrections: what quantization does to the statistics of a layer's outputs is given back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asq_hw
from asq_hw.train.calibration import quantized_layers
from tests.interface.test_prepare import layer


class Net(nn.Module):
    """Convolutions with batch norm and without, and with none of both batch norm and a bias."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3)
        self.normed = nn.Conv2d(8, 8, 3, groups=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.bare = nn.Conv2d(8, 6, 1, bias=False)
        self.fc = nn.Linear(6, 4, bias=False)
        for tensor in (self.norm.running_mean, self.norm.weight, self.norm.bias):
            assert tensor is not None
            nn.init.normal_(tensor, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.normed(torch.relu(self.first(x)))))
        return self.fc(torch.relu(self.bare(x)).mean((2, 3)))


IMAGES = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.5


def outputs(model: nn.Module) -> dict[str, Tensor]:
    """What follows each layer's sums and what stands behind them: batch norm, or a bias."""
    found: dict[str, Tensor] = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _, __, y, name=name: found.__setitem__(name, y.detach())
        )
        for name in ("first", "norm", "bare", "fc")
    ]
    model(IMAGES)
    for handle in handles:
        handle.remove()
    return {name: y.transpose(0, 1).flatten(1) for name, y in found.items()}


def calibrated(correction: str, **how: Any) -> nn.Module:
    made = asq_hw.prepare(Net().eval(), IMAGES[:2], bits=3, edge_bits=4)
    asq_hw.calibrate(made, [IMAGES], correction=correction, **how)
    return made


def off(found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """How far means and deviations are off, in deviations."""
    deviation = wanted.std(1)
    mean = (found.mean(1) - wanted.mean(1)).abs() / deviation
    return float(mean.max()), float((found.std(1) / deviation).log2().abs().max())


@pytest.mark.parametrize("rounding", ["nearest", "adaptive"])
@pytest.mark.parametrize("correction", ["bias", "batch-norm"])
def test_means_and_deviations_are_those_in_floating_point(correction: str, rounding: str) -> None:
    wanted, found = outputs(Net().eval()), outputs(calibrated(correction, rounding=rounding))
    plain = outputs(calibrated("none", rounding=rounding))
    for name in wanted:
        mean, deviation = off(found[name], wanted[name])
        assert mean < 1e-4 < 0.02 < off(plain[name], wanted[name])[0], name
        is_given_back = name == "norm" and correction == "batch-norm"
        assert (deviation < 1e-3) == is_given_back, name


def test_batches_add_up_to_what_all_images_give() -> None:
    images = torch.cat([IMAGES, IMAGES + 0.1 * torch.randn(IMAGES.shape)])
    made = asq_hw.prepare(Net().eval(), IMAGES[:2], bits=4)
    asq_hw.calibrate(made, images.split(9))  # 80 of them go in two batches of 40
    scores = [model(images).mean(0).detach() for model in (made, Net().eval())]
    assert torch.allclose(scores[0], scores[1], atol=0.02 * float(scores[1].abs().max()))


def test_a_layer_without_means_behind_it_gets_a_bias_that_is_loaded_again() -> None:
    made = calibrated("bias")
    assert layer(made, "normed").bias is None
    again = asq_hw.prepare(Net().eval(), IMAGES[:2], bits=3, edge_bits=4)
    assert all(not layer(again, name).bias.any() for name in ("bare", "fc"))  # type: ignore[union-attr]
    again.load_state_dict(made.state_dict())
    assert torch.equal(again(IMAGES), made(IMAGES))


class Shared(nn.Module):
    """One batch norm behind two convolutions, whose outputs have other means."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.two(torch.relu(self.norm(self.one(x))))).flatten(1)


def test_a_batch_norm_of_two_layers_stays_as_it_is() -> None:
    made = asq_hw.prepare(Shared().eval(), bits=3, edge_bits=3)
    statistics = {name: value.clone() for name, value in made.norm.state_dict().items()}
    asq_hw.calibrate(made, [IMAGES])
    now = made.norm.state_dict()
    assert all(torch.equal(now[name], statistics[name]) for name in statistics)
    wanted, found = (model(IMAGES).detach() for model in (Shared().eval(), made))
    means = (found - wanted).view(40, 4, -1).mean((0, 2)).abs()
    assert float(means.max()) < 1e-4 * float(wanted.abs().max())


def test_channels_that_never_move_keep_their_statistics() -> None:
    model = Net().eval()
    with torch.no_grad():
        model.normed.weight[2] = 0
        model.norm.running_var[2] = 0
    made = asq_hw.prepare(model, IMAGES[:2], bits=3)
    before = made.norm.running_mean[2].clone(), made.norm.running_var[2].clone()
    asq_hw.calibrate(made, [IMAGES])
    assert float(made.norm.running_var.min()) >= 0
    assert (made.norm.running_mean[2], made.norm.running_var[2]) == before


def test_every_layer_is_corrected_once() -> None:
    made = calibrated("bias")
    assert set(quantized_layers(made)) == {"first", "normed", "bare", "fc"}
    assert not any(module._forward_hooks for module in made.modules())
