"""Two processes average every gradient, those of steps and adapters included."""

from pathlib import Path

import pytest

from tests.processes import execute

GRADIENTS = """
import sys

import torch
import torch._dynamo
from torch.nn import functional

from asq_hw.train import recipes
from asq_hw.train.batchnorm import share_batch_norm
from asq_hw.train.convert import quantize
from asq_hw.train.distributed import join_processes
from asq_hw.train.models import build
from tests import processes

RECIPE = recipes.load("digits-asq-post-w4a4", ["width=8"])
DRAW = torch.Generator().manual_seed(1)
IMAGES = torch.randn(16, 1, 8, 8, generator=DRAW)
LABELS = torch.arange(16) % 10


def gradients(count):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = quantize(build("digits", width=8, in_channels=1, num_classes=10), RECIPE)
    with torch.no_grad():
        model(IMAGES)  # the steps start from all images
    with join_processes("cpu") as joined:
        if count > 1:
            share_batch_norm(model)
        network = joined.parallel(model)
        part = slice(joined.rank, None, count)
        functional.cross_entropy(network(IMAGES[part]), LABELS[part]).backward()
        found = {name: value.grad for name, value in model.named_parameters()}
        torch.save(found, sys.argv[1] + f"/{count}.{joined.rank}")


processes.wait(processes.fork(lambda: gradients(1)))
processes.wait(*processes.fork_together(lambda: gradients(2), 2))
"""


def test_gradients_of_steps_and_adapters_are_averaged(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    execute(GRADIENTS, tmp_path)
    one, first, second = (torch.load(tmp_path / name) for name in ("1.0", "2.0", "2.1"))
    assert any("adapter" in name for name in one)
    assert any("learned" in name for name in one)
    for name, wanted in one.items():
        assert torch.equal(first[name], second[name]), name
        scale = float(wanted.abs().max())
        torch.testing.assert_close(first[name], wanted, rtol=0.02, atol=0.02 * scale + 1e-6)
