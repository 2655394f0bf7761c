"""What eval measures: changed images by hand, betas held and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("sklearn")

from asq_hw import datasets
from asq_hw.cli import main
from asq_hw.errors import InputError
from asq_hw.train import models, recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.data.batches import normalize
from asq_hw.train.data.changes import ImageChange
from asq_hw.train.distributed import Processes
from asq_hw.train.evaluation import predict
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.measurement import measure
from asq_hw.train.recipes import Recipe
from asq_hw.train.run.log import watch_betas

RECIPE = recipes.load("digits-asq-post-w4a4", ["width=8"])


def network(recipe: Recipe = RECIPE) -> nn.Module:
    """A network whose adapters differ from image to image."""
    torch.manual_seed(5)
    model = quantize(models.build("digits", width=8, in_channels=1, num_classes=10), recipe)
    images = datasets.load("digits", split="train", limit=24)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    for name, parameter in model.named_parameters():
        if "adapter" in name and name.endswith("weight"):
            nn.init.normal_(parameter, std=1.0)
    with torch.no_grad():
        pixels = torch.from_numpy(images.images.copy())
        model(normalize(pixels, mean=images.mean, std=images.std))
    return model.eval()


def test_a_change_by_hand() -> None:
    """40 and 105 by 1/2: 20 and 52.5, their mean 36.25; then half the distance from that."""
    images = torch.tensor([[[[40, 105]]], [[[200, 200]]]], dtype=torch.uint8)
    darker = ImageChange(brightness=0.5)(images)
    assert darker.dtype == torch.uint8
    assert darker.tolist() == [[[[20, 52]]], [[[100, 100]]]]  # 52.5 goes to the even number
    softer = ImageChange(brightness=0.5, contrast=0.5)(images)
    assert softer.tolist() == [[[[28, 44]]], [[[100, 100]]]]  # 36.25 -+ 8.125
    assert ImageChange(brightness=9.0)(images).tolist() == [[[[255, 255]]], [[[255, 255]]]]
    assert ImageChange()(images) is images


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_a_change_that_is_none_is_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must be a finite number of at least 0, not"):
        ImageChange(**{name: value})


def scores_of(model: nn.Module, run: Callable[[], object], images: int) -> torch.Tensor:
    """The scores of the last pass over so many images."""
    seen: list[torch.Tensor] = []
    handle = model.register_forward_hook(lambda _m, _i, scores: seen.append(scores))
    run()
    handle.remove()
    return torch.cat(seen)[-images:]


def test_every_image_is_changed() -> None:
    model, data = network(), datasets.load("digits", limit=9)
    change = ImageChange(contrast=0.3)
    found = scores_of(model, lambda: predict(model, data, 4, change=change), 9)
    pixels = change(torch.from_numpy(data.images.copy()))
    expected = model(normalize(pixels, mean=data.mean, std=data.std))
    torch.testing.assert_close(found, expected.detach())
    plain = scores_of(model, lambda: predict(model, data, 4), 9)
    assert float((found - plain).abs().max()) > 0.01


def test_the_variation_is_the_deviation_over_the_mean() -> None:
    model, data = network(), datasets.load("digits", limit=20)
    seen: dict[str, list[torch.Tensor]] = {}
    for name, module in model.named_modules():
        if name.endswith(".adapter"):
            layer = name.removesuffix(".activation_quantizer.adapter")
            module.register_forward_hook(
                lambda _m, _i, beta, layer=layer: seen.setdefault(layer, []).append(beta)
            )
    with watch_betas(model) as betas:
        predict(model, data, 7)
    found = betas.result(Processes())
    assert list(found) == list(seen)
    for layer, parts in seen.items():
        beta = torch.cat(parts).double()
        expected = [beta.min(), beta.mean(), beta.max(), beta.std(correction=0) / beta.mean()]
        values = [found[layer][key] for key in ("min", "mean", "max", "variation")]
        assert values == pytest.approx([float(value) for value in expected], rel=1e-6)
    assert max(row["variation"] for row in found.values()) > 0.01


def test_a_held_beta_is_the_mean_of_those_that_are_told() -> None:
    model, data = network(), datasets.load("digits", limit=20)
    plain = measure(model, data)
    assert measure(model, data, hold_beta=True).beta == plain.beta
    held = scores_of(model, lambda: measure(model, data, hold_beta=True), 20)
    assert float((held - scores_of(model, lambda: measure(model, data), 20)).abs().max()) > 0.001
    for layer, values in plain.beta.items():
        model.get_submodule(f"{layer}.activation_quantizer.adapter").register_forward_hook(
            lambda _m, _i, beta, value=values["mean"]: torch.full_like(beta, value)
        )
    assert torch.equal(held, scores_of(model, lambda: predict(model, data), 20))


def test_beta_cannot_be_held_where_there_is_none() -> None:
    model = network(recipes.load("digits-lsq-apot-w4a4", ["width=8"]))
    with pytest.raises(InputError, match="hold-beta needs a network with adapters"):
        measure(model, datasets.load("digits", limit=4), hold_beta=True)


def test_eval_tells_of_betas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "last.pt"
    model = network()
    checkpoints.save(
        path,
        Checkpoint(
            recipe=RECIPE,
            in_channels=1,
            num_classes=10,
            epoch=1,
            accuracy=0.5,
            weights=model.state_dict(),
        ),
    )
    options = ["--limit", "8", "--format", "json", "--hold-beta", "--brightness", "0.9"]
    assert main(["eval", str(path), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    change = ImageChange(brightness=0.9)
    expected = measure(model, datasets.load("digits", limit=8), change=change, hold_beta=True)
    assert (found["top1"], found["beta"]) == (expected.top1, expected.beta)
    for option, value in (("--contrast", "-1"), ("--brightness", "much")):
        assert main(["eval", str(path), option, value]) == 2
        assert value in capsys.readouterr().err
