"""Two processes train as one does with their batches together, and average every gradient."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asq_hw import datasets
from asq_hw.sim import simulate
from asq_hw.train.checkpoints.checkpoint import load_model
from asq_hw.train.evaluation import predict
from asq_hw.train.export.forward import ranges_of
from asq_hw.train.export.network import export_network
from tests.helpers.processes import ROOT, execute

STEPS = """
import sys

import torch
import torch._dynamo
from torch.nn import functional

from asq_hw.train import recipes
from asq_hw.train.batch_norm import share_batch_norm
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.distributed import join_processes
from asq_hw.train.models import build
from asq_hw.train.run.optimizer import make_optimizer
from tests.helpers import processes

RECIPE = recipes.load("fashion-mnist-resnet20-asq-post-w4a4", ["width=8"])
DRAW = torch.Generator().manual_seed(1)
IMAGES = torch.randn(16, 1, 8, 8, generator=DRAW).double()
LABELS = torch.arange(16) % 10


def train(count):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = build("resnet20", width=8, in_channels=1, num_classes=10)
    model = quantize(model, RECIPE).double()
    with torch.no_grad():
        model(IMAGES)  # the steps start from all images
    optimizer = make_optimizer(model, RECIPE)
    losses = []
    with join_processes("cpu") as joined:
        if count > 1:
            share_batch_norm(model)
        network = joined.parallel(model)
        part = slice(joined.rank, None, count)
        for step in range(12):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(IMAGES[part]), LABELS[part])
            loss.backward()
            if step == 0:
                gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
            optimizer.step()
            losses.append(joined.reduce(loss.detach()) / count)
    found = {"gradients": gradients, "losses": torch.stack(losses)}
    torch.save(found, sys.argv[1] + f"/{count}.{joined.rank}")


processes.wait(processes.fork(lambda: train(1)))
processes.wait(*processes.fork_together(lambda: train(2), 2))
"""


def test_steps_of_two_processes_are_those_of_one(tmp_path: Path) -> None:
    """In float64 rounding is too small to move a value to another level.

    In a network without max pooling: which of two equal values gets the gradient is chance.
    """
    torch = pytest.importorskip("torch")
    execute(STEPS, tmp_path)
    one, first, second = (torch.load(tmp_path / name) for name in ("1.0", "2.0", "2.1"))
    assert any("adapter" in name for name in one["gradients"])
    assert any("learned" in name for name in one["gradients"])
    for name, wanted in one["gradients"].items():
        assert torch.equal(first["gradients"][name], second["gradients"][name]), name
        error = (first["gradients"][name] - wanted).abs().max()
        assert error < 1e-9 * wanted.abs().max(), name
    torch.testing.assert_close(first["losses"], one["losses"], rtol=1e-4, atol=0)
    assert one["losses"][-1] < 0.5 * one["losses"][0]


def test_torchrun_gives_the_loss_curve_of_one_process(tmp_path: Path) -> None:
    """The whole program; in float32, where values that rounding moves to another level add up."""
    pytest.importorskip("sklearn")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    one = logged(tmp_path / "one", [])
    two = logged(tmp_path / "two", launch)
    assert len(one) == len(two) == 3
    for alone, together in zip(one, two, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=0.004)
        assert together["beta"].keys() == alone["beta"].keys()
        for layer, beta in alone["beta"].items():
            # Adapters that have hardly begun vary by what rounding makes of it, or not at all.
            variations = [each.pop("variation") for each in (together["beta"][layer], beta)]
            assert all(0 <= each < 1e-3 for each in variations), layer
            assert together["beta"][layer] == pytest.approx(beta, rel=0.01), layer


def test_processes_that_train_in_integers_together(tmp_path: Path) -> None:
    """Batch norm is then another class, which is folded all the same."""
    pytest.importorskip("sklearn")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    lines = logged(tmp_path / "run", launch, "freeze_bn_epochs=1", "integer_epochs=1")
    model, recipe = load_model(tmp_path / "run" / "last.pt")
    assert ranges_of(model) is not None
    test, calibration = datasets.load("digits"), datasets.load("digits", split="train", limit=8)
    network = export_network(model, recipe, calibration)
    found = simulate(network, test.images).predictions
    assert np.array_equal(found, predict(model, test))
    assert lines[-1]["top1"] == float(np.mean(found == test.labels))


def logged(output: Path, launch: list[str], *changes: str) -> list[dict[str, Any]]:
    """Train on digits from the command line, and read the run's log."""
    command = [sys.executable, *launch, "-m", "asq_hw.cli", "train", "--threads", "1"]
    command += ["--device", "cpu", "--recipe", "digits-asq-post-w4a4", "-o", str(output)]
    for change in (
        *("width=8", "training_images=512", "epochs=3", "freeze_bn_epochs=0"),
        *changes,
    ):
        command += ["--set", change]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
