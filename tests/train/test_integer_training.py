"""The last epochs in integers: what trains then is what is exported, to the bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from asq_hw import datasets
from asq_hw.errors import InputError
from asq_hw.sim import simulate
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.data.batches import normalize
from asq_hw.train.evaluation import predict
from asq_hw.train.export.forward import (
    compute_in_integers,
    in_floating_point,
    ranges_of,
)
from asq_hw.train.export.network import export_network
from asq_hw.train.inspection import block_outputs, constant_beta
from asq_hw.train.measurement import measure
from asq_hw.train.run.folder import LAST
from asq_hw.train.run.progress import Progress
from asq_hw.train.run.training import train

pytest.importorskip("sklearn")

IN_INTEGERS = [
    "width=4",
    "training_images=512",
    "epochs=2",
    "freeze_bn_epochs=1",
    "integer_epochs=1",
    "crop_padding=1",
]


def recipe_of(*changes: str, name: str = "digits-asq-post-w4a4") -> recipes.Recipe:
    return recipes.load(name, [*IN_INTEGERS, *changes])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("integers")
    train(recipe_of(), output=output, threads=1)
    return output / LAST


def exported(checkpoint: Path, **options: Any) -> Any:
    """A checkpoint's network and its recipe, its integers, and the test images."""
    saved = checkpoints.load(checkpoint)
    model, images = saved.build_model(), datasets.load("digits")
    calibration = datasets.load("digits", split="train", limit=64)
    network = export_network(
        model, saved.recipe, calibration, [images], images=saved.images, **options
    )
    return model, network, images


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["product=post-dual"],
        ["weights=lsq", "adapter=log-linear"],
        ["weights=pot", "activations=lsq"],
        ["weights=apot", "activations=shared-exponent"],
        ["weights=lsq", "activations=asq-constant", "per_channel=true"],
        ["activations=pact", "weights=dorefa"],
        ["adapter_block=block*"],
        ["edge_weights=min-max"],
    ],
    ids=" ".join,
)
def test_the_integers_give_the_trained_network_s_scores(changes: list[str], tmp_path: Path) -> None:
    train(recipe_of(*changes), output=tmp_path, threads=1)
    model, network, images = exported(tmp_path / LAST)
    x = normalize(torch.from_numpy(np.array(images.images)), mean=images.mean, std=images.std)
    with torch.inference_mode():
        scores = model(x).double().numpy()
    found = simulate(network, images.images).scores
    unit = 2.0 ** -network.feature_maps()[network.layers[-1].name].format.fraction_bits
    assert np.array_equal(found, scores / unit)
    assert np.ptp(found, axis=1).min() > 10


def test_in_floating_point_the_same_weights_give_other_scores(trained: Path) -> None:
    """So that the equality above says something."""
    model, _, images = exported(trained)
    x = normalize(torch.from_numpy(np.array(images.images)), mean=images.mean, std=images.std)
    with torch.inference_mode():
        integers = model(x)
        with in_floating_point(model):
            real = model(x)
        assert torch.equal(model(x), integers)
    assert not torch.equal(real, integers)
    assert float((real - integers).abs().max()) < 0.5 * float(real.std())


def test_it_learns_in_integers(tmp_path: Path) -> None:
    losses = []

    def note(progress: Progress) -> None:
        losses.append((progress.epoch, progress.loss))

    changes = ["epochs=4", "freeze_bn_epochs=3", "integer_epochs=3", "learning_rate=0.1"]
    train(recipe_of(*changes), output=tmp_path, threads=1, report=note)
    last = {epoch: loss for epoch, loss in losses}
    assert last[4] < last[3] < last[2]
    assert ranges_of(checkpoints.load_model(tmp_path / LAST)[0]) is not None


def test_gradients_are_nearly_those_of_floating_point(trained: Path) -> None:
    """Every operation passes on what it got; that codes differ moves it a little."""
    model, _, images = exported(trained)
    x = normalize(torch.from_numpy(np.array(images.images)), mean=images.mean, std=images.std)
    labels = torch.from_numpy(np.array(images.labels))

    def gradient() -> torch.Tensor:
        model.zero_grad()
        functional.cross_entropy(model(x), labels).backward()
        return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])

    found = gradient()
    with in_floating_point(model):
        wanted = gradient()
    assert not torch.equal(found, wanted)
    assert float(functional.cosine_similarity(found, wanted, dim=0)) > 0.98


def test_a_run_interrupted_in_its_integers_resumes_to_the_same_bits(tmp_path: Path) -> None:
    recipe = recipe_of("epochs=3", "integer_epochs=2", "freeze_bn_epochs=2")

    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.batch) == (3, 2):
            raise KeyboardInterrupt

    train(recipe, output=tmp_path / "whole", threads=1)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, output=tmp_path / "stopped", threads=1, report=interrupt)
    train(recipe, output=tmp_path / "stopped", threads=1, resume=True)
    whole, stopped = (checkpoints.load(tmp_path / run / LAST) for run in ("whole", "stopped"))
    assert whole.accuracy == stopped.accuracy
    for name, weight in whole.weights.items():
        assert torch.equal(weight, stopped.weights[name]), name
    assert whole.ranges is not None
    assert stopped.ranges is not None
    assert str(whole.ranges.to_plain()) == str(stopped.ranges.to_plain())


