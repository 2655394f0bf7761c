"""finetune: SGD as one would write it, on labeled batches."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.nn import functional

import asq_hw
from asq_hw.errors import InputError
from tests.helpers.own_networks import MEAN, STD, OwnNet, drawn_pixels, labeled, seen
from tests.interface.test_calibrate import IMAGES
from tests.interface.test_export import PIXELS, made
from tests.interface.test_prepare import plain


def test_it_is_sgd_on_half_a_cosine() -> None:
    """Two epochs of three batches, against a loop written out."""
    one = asq_hw.prepare(plain(), bits=4)
    asq_hw.calibrate(one, [IMAGES])
    other = copy.deepcopy(one)
    labels = torch.arange(24) % 5
    batches = list(zip(IMAGES.split(8), labels.split(8), strict=True))
    asq_hw.finetune(one, batches, epochs=2, learning_rate=0.02, weight_decay=0.1)
    assert not one.training

    other.train()
    velocity: dict[str, Tensor] = {}
    for step, (x, y) in enumerate(batches * 2):
        rate = 0.01 * (1 + math.cos(math.pi * step / 6))
        other.zero_grad()
        functional.cross_entropy(other(x), y).backward()
        with torch.no_grad():
            for name, parameter in other.named_parameters():
                assert parameter.grad is not None
                decays = name.split(".")[-1] == "weight"
                gradient = parameter.grad + (0.1 * parameter if decays else 0)
                velocity[name] = 0.9 * velocity.get(name, torch.zeros(())) + gradient
                parameter -= rate * velocity[name]
    for name, parameter in one.named_parameters():
        assert torch.allclose(parameter, other.get_parameter(name), rtol=1e-4, atol=1e-6), name


def test_training_lowers_the_loss_and_keeps_batch_norm() -> None:
    quantized = made(weights="post", activations="asq", bits=3)
    before = {k: v.clone() for k, v in quantized.state_dict().items() if "running" in k}
    heard: list[Any] = []
    epochs = asq_hw.finetune(
        quantized, labeled(PIXELS), epochs=6, learning_rate=0.05, report=heard.append
    )
    assert heard == epochs and [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].loss < epochs[0].loss
    assert before and all(torch.equal(quantized.state_dict()[k], v) for k, v in before.items())
    net = asq_hw.export(quantized, mean=MEAN, std=STD, reference=labeled(PIXELS))
    assert asq_hw.simulate(net, PIXELS).agreement >= 0.95  # type: ignore[operator]


def test_a_network_that_was_not_calibrated_starts_from_its_first_batch() -> None:
    quantized = asq_hw.prepare(OwnNet(), seen(PIXELS[:2]))
    asq_hw.finetune(quantized, labeled(PIXELS))
    assert asq_hw.export(quantized, mean=MEAN, std=STD).metadata["calibration"] == "24 images"


@pytest.fixture(scope="module")
def ready() -> fx.GraphModule:
    quantized = asq_hw.prepare(plain())
    asq_hw.calibrate(quantized, [IMAGES])
    return quantized


LABELED = [(IMAGES, torch.zeros(24, dtype=torch.int64))]


@pytest.mark.parametrize(
    ("loader", "settings", "said"),
    [
        ([], {}, "^the loader yields nothing"),
        ([IMAGES], {}, "batch 0 of the loader must be a pair of images and labels"),
        ([(IMAGES, torch.full((24,), 5))], {}, r"labels must be 0\.\.4 for 5 scores, not 5"),
        (iter(LABELED), {"epochs": 2}, "in epoch 2 the loader yields nothing.*a generator"),
        (LABELED, {"epochs": 0}, "epochs must be an integer of at least 1, not 0"),
        (LABELED, {"epochs": 1.5}, "epochs must be an integer of at least 1, not 1.5"),
        (LABELED, {"learning_rate": 0.0}, "learning_rate must be above 0, not 0.0"),
        (LABELED, {"learning_rate": math.nan}, "learning_rate must be above 0, not nan"),
        (LABELED, {"momentum": 1}, r"momentum must be in \[0, 1\), not 1"),
        (LABELED, {"weight_decay": -1}, "weight_decay must be at least 0, not -1"),
        (LABELED * 4, {"learning_rate": 1e30}, "training diverged in epoch 1"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    ready: fx.GraphModule, loader: Any, settings: dict[str, Any], said: str
) -> None:
    quantized = copy.deepcopy(ready)
    with pytest.raises(InputError, match=said) as caught:
        asq_hw.finetune(quantized, loader, **settings)
    assert "\n" not in str(caught.value) and not quantized.training


def test_only_prepared_networks_are_trained() -> None:
    with pytest.raises(InputError, match="finetune takes a network that asq_hw.prepare made"):
        asq_hw.finetune(plain(), labeled(drawn_pixels()))
