"""What a network scores: against PyTorch's own loss, in one batch and in several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from asq_hw.datasets import Dataset
from asq_hw.errors import InputError
from asq_hw.train.evaluation import evaluate, predict, score
from asq_hw.train.threads import limited_threads

RNG = np.random.default_rng(3)
IMAGES = Dataset(
    name="drawn",
    images=RNG.integers(0, 256, (23, 1, 4, 4), dtype=np.uint8),
    labels=RNG.integers(0, 5, 23),
    classes=("a", "b", "c", "d", "e"),
    mean=0.5,
    std=0.25,
)


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(16, 5))


def test_scores_are_pytorchs(model: nn.Module) -> None:
    x = (torch.from_numpy(np.array(IMAGES.images)) / 255 - 0.5) / 0.25
    labels = torch.from_numpy(np.array(IMAGES.labels))
    logits = model.eval()(x).double()
    for batch_size in (23, 5, 1):
        found = score(model.train(), IMAGES, batch_size)
        assert found.loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item())
        assert found.correct == int((logits.argmax(dim=1) == labels).sum())
        assert found.images == 23
        assert found.top1 == evaluate(model, IMAGES) == found.correct / 23
        assert (predict(model, IMAGES, batch_size) == logits.argmax(dim=1).numpy()).all()


def test_what_cannot_be_scored_is_refused(model: nn.Module) -> None:
    with pytest.raises(InputError, match="drawn has no labels"):
        score(model, replace(IMAGES, labels=None, classes=()))
    with torch.no_grad():
        model.get_parameter("2.bias")[0] = float("nan")
    with pytest.raises(InputError, match="loss on drawn must be finite, and is nan"):
        score(model, IMAGES)


def test_threads_are_afterwards_as_they_were() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), limited_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
    with limited_threads(None):
        assert torch.get_num_threads() == before
