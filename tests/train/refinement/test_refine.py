"""Post-training quantization as a whole: it begins anew, or changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import asq_hw
from asq_hw.errors import InputError
from asq_hw.train.refinement.refine import _divided
from tests.interface.test_prepare import plain
from tests.train.refinement.test_correction import IMAGES, Net

FULL: dict[str, Any] = {"rounding": "adaptive", "equalize": True}


def prepared(**how: Any) -> Any:
    return asq_hw.prepare(Net().eval(), IMAGES[:2], **{"bits": 3, "edge_bits": 4, **how})


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return list(states[0]) == list(states[1]) and all(
        torch.equal(value, states[1][name]) for name, value in states[0].items()
    )


def test_a_second_calibration_is_as_if_it_were_the_first() -> None:
    fresh, again = prepared(), prepared()
    asq_hw.calibrate(again, [IMAGES], **FULL)
    assert not same(fresh, again)
    asq_hw.calibrate(fresh, [IMAGES])
    for made in (again, copy.deepcopy(again)):
        asq_hw.calibrate(made, [IMAGES])
        assert same(fresh, made)


def test_what_was_trained_since_is_not_taken_back() -> None:
    made = prepared()
    asq_hw.calibrate(made, [IMAGES], **FULL)
    with torch.no_grad():
        made.fc.weight.add_(0.25)
    trained = made.fc.weight.clone()
    asq_hw.calibrate(made, [IMAGES], correction="none")
    assert torch.equal(made.fc.weight, trained)
    assert torch.equal(made.bare.weight, Net().bare.weight)


def test_what_is_refused_changes_nothing() -> None:
    made = prepared(layers={"fc": {"weights": "dorefa", "bits": 4}})
    asq_hw.calibrate(made, [IMAGES])
    before = copy.deepcopy(made)
    with pytest.raises(InputError, match="layer fc: adaptive rounding needs weights whose levels"):
        asq_hw.calibrate(made, [2 * IMAGES], **FULL)
    assert same(made, before)

    def broken() -> Any:
        yield IMAGES
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        asq_hw.calibrate(made, broken(), equalize=True)
    assert same(made, before)


def test_all_together_follow_floating_point_more_closely() -> None:
    wanted, errors = Net().eval()(IMAGES), []
    settings: list[dict[str, Any]] = [{"correction": "none"}, {}, {"rounding": "adaptive"}]
    for how in settings:
        made = prepared(edge_bits=8)
        asq_hw.calibrate(made, [IMAGES], **how)
        errors.append(float((made(IMAGES) - wanted).detach().square().sum()))
    assert errors[2] < 0.9 * errors[1] < 0.8 * errors[0], errors


@pytest.mark.parametrize("weights", ["lsq", "post"])
def test_integers_compute_what_the_refined_network_does(weights: str) -> None:
    pixels = torch.randint(0, 256, (40, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    images = pixels / 255
    made = prepared(weights=weights)
    asq_hw.calibrate(made, [images], **FULL)
    net = asq_hw.export(made, mean=0.0, std=1.0, reference=[images])
    found = asq_hw.simulate(net, pixels.to(torch.uint8).numpy())
    assert found.agreement == 1
    with torch.no_grad():
        scores = made(images)
    ours = torch.from_numpy(found.scores.copy()).double()
    both = torch.stack([ours.flatten(), scores.double().flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.999


def test_random_numbers_modes_and_the_callers_images_stay() -> None:
    made, images = prepared(), IMAGES.clone()
    made.norm.train()
    random = torch.random.get_rng_state()
    asq_hw.calibrate(made, [images], **FULL)
    assert made.norm.training and not made.training
    assert torch.equal(images, IMAGES)
    assert torch.equal(torch.random.get_rng_state(), random)


def test_many_small_images_or_a_few_large_ones_are_refined_with() -> None:
    sizes = [
        [len(part) for part in _divided(torch.zeros(shape))]
        for shape in ((128, 3, 32, 32), (128, 1, 224, 224), (20, 1, 224, 224), (40, 1, 500, 500))
    ]
    assert sizes == [[64, 64], [16, 16], [10, 10], [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rounding": "up"}, "rounding must be one of nearest, adaptive, not 'up'"),
        ({"correction": True}, "correction must be one of none, bias, batch-norm, not True"),
        ({"equalize": "yes"}, "equalize must be True or False, not 'yes'"),
    ],
)
def test_settings_that_are_none(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        asq_hw.calibrate(asq_hw.prepare(plain()), [IMAGES], **settings)
