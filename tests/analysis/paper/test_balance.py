"""How fast learned scales move beside their weights: LSQ's measure, over steps of real training."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional

pytest.importorskip("sklearn")

from analysis.paper.balance import balance_table, main
from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.balance import Balance, measure_balance
from asq_hw.train.data.batches import training_batches
from asq_hw.train.data.trained_images import training_data
from asq_hw.train.distributed import Processes
from asq_hw.train.quantizers.weights import ScaledWeightQuantizer, UniformWeightQuantizer
from asq_hw.train.recipes import Recipe
from asq_hw.train.run.beginning import begin
from asq_hw.train.run.folder import RunFolder
from asq_hw.train.starting_point import network_input

NAME = "digits-asq-lsq-w4a4"


def recipe(*changes: str) -> Recipe:
    return recipes.load(NAME, ["width=8", *changes])


def test_balance_by_hand() -> None:
    """Steps of pace 3 and 4 against weights of 5 and 12: 5 / 13."""
    seen = Balance(bits=4, scales=1, scale_pace=[3, 4], weight_pace=[5, 12], least=0.5, lost=2)
    assert seen.balance == pytest.approx(5 / 13)
    assert math.isnan(Balance(bits=4, scales=1, scale_pace=[1], weight_pace=[0]).balance)
    last = balance_table({"conv1": seen}).splitlines()[-1]
    assert last == "| conv1 | 4 | 1 | 0.38 | 0.5 | 1 | 2 |"


def test_one_step_is_the_gradients_of_the_first_batch(tmp_path: Path) -> None:
    chosen = recipe("step_start=least-squares")
    found = measure_balance(chosen, None, steps=1)
    data = training_data(chosen)
    folder = RunFolder(tmp_path, writes=True)
    state = begin(chosen, None, folder, data, Processes(), resume=False, must_export=False)
    state.enter_training_mode(state.model)
    images, labels = next(training_batches(data.training, chosen, generator=state.generator))
    logits = state.model(network_input(images, data.training, torch.device("cpu")))
    functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    scales = {name: (one.bits, one.scales) for name, one in found.items()}
    inner = {f"block{i}.{part}wise": (4, 1) for i in (1, 2) for part in ("depth", "point")}
    assert scales == inner | {"conv1": (8, 8), "conv2": (4, 1), "fc": (8, 10)}
    for name, one in found.items():
        weight = state.model.get_parameter(f"{name}.weight")
        scale = state.model.get_parameter(f"{name}.weight_quantizer.learned.value")
        assert weight.grad is not None and scale.grad is not None
        ratio = scale.grad / scale
        assert one.scale_pace == pytest.approx([ratio.square().mean().sqrt().item()], rel=1e-3)
        pace = weight.grad.norm().item() / weight.norm().item()
        assert one.weight_pace == pytest.approx([pace], rel=1e-3)
        assert (one.least, one.largest, one.lost) == (1, 1, 0)


def test_scales_that_run_away_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """At such a pace, and with nothing that holds them.

    Held, a step of 8 bits is at most its channel's largest weight, where it started at 1 / 127.
    """
    monkeypatch.setattr(UniformWeightQuantizer, "_gradient_scale", lambda *_: 0.3)
    calm = measure_balance(recipe(), None, steps=8)
    monkeypatch.setattr(ScaledWeightQuantizer, "_hold", lambda *_: None)
    wild = measure_balance(recipe(), None, steps=8)
    assert calm["conv1"].lost == 0 < wild["conv1"].lost
    assert len(wild["conv1"].scale_pace) == 8
    assert wild["conv1"].largest > 1000 > calm["conv1"].largest > 1
    assert wild["conv1"].least < 0 < calm["conv1"].least < 1


def test_steps_that_are_not_learned_are_not_watched() -> None:
    inner = measure_balance(recipe("edge_weights=min-max"), None, steps=1)
    assert "conv2" in inner and not {"conv1", "fc"} & set(inner)


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--recipe", NAME, "--set", "width=8", "--steps", "2"]
    assert main(given) == 0
    assert capsys.readouterr().out == balance_table(measure_balance(recipe(), None, steps=2))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", "0"], "steps must be 1..22, which is a pass, not 0"),
        (["--steps", "23"], "steps must be 1..22, which is a pass, not 23"),
        (["--set", "weights=none", "--set", "activations=none"], "must have weights with a"),
        (["--set", "x=1"], "x"),
        (["--init", "no-such.pt"], "no-such.pt"),
    ],
)
def test_what_cannot_be_measured(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--recipe", NAME, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")
    assert said in captured.err and captured.err.count("\n") == 1


def test_a_training_that_diverges_is_an_error() -> None:
    with pytest.raises(InputError, match="diverged"):
        measure_balance(recipe("learning_rate=1e30"), None, steps=3)
