"""Checkpoints come back as they were saved, and any other file is refused in one line."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.models import build

RECIPE = recipes.load("digits-asq-post-w4a4", ["width=8"])
SHAPES = {"in_channels": 1, "num_classes": 10}


def trained() -> nn.Module:
    torch.manual_seed(0)
    model = quantize(build("digits", width=8, **SHAPES), RECIPE)
    model(torch.randn(4, 1, 8, 8))
    return model


def of(model: nn.Module) -> Checkpoint:
    return Checkpoint(
        recipe=RECIPE,
        epoch=3,
        accuracy=0.5,
        weights=model.state_dict(),
        training={"a": 1},
        **SHAPES,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoints.save(tmp_path / "a.pt", of(trained()))
    return tmp_path / "a.pt"


def test_a_checkpoint_comes_back(path: Path) -> None:
    model, saved = trained(), checkpoints.load(path)
    assert (saved.recipe, saved.epoch, saved.accuracy) == (RECIPE, 3, 0.5)
    assert saved.training == {"a": 1}
    assert saved.weights.keys() == model.state_dict().keys()
    restored, recipe = checkpoints.load_model(path)
    assert recipe == RECIPE
    assert not restored.training
    x = torch.randn(5, 1, 8, 8)
    assert torch.equal(restored(x), model.eval()(x))


def test_loading_a_model_leaves_the_generator_alone(path: Path) -> None:
    state = torch.random.get_rng_state()
    checkpoints.load_model(path)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_saving_leaves_one_file(path: Path) -> None:
    checkpoints.save(path, of(trained()))
    assert [entry.name for entry in path.parent.iterdir()] == ["a.pt"]


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("harm done",))


def test_code_in_a_file_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Harmful(), tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Harmful()))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(InputError, match="is not a checkpoint of asq-hw train"):
            checkpoints.load(tmp_path / name)
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"text\n", b"PK\x03\x04", bytes(1000)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(InputError, match="is not a checkpoint of asq-hw train"):
        checkpoints.load(tmp_path / "other")


def test_other_peoples_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="is not a checkpoint of asq-hw train"):
        checkpoints.load(tmp_path / "other.pt")


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(InputError, match="does not exist|is not a regular file"):
            checkpoints.load(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(path: Path, kept: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match="is not a checkpoint of asq-hw train, or is damaged"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "must be of version 1, not 2"),
        ({"recipe": {"name": "x"}}, "is damaged: recipe key 'model' is missing"),
        ({"recipe": 3}, "is damaged"),
        ({"epoch": None}, "is damaged"),
        ({"weights": 7}, "is damaged"),
    ],
)
def test_contents_are_checked(path: Path, changes: dict[str, object], message: str) -> None:
    content = torch.load(path, weights_only=True)
    torch.save(content | changes, path)
    with pytest.raises(InputError, match=message):
        checkpoints.load(path)


def test_weights_that_do_not_fit_are_refused(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    del content["weights"]["conv1.weight"]
    torch.save(content, path)
    with pytest.raises(InputError, match=r"it lacks conv1\.weight \[8, 1, 3, 3\]"):
        checkpoints.load_model(path)
