"""compare: three networks side by side, each number found a second way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import asq_hw
from asq_hw.errors import InputError
from tests.helpers.own_networks import MEAN, STD, OwnNet, drawn_pixels, labeled, seen
from tests.interface.test_export import PIXELS, made


def decibels(wanted: Tensor, found: Tensor) -> float:
    signal, noise = wanted.double().square().sum(), (found - wanted).double().square().sum()
    return 10 * math.log10(float(signal / noise))


def test_every_number_is_found_a_second_way() -> None:
    torch.manual_seed(0)
    model = OwnNet()
    quantized = made(bits=3, edge_bits=4)  # of the same weights
    net = asq_hw.export(quantized, mean=MEAN, std=STD)
    images = drawn_pixels(30, seed=4)
    found = asq_hw.compare(model, quantized, net, labeled(images))
    x, labels = seen(images), torch.cat([label for _, label in labeled(images)])
    with torch.no_grad():
        real, fake = model.eval()(x), quantized(x)
    result = asq_hw.simulate(net, images)
    unit = 2.0 ** -net.feature_maps()[net.outputs[0].layer].format.fraction_bits
    integer = torch.from_numpy(result.scores) * unit
    assert found.images == 30
    for share, scores in (
        (found.float_top1, real),
        (found.quantized_top1, fake),
        (found.integer_top1, integer),
    ):
        assert share == pytest.approx(float((scores.argmax(1) == labels).double().mean()))
    agreement = (real.argmax(1) == fake.argmax(1)).double().mean()
    assert found.quantized_agreement == pytest.approx(float(agreement))
    assert found.integer_agreement == np.mean(real.argmax(1).numpy() == result.predictions)
    assert found.integer_alone_agreement == np.mean(fake.argmax(1).numpy() == result.predictions)
    assert [layer.name for layer in found.layers] == [layer.name for layer in net.layers]
    last = found.layers[-1]
    assert last.quantized == pytest.approx(decibels(real, fake), abs=0.01)
    assert last.integer == pytest.approx(decibels(real, integer), abs=0.01)
    assert last.integer_alone == pytest.approx(decibels(fake, integer), abs=0.01)
    assert found.layers[0].quantized == math.inf  # pixels are not quantized
    assert "integer" in str(found) and str(found).count("\n") == 2 + len(found.layers)


def test_a_norm_without_statistics_has_those_of_the_example() -> None:
    """Whatever images are compared on: they are much darker here."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(216, 4))
    images = drawn_pixels(30, seed=4)
    quantized = asq_hw.prepare(model.eval(), seen(images))
    asq_hw.calibrate(quantized, [seen(images)])
    net = asq_hw.export(quantized, mean=MEAN, std=STD)
    found = asq_hw.compare(model, quantized, net, [seen(images // 8)])
    assert min(layer.quantized for layer in found.layers) > 20


def test_networks_that_are_not_one() -> None:
    quantized = made()
    net = asq_hw.export(quantized, mean=MEAN, std=STD)
    other = nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten())
    with pytest.raises(InputError, match="Sequential must be what the quantized network was made"):
        asq_hw.compare(other, quantized, net, labeled(PIXELS))
    twin = asq_hw.prepare(other)
    asq_hw.calibrate(twin, labeled(PIXELS))
    with pytest.raises(InputError, match="must be that of the quantized network"):
        asq_hw.compare(other, twin, net, labeled(PIXELS))
    many = [(seen(PIXELS), torch.full((24,), 4))]
    with pytest.raises(InputError, match=r"labels must be 0\.\.3 for 4 scores, not 4"):
        asq_hw.compare(OwnNet(), quantized, net, many)
    with pytest.raises(InputError, match="the loader yields nothing"):
        asq_hw.compare(OwnNet(), quantized, net, [])
