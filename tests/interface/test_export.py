"""export, simulate, overhead: integers of one's own network, that compute what it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import fx

import asq_hw
from asq_hw import oracle
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError
from tests.helpers.own_networks import MEAN, STD, OwnNet, drawn_pixels, labeled, seen

PIXELS = drawn_pixels()
NAMES = ("a", "b", "c", "d")


def made(**settings: Any) -> fx.GraphModule:
    torch.manual_seed(0)
    quantized = asq_hw.prepare(OwnNet(), seen(PIXELS[:2]), **settings)
    asq_hw.calibrate(quantized, labeled(PIXELS))
    return quantized


@pytest.fixture(scope="module")
def quantized() -> fx.GraphModule:
    return made(weights="post", activations="asq", bits=4)


def test_integers_predict_what_the_quantized_network_does(
    quantized: fx.GraphModule, tmp_path: Path
) -> None:
    net = asq_hw.export(
        quantized, mean=MEAN, std=STD, classes=NAMES, reference=labeled(PIXELS), name="mine"
    )
    with torch.no_grad():
        scores = quantized(seen(PIXELS))
    ((key, kept),) = net.references.items()
    assert key.startswith("reference-") and kept.tolist() == scores.argmax(1).tolist()
    exact = oracle.run(net, PIXELS)[net.outputs[0].layer].reshape(len(PIXELS), -1)
    unit = 2.0 ** -net.feature_maps()[net.outputs[0].layer].format.fraction_bits
    together = np.stack([(exact * unit).ravel(), scores.numpy().ravel()])
    assert np.corrcoef(together)[0, 1] > 0.999

    result = asq_hw.simulate(net, labeled(PIXELS, batch_size=7))
    assert np.array_equal(result.scores, exact)
    labels = torch.cat([label for _, label in labeled(PIXELS)]).numpy()
    assert result.top1 == np.mean(exact.argmax(1) == labels)
    assert result.agreement == np.mean(exact.argmax(1) == kept)

    net.save(tmp_path / "own.asq")
    again = asq_hw.load(tmp_path / "own.asq")
    again.save(tmp_path / "again.asq")
    assert (tmp_path / "own.asq").read_bytes() == (tmp_path / "again.asq").read_bytes()
    assert (net.name, again.classes) == ("mine", NAMES)
    assert net.metadata["weights"] == "post, 4 bits" and net.metadata["model"] == "OwnNet"


def test_images_are_taken_in_every_form(quantized: fx.GraphModule, tmp_path: Path) -> None:
    net = asq_hw.export(quantized, mean=MEAN, std=STD, reference=labeled(PIXELS))
    net.save(tmp_path / "own.asq")
    labels = np.concatenate([label.numpy() for _, label in labeled(PIXELS)])
    images = Dataset(name="x", images=PIXELS, labels=labels, classes=(), mean=0.5, std=0.5)
    results = [
        asq_hw.simulate(net, PIXELS, labels),
        asq_hw.simulate(net, torch.from_numpy(PIXELS), torch.from_numpy(labels), threads=1),
        asq_hw.simulate(tmp_path / "own.asq", images),
        asq_hw.simulate(str(tmp_path / "own.asq"), seen(PIXELS), labels.tolist()),
    ]
    assert len({(r.top1, r.agreement, r.scores.tobytes()) for r in results}) == 1
    assert results[0].agreement is not None and results[0].top1 is not None
    part = asq_hw.simulate(net, PIXELS[:5])  # other images, and no labels
    assert (part.top1, part.agreement) == (None, None)


def test_another_process_exports_the_same_from_a_state_dict(quantized: fx.GraphModule) -> None:
    torch.manual_seed(1)
    twin = asq_hw.prepare(OwnNet(), seen(PIXELS[:2]), weights="post", activations="asq", bits=4)
    twin.load_state_dict(quantized.state_dict())
    net = asq_hw.export(twin, mean=MEAN, std=STD, reference=seen(PIXELS))
    first = asq_hw.export(quantized, mean=MEAN, std=STD)
    scores = [asq_hw.simulate(each, PIXELS).scores for each in (net, first)]
    assert np.array_equal(*scores)


def test_overhead_counts_the_adapters(quantized: fx.GraphModule, tmp_path: Path) -> None:
    net = asq_hw.export(quantized, mean=MEAN, std=STD)
    net.save(tmp_path / "own.asq")
    rows = asq_hw.overhead(net, bits=[2, 4]).rows
    assert [row.bits for row in rows] == [2, 4]
    # Two adapted layers of 8 channels: 8 x 2 and 2 weights each.
    assert rows[0].as_dict()["adapter_weights"] == 2 * (8 * 2 + 2)
    assert asq_hw.overhead(tmp_path / "own.asq", [4]).rows[0] == rows[1]
    assert asq_hw.overhead("resnet18", [4]).network == "resnet18"
    with pytest.raises(InputError, match="convention must be one of paper, stored, not 'all'"):
        asq_hw.overhead(net, convention="all")


def test_classes_of_a_data_set_are_looked_up_by_name(quantized: fx.GraphModule) -> None:
    labels = np.arange(24) % 4
    plain = asq_hw.simulate(asq_hw.export(quantized, mean=MEAN, std=STD), PIXELS, labels)
    net = asq_hw.export(quantized, mean=MEAN, std=STD, classes=NAMES)
    data = Dataset(
        name="x", images=PIXELS, labels=3 - labels, classes=NAMES[::-1], mean=0.5, std=0.5
    )
    assert 0 < plain.top1 < 1 and asq_hw.simulate(net, data).top1 == plain.top1
    with pytest.raises(InputError, match="x must have the classes that the network was trained"):
        asq_hw.simulate(net, replace(data, classes=("a", "b", "c", "e")))
    few = replace(data, labels=labels % 2, classes=NAMES[:2])
    with pytest.raises(InputError, match="x has 2 classes, and mine does not name its own 4"):
        asq_hw.simulate(asq_hw.export(quantized, mean=MEAN, std=STD, name="mine"), few)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mean": 0.45}, "whole pixels 0..255, and with mean 0.45, 0.45, 0.45 and std"),
        ({"mean": (0.9, 0.4, 0.3)}, r"images must be \(pixel / 255 - mean\) / std"),
        ({"std": 0.0}, "std must be at least"),
        ({"std": (0.1, 0.2)}, "std must hold one number for each of 3 channels, not 2"),
        ({"mean": "half"}, "mean must be numbers, not 'half'"),
        ({"mean": (0.1, torch.nan, 0.1)}, "mean must be finite"),
        ({"classes": ("a", "b")}, "a network of 4 scores must have as many classes, not 2"),
        ({"classes": ("a", "b", "c", "a")}, "must be used once, not twice: 'a'"),
        ({"reference": []}, "the loader yields nothing"),
        ({"reference": [seen(PIXELS) + 0.01]}, "round its images to 8 bits"),
        ({"reference": [seen(PIXELS.clip(9, 99)) + 0.01]}, "whole pixels 0..255, .*one is"),
        ({"reference": [seen(drawn_pixels(size=9))]}, r"shape \(3, 8, 8\), not \(3, 9, 9\)"),
    ],
)
def test_what_does_not_fit_is_one_line(
    quantized: fx.GraphModule, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        asq_hw.export(quantized, **({"mean": MEAN, "std": STD} | settings))
    assert "\n" not in str(caught.value)


def test_what_was_not_calibrated_is_not_exported() -> None:
    fresh = asq_hw.prepare(OwnNet(), seen(PIXELS[:2]))
    with pytest.raises(InputError, match="must be calibrated before export"):
        asq_hw.export(fresh, mean=MEAN, std=STD, reference=labeled(PIXELS))
    with pytest.raises(InputError, match="must be calibrated before it is compared"):
        asq_hw.compare(OwnNet(), fresh, "x.asq", labeled(PIXELS))
    fresh.train()
    fresh(seen(PIXELS))  # a loop of one's own
    with pytest.raises(InputError, match="export needs images to choose formats from"):
        asq_hw.export(fresh, mean=MEAN, std=STD)
    with pytest.raises(InputError, match="export takes a network that asq_hw.prepare made"):
        asq_hw.export(OwnNet(), mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (PIXELS[:, :, :4], None, r"images must be \(N, 3, 8, 8\), not \(24, 3, 4, 8\)"),
        (PIXELS[:0], None, "there must be at least one image"),
        (PIXELS, [0, 1], r"labels must be one integer for each of 24 images, not int64 \(2,\)"),
        (PIXELS, [0.5] * 24, "labels must be one integer for each of 24 images, not float64"),
        ([], None, "the loader yields nothing"),
        (PIXELS, [4] * 24, r"labels must be 0\.\.3 for 4 scores, not 4"),
        (PIXELS, [-1] * 24, r"labels must be 0\.\.3 for 4 scores, not -1"),
        ([*labeled(PIXELS), seen(PIXELS)], None, "batch 3 of the loader must have labels, as the"),
        (PIXELS.astype(np.int16), None, "images must be a uint8 array, not int16"),
        (PIXELS.astype(np.float32), None, r"images must be \(pixel / 255 - mean\) / std"),
    ],
)
def test_images_that_are_none(
    quantized: fx.GraphModule, images: Any, labels: Any, said: str
) -> None:
    net = asq_hw.export(quantized, mean=MEAN, std=STD)
    with pytest.raises(InputError, match=said):
        asq_hw.simulate(net, images, labels)


def test_a_network_is_one_or_a_file() -> None:
    with pytest.raises(InputError, match="an integer network or a model file, not OwnNet"):
        asq_hw.simulate(OwnNet(), PIXELS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"none\.asq"):
        asq_hw.simulate("none.asq", PIXELS)


def test_adapters_of_narrow_layers_have_room_for_their_bias() -> None:
    """Below 8 channels an adapter has one layer: its weights, hardly begun, count in tiny units."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 4, 4)
    )
    with torch.no_grad():
        model[0].weight.mul_(1e-3)  # small values: many fraction bits
        model[0].bias.mul_(1e-3)
    quantized = asq_hw.prepare(model, activations="asq")
    asq_hw.calibrate(quantized, seen(PIXELS))
    net = asq_hw.export(quantized, mean=MEAN, std=STD, reference=seen(PIXELS))
    assert asq_hw.simulate(net, PIXELS).agreement >= 0.95  # type: ignore[operator]