def test_epochs_before_do_not_compute_in_integers(tmp_path: Path) -> None:
    def look(progress: Progress) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    recipe = recipe_of("epochs=3")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, output=tmp_path, threads=1, report=look)
    saved = checkpoints.load(tmp_path / LAST)
    assert saved.epoch == 1
    assert saved.ranges is None


def test_export_keeps_the_formats_of_training(trained: Path) -> None:
    """Whatever images it is given to choose them from."""
    saved = checkpoints.load(trained)
    some = datasets.load("digits", split="train", limit=64)
    dark = replace(some, images=np.zeros_like(some.images))
    network = export_network(saved.build_model(), saved.recipe, dark, images=saved.images)
    _, other, _ = exported(trained)
    assert [made.format for made in network.feature_maps().values()] == [
        made.format for made in other.feature_maps().values()
    ]


def test_new_weights_are_new_integers(trained: Path) -> None:
    model, _, images = exported(trained)
    before = predict(model, images)
    with torch.no_grad():
        model.fc.weight.neg_()
    assert (predict(model, images) != before).mean() > 0.5


def test_inspection_looks_at_floating_point(trained: Path) -> None:
    """Hooks on blocks do not run where operations are computed one by one."""
    model, _, images = exported(trained)
    with pytest.raises(InputError, match="beta cannot be held in a network that has trained in in"):
        measure(model, images, hold_beta=True)
    with pytest.raises(InputError, match="beta cannot be held"), constant_beta(model, {}):
        pass
    recipe = recipes.load(
        "fashion-mnist-resnet20-asq-post-w4a4",
        ["dataset=digits", "width=2", "precision=float32", "epochs=1", "integer_epochs=1"],
    )
    train(recipe, output=trained.parent / "resnet", threads=1)
    resnet, _ = checkpoints.load_model(trained.parent / "resnet" / LAST)
    few = datasets.load("digits", limit=8)
    assert len(block_outputs(resnet, few)) == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["integer_epochs=2"], "integer_epochs must be at most freeze_bn_epochs, 1: batch norm is"),
        (
            ["freeze_bn_epochs=2", "integer_epochs=2", "early_epochs=1", "early_crop=6"],
            "integer_epochs must be at most the epochs on whole images, 1, not 2",
        ),
        (["activations=none", "weights=none"], "integer_epochs must be 0 where nothing is quantiz"),
        (["activations=none"], "integer_epochs must be 0 where activations none has no integers"),
        (["precision=bfloat16"], "integer_epochs must be 0 where precision is bfloat16, not 1"),
        (["integer_epochs=-1"], "integer_epochs must be at least 0, not -1"),
    ],
)
def test_recipes_that_cannot_train_in_integers(changes: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe_of(*changes)


def test_a_network_with_two_outputs_is_refused(trained: Path) -> None:
    class Twice(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.conv, self.fc = inner.conv1, inner.fc

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.conv(x)
            return y, torch.relu(y)

    saved = checkpoints.load(trained)
    assert saved.ranges is not None
    assert saved.images is not None
    with pytest.raises(InputError, match="integer_epochs must be 0 for a network that returns se"):
        compute_in_integers(Twice(saved.build_model()), saved.ranges, saved.images)


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    def change(ranges: dict[str, Any]) -> None:
        for part in ("low", "high", "positions"):
            ranges[part].pop(name)

    return change


def _set(part: str, name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda ranges: ranges[part].__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("fc"), "the ranges of the integers must be those of the network's operations"),
        (_set("low", "fc", torch.zeros(10)), "ranges must have a low below the high of fc"),
        (_set("low", "fc", torch.zeros(3)), "ranges must have a low below the high of fc"),
        (_set("low", "fc", torch.full((10,), torch.nan)), "a finite number for each channel"),
        (_set("low", "fc", [1.0]), "damaged"),
        (_set("positions", "fc", 0), "ranges must have 1 to 4294967296 positions"),
        (_set("step", "conv2", float("inf")), "steps and hidden values that are finite"),
        (lambda ranges: ranges.pop("hidden"), "damaged: 'hidden'"),
    ],
)
def test_damaged_ranges_are_refused(
    change: Callable[[dict[str, Any]], None], message: str, trained: Path, tmp_path: Path
) -> None:
    content = torch.load(trained)
    content["ranges"]["high"]["fc"] = torch.full((10,), -1.0, dtype=torch.float64)
    content["ranges"]["low"]["fc"] = torch.full((10,), -2.0, dtype=torch.float64)
    change(content["ranges"])
    torch.save(content, tmp_path / "damaged.pt")
    with pytest.raises(InputError, match=message):
        checkpoints.load(tmp_path / "damaged.pt").build_model()


def test_ranges_without_images_are_refused(trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained)
    content["images"] = None
    torch.save(content, tmp_path / "blind.pt")
    with pytest.raises(InputError, match="must tell the images that its integers are for"):
        checkpoints.load(tmp_path / "blind.pt").build_model()


def test_another_forward_of_somebody_s_own_stays(trained: Path) -> None:
    model = checkpoints.load(trained).build_model()
    with in_floating_point(model):
        plain = model.forward
        model.forward = lambda x: plain(x) + 1
        with in_floating_point(model):
            x = torch.zeros(1, 1, 8, 8)
            assert torch.equal(model(x), plain(x) + 1)
        del model.forward
