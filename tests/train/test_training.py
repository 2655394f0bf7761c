"""Training: it learns, it resumes to the same bits, and it leaves whole files."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from asq_hw import datasets
from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.evaluation import evaluate, predict
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.models import build
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.recipes import Recipe
from asq_hw.train.run.folder import BEST, LAST, LOG
from asq_hw.train.run.optimizer import (
    decayed_parameters,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from asq_hw.train.run.progress import Progress
from asq_hw.train.run.training import train

pytest.importorskip("sklearn")

FLOAT = recipes.load("digits-float", ["epochs=6"])
QUANTIZED = recipes.load("digits-asq-post-w4a4", ["epochs=3", "freeze_bn_epochs=1"])


@pytest.fixture(scope="module")
def float_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("float")
    train(FLOAT, output=output, threads=1)
    return output


@pytest.fixture(scope="module")
def quantized_run(float_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("quantized")
    train(QUANTIZED, output=output, init=float_run / LAST, threads=1)
    return output


def assert_same_run(found: Path, wanted: Path) -> None:
    """Every tensor and value that the two runs' last checkpoints hold is the same."""
    one, other = checkpoints.load(found / LAST), checkpoints.load(wanted / LAST)
    assert (one.epoch, one.accuracy, one.recipe) == (other.epoch, other.accuracy, other.recipe)
    assert one.weights.keys() == other.weights.keys()
    for name, weight in one.weights.items():
        assert torch.equal(weight, other.weights[name]), name
    assert torch.equal(one.training["generator"], other.training["generator"])
    states = one.training["optimizer"]["state"], other.training["optimizer"]["state"]
    assert states[0].keys() == states[1].keys()
    for key, state in states[0].items():
        assert torch.equal(state["momentum_buffer"], states[1][key]["momentum_buffer"])


def test_digits_at_w4a4_are_learned(quantized_run: Path) -> None:
    model, recipe = checkpoints.load_model(quantized_run / LAST)
    assert recipe == QUANTIZED
    assert evaluate(model, datasets.load("digits")) > 0.9


@pytest.mark.parametrize("name", ["digits-asq-lsq-w4a4", "digits-lsq-pot-w4a4"])
def test_other_schemes_learn_too(name: str, float_run: Path, tmp_path: Path) -> None:
    recipe = recipes.load(name, ["epochs=4", "freeze_bn_epochs=0"])
    result = train(recipe, output=tmp_path, init=float_run / LAST, threads=1)
    assert result.accuracy > 0.85


def test_the_same_run_twice_gives_the_same_bits(tmp_path: Path) -> None:
    recipe = recipes.load("digits-float", ["epochs=2"])
    torch.manual_seed(12345)
    train(recipe, output=tmp_path / "a", threads=1)
    torch.manual_seed(54321)
    train(recipe, output=tmp_path / "b", threads=1)
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("stop_at", [(1, 1), (2, 10), (3, 22)])
def test_an_interrupted_run_resumes_to_the_same_bits(
    stop_at: tuple[int, int], float_run: Path, quantized_run: Path, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.batch) == stop_at:
            raise KeyboardInterrupt

    init = float_run / LAST
    with pytest.raises(KeyboardInterrupt):
        train(QUANTIZED, output=tmp_path, init=init, threads=1, report=interrupt)
    assert checkpoints.load(tmp_path / LAST).epoch < QUANTIZED.epochs
    train(QUANTIZED, output=tmp_path, init=init, threads=1, resume=True)
    assert_same_run(tmp_path, quantized_run)


KILLED = """
import os, signal, sys
from pathlib import Path
from asq_hw.train import recipes
from asq_hw.train.run import training

def kill(progress):
    if (progress.epoch, progress.batch) == (2, 5):
        os.kill(os.getpid(), signal.SIGKILL)

recipe = recipes.load("digits-asq-post-w4a4", ["epochs=3", "freeze_bn_epochs=1"])
training.train(recipe, output=Path(sys.argv[1]), init=Path(sys.argv[2]), threads=1, report=kill)
"""


