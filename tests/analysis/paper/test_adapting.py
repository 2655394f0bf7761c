"""What a step for each image saves: on inputs whose best steps are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from analysis.paper import adapting
from analysis.paper.adapting_measures import adapting_frame, decibels
from asq_hw import datasets
from asq_hw.errors import InputError
from asq_hw.train import models, recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.data.batches import normalize
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.step_errors import StepErrors, step_errors

RECIPE = recipes.load("digits-asq-post-w4a4", ["width=8"])
CANDIDATES = 65
"""Two octaves either way, 16 in each; the middle is the learned step."""


def inputs(best: list[int], beta: list[float], adapted: list[int]) -> StepErrors:
    """Errors of 1 + the squared distance from the best place, in octaves; means foretell it."""
    places = np.arange(CANDIDATES)
    errors, around = (1 + ((places - np.array(at)[:, None]) / 16) ** 2 for at in (best, adapted))
    means = np.array(best, dtype=np.float64)[:, None]
    return StepErrors(errors=errors, adapted=around, means=means, beta=np.array(beta))


def test_what_each_saves_by_hand() -> None:
    """Best places an octave below and above: 1 + 1 for all, 1 with each its own."""
    best = [16, 16, 48, 48, 16, 16, 48, 48]
    found = inputs(best, [0.5, 0.5, 2, 2] * 2, [40] * 8)
    frame = adapting_frame(found, found)
    assert frame["best"].tolist() == [-1, 1, -1, 1]
    assert frame["beta"].tolist() == [-0.5, 1.5, -0.5, 1.5]  # half an octave above one step for all
    assert frame["constant"].tolist() == [2] * 4
    assert frame["oracle"].tolist() == frame["adapter"].tolist() == [1] * 4
    assert np.abs(frame["predictor"] - 1).max() < 0.01  # but for the ridge
    assert decibels(frame, "oracle") == pytest.approx(10 * np.log10(2))


def test_a_constant_beta_saves_nothing() -> None:
    best = [16, 16, 48, 48] * 2
    found = inputs(best, [1.0] * 8, best)
    assert decibels(adapting_frame(found, found), "adapter") == 0


def network() -> nn.Module:
    torch.manual_seed(5)
    model = quantize(models.build("digits", width=8, in_channels=1, num_classes=10), RECIPE)
    images = datasets.load("digits", split="train", limit=24)
    for name, parameter in model.named_parameters():
        if "adapter" in name and name.endswith("weight"):
            nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        pixels = torch.from_numpy(images.images.copy())
        model(normalize(pixels, mean=images.mean, std=images.std))
    return model.eval()


def test_errors_are_those_of_the_quantizer() -> None:
    model, data = network(), datasets.load("digits", limit=6)
    quantizer = model.get_submodule("conv2").activation_quantizer
    seen: list[torch.Tensor] = []
    handle = quantizer.register_forward_hook(lambda _m, x, y: seen.append((y - x[0]).flatten(1)))
    found = step_errors(model, data, "conv2")
    handle.remove()
    own = seen[0].double().square().sum(1).numpy()
    np.testing.assert_allclose(found.adapted[:, CANDIDATES // 2], own, rtol=1e-5)
    assert np.ptp(found.beta) > 0.001
    with pytest.raises(InputError, match="layer 'bn1' must be one whose input has a learned step"):
        step_errors(model, data, "bn1")


def test_a_checkpoint_is_measured_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, csv, figure = (tmp_path / name for name in ("last.pt", "adapting.csv", "adapting.png"))
    checkpoints.save(
        path,
        Checkpoint(
            recipe=RECIPE,
            in_channels=1,
            num_classes=10,
            epoch=1,
            accuracy=0.5,
            weights=network().state_dict(),
        ),
    )
    command = ["measure", str(path), "--output", str(csv), "--images", "12", "--layers"]
    assert adapting.main([*command, "conv2", "bn1"]) == 2
    assert "layer 'bn1' must be one" in capsys.readouterr().err
    assert adapting.main([*command, "conv2", "block1.pointwise"]) == 0
    assert adapting.main(["draw", str(csv), "--output", str(figure)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        [f"| {layer}", images]
        for layer in ("conv2", "block1.pointwise")
        for images in ("plain", "changed")
    ]
    assert figure.stat().st_size > 1000
    csv.write_text("dataset,recipe,start,commit,seed,layer,images\nd,r,,c,1,conv2,plain\n")
    assert adapting.main(["draw", str(csv), "--output", str(figure)]) == 2
    assert "must have the columns" in capsys.readouterr().err
