"""State dicts of other programs: how they are wrapped, named and written, and what they are of."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asq_hw import datasets, modelfile
from asq_hw.cli import main
from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.checkpoints.state_dict import StateDict, state_dict_of
from asq_hw.train.evaluation import evaluate, predict
from asq_hw.train.models import build
from asq_hw.train.opening import open_network
from asq_hw.train.starting_point import new_model

SHAPE = {"in_channels": 1, "num_classes": 10}
FLOAT = recipes.load("digits-float", {"width": 4})
QUANTIZED = recipes.load("digits-lsq-apot-w4a4", {"width": 4})

Wrap = Callable[[dict[str, Tensor]], Any]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = build("digits", width=4, **SHAPE)
        made.train()
        made(torch.randn(64, 1, 8, 8))  # batch norm with statistics that matter
    return made.eval()


@pytest.fixture(scope="module")
def tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.state_dict())


def prefixed(prefix: str) -> Wrap:
    return lambda tensors: {f"{prefix}{name}": value for name, value in tensors.items()}


WRAPS: dict[str, Wrap] = {
    "plain": lambda tensors: tensors,
    "ordered": OrderedDict,
    "module": prefixed("module."),
    "compiled": prefixed("module._orig_mod."),
    "state_dict": lambda t: {"epoch": 3, "state_dict": prefixed("module.")(t), "best": 0.5},
    "model": lambda t: {"model": t, "optimizer": {"lr": 0.1}},
    "net": lambda t: {"net": prefixed("module.")(t), "acc": 91.2},
    "model_state_dict": lambda t: {"model_state_dict": t, "model": "digits"},
    "lightning": lambda t: {"state_dict": prefixed("model.")(t), "hyper_parameters": {}},
    "half": lambda t: {n: v.half() if v.is_floating_point() else v for n, v in t.items()},
    "parameters": lambda t: {
        n: nn.Parameter(v) if v.is_floating_point() else v for n, v in t.items()
    },
}


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "old"])
@pytest.mark.parametrize("wrap", WRAPS)
def test_every_wrapping_in_both_formats_is_the_same_network(
    tmp_path: Path, tensors: dict[str, Tensor], wrap: str, zipped: bool
) -> None:
    path = tmp_path / "weights.pth.tar"
    torch.save(WRAPS[wrap](tensors), path, _use_new_zipfile_serialization=zipped)
    found = open_network(path, FLOAT)
    assert found.recipe == FLOAT and found.epoch == 0
    for name, value in found.build_model().state_dict().items():
        wanted = tensors[name].half().to(value.dtype) if wrap == "half" else tensors[name]
        assert torch.equal(value, wanted), name
    started = new_model(QUANTIZED, path, **SHAPE).state_dict()
    assert torch.equal(started["fc.bias"], found.weights["fc.bias"])


def test_images_and_classes_are_the_data_sets(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    path = tmp_path / "weights.pt"
    torch.save(tensors, path)
    found, test = open_network(path, FLOAT), datasets.load("digits")
    assert found.images is not None
    assert found.images.classes == test.classes
    assert found.images.mean == (test.mean,) and found.images.std == (test.std,)
    other = open_network(path, FLOAT, mean=[0.25], std=[0.5]).images
    assert other == replace(found.images, mean=(0.25,), std=(0.5,))
    with pytest.raises(InputError, match="mean must hold one number for each of 1 channels, not 3"):
        open_network(path, FLOAT, mean=[0.5, 0.5, 0.5])


def test_only_the_common_networks_names_are_translated() -> None:
    state = StateDict(
        source="x",
        tensors={name: torch.zeros(1) for name in ("linear.weight", "a.shortcut.0.bias", "q")},
    )
    wanted = {"fc.weight", "a.downsample.0.bias", "fc.bias"}
    assert list(state.named_as(wanted)) == ["fc.weight", "a.downsample.0.bias", "q"]
    assert list(state.named_as({"linear.weight"})) == list(state.tensors)
    both = StateDict(source="x", tensors=dict.fromkeys(["linear.a", "fc.a"], torch.zeros(1)))
    assert list(both.named_as({"fc.a"})) == ["linear.a", "fc.a"]
    names = ["linear.shortcut.a", "fc.shortcut.a"]
    same = StateDict(source="x", tensors=dict.fromkeys(names, torch.zeros(1)))
    assert list(same.named_as({"fc.downsample.a"})) == names


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3, "optimizer": {"lr": 1}}, "it holds 'epoch', 'optimizer'"),
        ({}, "nor a state dict"),
        ([torch.zeros(1)], "nor a state dict"),
        ({"model": {}, "net": "resnet20"}, "nor a state dict"),
        ({"a": torch.zeros(1), "b": 1}, "it holds 'a', 'b'"),
        ({3: torch.zeros(1)}, "it holds 3"),
        (
            {"model": {"a": torch.zeros(1)}, "net": {"a": torch.zeros(1)}, "x": 1},
            "state dicts under model and net",
        ),
    ],
)
def test_what_is_no_state_dict_is_refused(content: object, said: str) -> None:
    with pytest.raises(InputError, match=f"^x .*{said}"):
        state_dict_of(content, "x")


def test_a_prefix_that_some_names_lack_stays() -> None:
    found = state_dict_of({"module.a": torch.zeros(1), "n_averaged": torch.zeros(1)}, "x")
    assert list(found.tensors) == ["module.a", "n_averaged"]


def test_a_quantized_networks_state_dict_is_opened_with_its_recipe(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    torch.save(tensors, tmp_path / "float.pt")
    trained = new_model(QUANTIZED, tmp_path / "float.pt", **SHAPE)
    trained.train()
    trained(torch.rand(8, 1, 8, 8))  # steps start
    torch.save({"net": prefixed("module.")(trained.state_dict())}, tmp_path / "weights.pt")
    found = open_network(tmp_path / "weights.pt", QUANTIZED).build_model()
    test = datasets.load("digits")
    assert np.array_equal(predict(found, test), predict(trained, test))
    with pytest.raises(InputError, match="it lacks .*; it has without|it has without a place"):
        open_network(tmp_path / "weights.pt", FLOAT)
    with pytest.raises(InputError, match="it lacks .*it fits a digits of width 4 in full"):
        open_network(tmp_path / "float.pt", QUANTIZED)


def test_a_state_dict_names_no_network_and_a_checkpoint_does(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    torch.save(tensors, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="is a state dict, .*: name a recipe with it"):
        open_network(tmp_path / "weights.pt")
    checkpoints.save(
        tmp_path / "own.pt",
        Checkpoint(recipe=FLOAT, epoch=1, accuracy=0.5, weights=tensors, **SHAPE),
    )
    assert open_network(tmp_path / "own.pt").recipe == FLOAT
    for more in ({"recipe": FLOAT}, {"mean": [0.5]}, {"std": [0.5]}):
        with pytest.raises(InputError, match="names its network and images itself"):
            open_network(tmp_path / "own.pt", **more)  # type: ignore[arg-type]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_eval_and_export_take_a_state_dict(
    tmp_path: Path,
    tensors: dict[str, Tensor],
    model: nn.Module,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(tensors, path)
    test = datasets.load("digits")
    named = (path, "--recipe", "digits-float", "--set", "width=4", "--format", "json")
    assert run("eval", *named) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == evaluate(model, test)
    assert run("eval", *named, "--mean", "0.9", "--std", "0.1") == 0
    moved = replace(test, mean=(0.9,), std=(0.1,))
    assert json.loads(capsys.readouterr().out)["top1"] == evaluate(model, moved)

    quantized = new_model(QUANTIZED, path, **SHAPE)
    quantized.train()
    quantized(torch.rand(32, 1, 8, 8))
    torch.save(quantized.state_dict(), path)
    target = tmp_path / "net.asq"
    named = (path, "--recipe", "digits-lsq-apot-w4a4", "--set", "width=4", "--format", "json")
    assert run("export", *named, "-o", target) == 0
    assert json.loads(capsys.readouterr().out)["references"] == {"digits": len(test)}
    network = modelfile.load(target)
    assert np.array_equal(network.references["digits"], predict(quantized, test))
    assert network.classes == test.classes
    assert network.name == "digits_lsq_apot_w4a4"
    assert run("export", *named, "-o", target, "--name", "mine") == 0
    assert json.loads(capsys.readouterr().out)["name"] == modelfile.load(target).name == "mine"
    assert run("export", *named, "-o", target, "--name", "a/b") == 2
    assert "name must be a name for a folder, not 'a/b'" in capsys.readouterr().err
    assert modelfile.load(target).name == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "width=4"], "--set replaces a value of --recipe, which is not given: width=4"),
        (["--recipe", "digits-float", "--mean", "a"], "--mean must be numbers such as"),
        (["--recipe", "digits-float", "--std", "0"], "std must be at least"),
        (["--recipe", "digits-float"], "it fits a digits of width 4"),
        (["--recipe", "nothing"], "recipe must be one of"),
        ([], "name a recipe with it"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path,
    tensors: dict[str, Tensor],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    torch.save(tensors, tmp_path / "weights.pt")
    for command in (["eval"], ["export", "-o", str(tmp_path / "x.asq")]):
        assert run(command[0], tmp_path / "weights.pt", *command[1:], *options) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.count("\n") == 1
        assert said in captured.err
    assert not (tmp_path / "x.asq").exists()