def test_a_killed_run_resumes_to_the_same_bits(
    float_run: Path, quantized_run: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(float_run / LAST)]
    assert subprocess.run(command, timeout=300, check=False).returncode == -signal.SIGKILL
    train(QUANTIZED, output=tmp_path, threads=1, resume=True)
    assert_same_run(tmp_path, quantized_run)


def test_resuming_nothing_begins(tmp_path: Path) -> None:
    recipe = recipes.load("digits-float", ["epochs=1"])
    assert train(recipe, output=tmp_path, threads=1, resume=True).last == tmp_path / LAST
    finished = checkpoints.load(tmp_path / LAST)
    train(recipe, output=tmp_path, threads=1, resume=True)
    assert checkpoints.load(tmp_path / LAST).accuracy == finished.accuracy


def test_best_is_the_most_accurate_epoch(tmp_path: Path) -> None:
    accuracies: list[float] = []

    def collect(progress: Progress) -> None:
        if progress.accuracy is not None:
            accuracies.append(progress.accuracy)

    result = train(FLOAT, output=tmp_path, threads=1, report=collect)
    assert len(accuracies) == FLOAT.epochs
    assert (result.accuracy, result.best_accuracy) == (accuracies[-1], max(accuracies))
    best = checkpoints.load(tmp_path / BEST)
    assert best.accuracy == max(accuracies)
    assert best.epoch == accuracies.index(max(accuracies)) + 1
    assert best.training == {}
    model, _ = checkpoints.load_model(tmp_path / BEST)
    assert evaluate(model, datasets.load("digits")) == max(accuracies)


