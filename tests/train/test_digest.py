"""The digest of weights: of the numbers under their names, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import torch

from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.digest import weights_digest
from asq_hw.train.models import build
from asq_hw.train.opening import open_network
from asq_hw.train.run.training import train

SMALL = {"width": 2, "epochs": 1, "training_images": 64, "batch_size": 32}
FLOAT = recipes.load("digits-float", SMALL)


def test_a_digest_is_of_the_numbers() -> None:
    plain = {"b.weight": torch.tensor([1.0, 2.0]), "a": torch.tensor(3)}
    digest = weights_digest(plain)
    assert len(digest) == 16 and set(digest) <= set("0123456789abcdef")
    same = {"a": torch.tensor(3), "b.num_batches_tracked": torch.tensor(9)}
    same["b.weight"] = torch.tensor([[1.0, 0.0], [2.0, 0.0]])[:, 0]
    assert weights_digest(same) == digest
    for other in (
        plain | {"a": torch.tensor(4)},
        plain | {"a": torch.tensor(3.0)},
        plain | {"b.weight": torch.tensor([[1.0, 2.0]])},
        plain | {"c": torch.tensor(0)},
        {"b.weight": plain["b.weight"], "aa": plain["a"]},
    ):
        assert weights_digest(other) != digest


def test_a_checkpoint_keeps_what_it_began_with(tmp_path: Path) -> None:
    weights = build("digits", width=2, in_channels=1, num_classes=10).state_dict()
    init = tmp_path / "start.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, init)
    begun = train(FLOAT, output=tmp_path / "a", init=init, threads=1).last
    recipe = recipes.load("digits-lsq-pot-w4a4", SMALL)
    quantized = train(recipe, output=tmp_path / "b", init=begun, threads=1, must_export=False).last
    first, second = checkpoints.load(begun), checkpoints.load(quantized)
    assert (
        first.start == weights_digest(weights) == weights_digest(open_network(init, FLOAT).weights)
    )
    assert second.start == weights_digest(first.weights) != first.start
    assert checkpoints.load(train(FLOAT, output=tmp_path / "c", threads=1).last).start is None
    content = torch.load(begun, weights_only=True)
    del content["start"]  # as files of before had none
    torch.save(content, init)
    assert checkpoints.load(init).start is None
