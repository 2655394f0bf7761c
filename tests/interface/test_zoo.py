"""timm's networks go in as they are, and come out as integers that compute the same."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import asq_hw
from tests.helpers import zoo

MEAN, STD = 0.5, 0.25
SIZE = 64


def seen(pixels: Tensor) -> Tensor:
    return (pixels / 255 - MEAN) / STD


@pytest.mark.parametrize(
    ("name", "size", "layers"),
    [
        ("resnet18", SIZE, 21),
        ("resnet34", SIZE, 37),
        ("resnet50", SIZE, 54),
        ("regnetx_002", SIZE, 45),
        ("mobilenetv2_100", SIZE, 53),
        ("efficientnet_lite0", SIZE, 50),
        ("vgg11_bn", 224, 11),  # the size that its weights fix
    ],
)
def test_every_layer_of_it_would_be_quantized(name: str, size: int, layers: int) -> None:
    report = asq_hw.check(zoo.network(name), torch.rand(2, 3, size, size))
    assert report.ok, report.refused
    assert len(report.layers) == layers


@pytest.mark.parametrize(
    ("name", "kinds", "correlation"),
    [
        ("resnet26d", {"average_pool": 3, "add": 8}, 0.999),
        # Untrained, so many layers of single channels make much of every rounding.
        ("mobilenetv3_small_100", {"multiply": 9, "lookup": 28, "add": 6}, 0.9),
    ],
)
def test_it_goes_from_check_to_simulate(
    name: str, kinds: dict[str, int], correlation: float
) -> None:
    first, second = (zoo.images(16, SIZE, seed) for seed in (0, 1))
    model = zoo.network(name, seen(first))
    assert asq_hw.check(model, seen(first[:2])).ok
    quantized = asq_hw.prepare(model, seen(first[:2]))
    asq_hw.calibrate(quantized, [seen(first)])
    net = asq_hw.export(quantized, mean=MEAN, std=STD, reference=[seen(second)])
    found = [layer.kind for layer in net.layers]
    assert {kind: found.count(kind) for kind in kinds} == kinds
    result = asq_hw.simulate(net, second)
    with torch.no_grad():
        scores = quantized(seen(second)).double()
    integers = torch.from_numpy(result.scores).double()
    together = torch.stack([integers.flatten(), scores.flatten()])
    assert float(torch.corrcoef(together)[0, 1]) > correlation
    assert result.agreement is not None
    compared = asq_hw.compare(model, quantized, net, [seen(second)])
    for layer in compared.layers[1:]:  # integers cost less than the codes of eight bits do
        is_constant = layer.quantized == math.inf  # a branch that begins as nothing
        assert is_constant or layer.integer_alone > layer.quantized + 3, layer