def test_epochs_that_are_not_measured(float_run: Path, quantized_run: Path, tmp_path: Path) -> None:
    ends: list[tuple[int, bool]] = []

    def collect(progress: Progress) -> None:
        if progress.ended:
            assert checkpoints.load(tmp_path / LAST).accuracy == progress.accuracy
            ends.append((progress.epoch, progress.accuracy is not None))

    init = float_run / LAST
    train(QUANTIZED, output=tmp_path, init=init, threads=1, eval_every=2, report=collect)
    assert ends == [(1, False), (2, True), (3, True)]
    assert_same_run(tmp_path, quantized_run)
    found, wanted = (
        [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
        for folder in (tmp_path, quantized_run)
    )
    assert found[1:] == wanted[1:]
    assert wanted[0].keys() - found[0].keys() == {"top1", "beta"}
    assert found[0] == {key: wanted[0][key] for key in found[0]}


def test_measurements_must_be_at_least_one_epoch_apart(tmp_path: Path) -> None:
    for eval_every in (0, -1, 10**6):
        with pytest.raises(InputError, match="eval_every must be at"):
            train(QUANTIZED, output=tmp_path / "x", eval_every=eval_every)
    assert not (tmp_path / "x").exists()


def test_training_leaves_the_callers_torch_alone(tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    train(recipes.load("digits-float", ["epochs=1"]), output=tmp_path, threads=threads + 1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


def test_batch_norm_is_frozen_for_the_last_epochs(tmp_path: Path, float_run: Path) -> None:
    statistics: list[torch.Tensor] = []

    def collect(progress: Progress) -> None:
        if progress.accuracy is not None:
            weights = checkpoints.load(tmp_path / LAST).weights
            statistics.append(weights["block1.bn1.running_mean"])

    train(QUANTIZED, output=tmp_path, init=float_run / LAST, threads=1, report=collect)
    assert not torch.equal(statistics[0], statistics[1])
    assert torch.equal(statistics[1], statistics[2])


def test_bfloat16_trains_and_evaluates_in_float32(tmp_path: Path) -> None:
    recipe = recipes.load("digits-float", ["epochs=5", "precision=bfloat16"])
    assert train(recipe, output=tmp_path, threads=1).best_accuracy > 0.8
    weights = checkpoints.load(tmp_path / LAST).weights
    assert {weight.dtype for weight in weights.values()} == {torch.float32, torch.int64}


def test_predictions_do_not_depend_on_the_batch_size(quantized_run: Path) -> None:
    model, _ = checkpoints.load_model(quantized_run / LAST)
    dataset = datasets.load("digits")
    whole = predict(model, dataset, batch_size=1000)
    assert whole.dtype == np.int64
    assert np.mean(whole == predict(model, dataset, batch_size=50)) > 0.99
    assert dataset.labels is not None
    assert evaluate(model, dataset) == float(np.mean(whole == dataset.labels))


def start(output: Path, **options: object) -> Callable[[], object]:
    recipe = options.pop("recipe", FLOAT)
    assert isinstance(recipe, Recipe)
    return lambda: train(recipe, output=output, **options)  # type: ignore[arg-type]


def test_what_cannot_be_trained_is_named(
    tmp_path: Path, float_run: Path, quantized_run: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    wider = recipes.load("digits-float", ["width=8"])
    cases = {
        "threads must be at least 1, not 0": start(tmp_path / "a", threads=0),
        "holds a run": start(float_run),
        "is a run of another recipe, digits-float": start(float_run, recipe=wider, resume=True),
        "must be a full-precision network, not": start(tmp_path / "b", init=quantized_run / BEST),
        "must be a digits of width 8, not a digits of width 16": start(
            tmp_path / "c", recipe=wider, init=float_run / BEST
        ),
        "could not be made": start(blocked / "below"),
        "does not exist": start(tmp_path / "d", init=tmp_path / "nothing.pt"),
        "model must be one of digits, .*resnet20.*, not 'vgg'": start(
            tmp_path / "e", recipe=recipes.load("digits-float", ["model=vgg"])
        ),
    }
    for message, attempt in cases.items():
        with pytest.raises(InputError, match=message):
            attempt()


def test_a_loss_that_diverges_ends_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    recipe = recipes.load("digits-float", ["learning_rate=1e30", "warmup_epochs=0"])
    with pytest.raises(InputError, match="diverged in epoch 1.*learning_rate must be lower"):
        train(recipe, output=tmp_path, threads=1)
    assert checkpoints.load(tmp_path / LAST).epoch == 0


def test_learning_rate_by_hand() -> None:
    recipe = recipes.load("digits-float", ["epochs=5", "warmup_epochs=1", "learning_rate=0.4"])
    rates = [learning_rate(recipe, step, 10) for step in range(50)]
    assert rates[:10] == pytest.approx([0.04 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(0.4)
    assert rates[30] == pytest.approx(0.2)
    assert rates[20] == pytest.approx(0.2 * (1 + math.sqrt(0.5)))
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001


def test_only_weights_of_layers_decay() -> None:
    model = quantize(build("digits", width=8, in_channels=1, num_classes=10), QUANTIZED)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(parameter)] for parameter in decayed_parameters(model)}
    assert decayed == {
        "conv1.weight",
        "block1.depthwise.weight",
        "block1.pointwise.weight",
        "conv2.weight",
        "block2.depthwise.weight",
        "block2.pointwise.weight",
        "fc.weight",
    }
    optimizer = make_optimizer(model, QUANTIZED)
    grouped = [len(group["params"]) for group in optimizer.param_groups]
    assert grouped == [7, len(names) - 7]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4, 0.0]
    assert any(isinstance(module, Adapter) for module in model.modules())


@pytest.mark.parametrize(
    ("activations", "adapter", "parameters"),
    [("asq", "paper", 5 * 4), ("asq", "log-linear", 5 * 2), ("asq-constant", "paper", 5)],
)
def test_what_gives_beta_learns_at_its_own_rate(
    activations: str, adapter: str, parameters: int
) -> None:
    """Nothing but the rate differs: the parameters are in a group of their own, not decayed."""
    changes = {"activations": activations, "adapter": adapter, "adapter_rate": 10.0}
    recipe = recipes.load("digits-asq-post-w4a4", {**changes, "width": 8})
    model = quantize(build("digits", width=8, in_channels=1, num_classes=10), recipe)
    optimizer = make_optimizer(model, recipe)
    assert [len(group["params"]) for group in optimizer.param_groups][2:] == [parameters]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(model.parameters())
    )
    assert optimizer.param_groups[2]["weight_decay"] == 0
    for rate in (0.5, 0.25):
        set_learning_rate(optimizer, rate)
        assert [group["lr"] for group in optimizer.param_groups] == [rate, rate, 10 * rate]


def interrupted_and_whole(recipe: Recipe, init: Path, folder: Path) -> Path:
    """Train twice, once with an interruption in epoch 2; the whole run's folder."""

    def interrupt(progress: Progress) -> None:
        if (progress.epoch, progress.batch) == (2, 3):
            raise KeyboardInterrupt

    whole, stopped = folder / "whole", folder / "stopped"
    train(recipe, output=whole, init=init, threads=1)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, output=stopped, init=init, threads=1, report=interrupt)
    train(recipe, output=stopped, init=init, threads=1, resume=True)
    assert_same_run(stopped, whole)
    return whole


def test_an_interrupted_run_with_early_crops_resumes_to_the_same_bits(
    float_run: Path, tmp_path: Path
) -> None:
    changes = ["epochs=3", "early_crop=6", "early_epochs=2", "crop_padding=1"]
    small = recipes.load("digits-asq-post-w4a4", changes)
    whole = interrupted_and_whole(small, float_run / LAST, tmp_path)
    plain = recipes.load("digits-asq-post-w4a4", ["epochs=3", "crop_padding=1"])
    train(plain, output=tmp_path / "plain", init=float_run / LAST, threads=1)
    name = "fc.weight"
    found, other = (
        checkpoints.load(run / LAST).weights[name] for run in (whole, tmp_path / "plain")
    )
    assert not torch.equal(found, other)


def test_an_interrupted_run_with_its_own_rate_of_adapters_resumes_to_the_same_bits(
    float_run: Path, tmp_path: Path
) -> None:
    changes = ["epochs=2", "adapter=log-linear", "adapter_rate=10", "step_start=least-squares"]
    recipe = recipes.load("digits-asq-post-w4a4", changes)
    whole = interrupted_and_whole(recipe, float_run / LAST, tmp_path)
    rates = [
        group["lr"]
        for group in checkpoints.load(whole / LAST).training["optimizer"]["param_groups"]
    ]
    assert rates[2] == 10 * rates[0] > 0


def test_the_clips_of_pact_decay() -> None:
    """Choi et al. add a decay of alpha to the loss: its own gradient is 0 where nothing clips."""
    recipe = recipes.load("digits-asq-post-w4a4", ["activations=pact", "weight_decay=0.5"])
    model = quantize(build("digits", width=8, in_channels=1, num_classes=10), recipe)
    clips = {name for name, _ in model.named_parameters() if name.endswith("alpha.value")}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(parameter)] for parameter in decayed_parameters(model)}
    assert len(clips) == 5
    assert {name for name in decayed if not name.endswith("weight")} == clips
    assert sum(name.endswith("weight") for name in decayed) == 7


def test_a_run_that_failed_before_its_first_epoch_is_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> float:
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr("asq_hw.train.run.training.evaluate", fail)
        train(FLOAT, output=tmp_path, threads=1)
    assert (tmp_path / LAST).exists()
    train(FLOAT, output=tmp_path, threads=1)
    with pytest.raises(InputError, match="holds a run already"):
        train(FLOAT, output=tmp_path, threads=1)
