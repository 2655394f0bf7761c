"""check, quantize, train, eval and export with FILE.py:BUILDER."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from asq_hw.cli import main
from asq_hw.errors import InputError
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.models.own import build_own
from asq_hw.train.refinement.options import Correction, PostTrainingSettings, Rounding
from tests.train.test_own import CODE

SMALL = ("--set", "training_images=64", "--threads", "1", "--format", "json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network's file, its weights, and a run of it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "beside.py").write_text("WIDTH = 6\n")
    (folder / "mynet.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        torch.manual_seed(0)
        torch.save(build_own("mynet.py:build").state_dict(), "w.pt")
        command = "train mynet.py:build --weights w.pt --data digits --bits 4 -o run"
        more = ("--set", "activations=asq", "--mean", "0.3", "--std", "0.4")
        assert main([*command.split(), *more, *SMALL]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def ran(capsys: pytest.CaptureFixture[str], command: str, status: int = 0) -> dict[str, object]:
    """Run a command; its output is one JSON object, whatever the network's code prints."""
    capsys.readouterr()
    assert main([*command.split(), "--format", "json"]) == status
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_check_names_layers_or_what_stops_them(capsys: pytest.CaptureFixture[str]) -> None:
    found = ran(capsys, "check mynet.py:build --weights w.pt --data digits")
    assert found["ok"] is True and found["findings"] == []
    assert found["layers"][0] == {  # type: ignore[index]
        "name": "stem",
        "kind": "Conv2d",
        "weights": "6 x 1 x 3 x 3",
        "place": "first or last",
        "input": "signed",
    }
    refused = ran(capsys, "check mynet.py:normed --input 1,8,8", status=1)
    assert refused["ok"] is False and refused["layers"] == []
    assert refused["findings"][0]["what"] == "group_norm has no integer form"  # type: ignore[index]


def test_a_checkpoint_is_evaluated_and_exported_like_a_known_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluated = ran(capsys, "eval run/last.pt")
    assert evaluated["dataset"] == "digits" and evaluated["recipe"] == "mynet-build-w4a4"
    ran(capsys, "export run/last.pt -o own.asq --calibration-images 32")
    simulated = ran(capsys, "simulate own.asq --data digits")
    assert simulated["reference_top1"] == evaluated["top1"]
    assert simulated["agreement"] >= 0.98  # type: ignore[operator]


def test_the_weights_of_ones_own_loop_are_exported(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(torch.load("run/last.pt", weights_only=True)["weights"], "q.pt")
    named = "mynet.py:build --weights q.pt --data digits --bits 4 --set activations=asq"
    more = "--mean 0.3 --std 0.4"
    ran(capsys, f"export {named} {more} -o loop.asq --calibration-images 32")
    ran(capsys, "export run/last.pt -o run.asq --calibration-images 32")
    found = [ran(capsys, f"simulate {name}.asq --data digits") for name in ("loop", "run")]
    assert found[0]["layers"] == found[1]["layers"] and found[0]["top1"] == found[1]["top1"]
    assert ran(capsys, f"eval {named} {more}")["top1"] == found[0]["reference_top1"]


def test_quantize_ends_in_a_model_file(capsys: pytest.CaptureFixture[str]) -> None:
    command = "quantize mynet.py:build --weights w.pt --data digits -o ptq.asq"
    made = ran(capsys, f"{command} --calibration-images 32 --method minmax")
    simulated = ran(capsys, "simulate ptq.asq --data digits")
    assert made["images"] == simulated["images"] == 359
    assert made["top1"] == simulated["reference_top1"]
    assert abs(made["top1"] - made["float_top1"]) < 0.05  # type: ignore[operator]
    assert simulated["agreement"] >= 0.98  # type: ignore[operator]


def test_what_quantize_is_told_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[PostTrainingSettings] = []

    def stop(*_: object, how: PostTrainingSettings, **__: object) -> None:
        told.append(how)
        raise InputError("enough")

    monkeypatch.setattr("asq_hw.train.post_training.quantize_trained", stop)
    command = "quantize mynet.py:build --weights w.pt --data digits -o x.asq"
    more = "--method minmax --rounding adaptive --equalize --correction bias"
    assert main(command.split()) == main(f"{command} {more}".split()) == 2
    assert told == [
        PostTrainingSettings(),
        PostTrainingSettings(
            scales=StepStart.MIN_MAX,
            equalize=True,
            rounding=Rounding.ADAPTIVE,
            correction=Correction.BIAS,
        ),
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train", "a network must be named: FILE.py:BUILDER, NET.onnx, or a recipe with --recipe"),
        ("train mynet.py:build", "--data must name the images that mynet.py:build is for"),
        ("train mynet --data digits", "must be given as FILE.py:BUILDER or NET.onnx, not 'mynet'"),
        ("train mynet.py:build --data digits --bits 9", "weight_bits must be 2..8, not 9"),
        ("train mynet.py:build --data digits --mean x", "--mean must be numbers such as"),
        ("train mynet.py:broken --data digits", "(mynet.py:32): ValueError: no weights"),
        ("check mynet.py:build --input 1,8", "--input must be channels, height and width"),
        ("check mynet.py:build --weights run/last.pt", "run/last.pt is a checkpoint, whose"),
        ("check mynet.py:build --input 3,8,8", "cannot be traced"),
        ("eval mynet.py:build --data digits", "--weights must name the state dict of mynet.py"),
        ("eval run/last.pt --bits 4", "--bits goes with a network of your own"),
        ("export run/last.pt --data digits -o x.asq", "--data goes with a network of your own"),
        ("export run/last.pt --weights w.pt -o x.asq", "--weights goes with a network of your"),
        ("quantize mynet.py:build --weights w.pt --data digits -o w.pt", "must not be --weights"),
        ("quantize mynet.py:build --weights no.pt --data digits -o x.asq", "no.pt"),
        (
            "quantize mynet.py:build --weights w.pt --data digits -o x.asq --set weights=none",
            "weights none have no integer form",
        ),
        (
            "quantize mynet.py:build --weights w.pt --data digits -o x.asq --method best",
            "method must be one of mse, minmax, not 'best'",
        ),
        (
            "quantize mynet.py:build --weights w.pt --data digits -o x.asq --rounding up",
            "rounding must be one of nearest, adaptive, not 'up'",
        ),
        (
            "quantize mynet.py:build --weights w.pt --data digits -o x.asq --correction all",
            "correction must be one of none, bias, batch-norm, not 'all'",
        ),
        (
            "quantize mynet.py:build --weights w.pt --data digits -o x.asq --mean 0.5,0.5",
            "mean must hold one number for each of 1 channels, not 2",
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    capsys.readouterr()
    assert main(command.split()) == 2
    printed = capsys.readouterr()
    last = printed.err.splitlines()[-1]
    assert printed.out == "" and last.startswith("asq-hw: error: ") and said in last
    assert not Path("x.asq").exists()


@pytest.mark.parametrize(
    "command",
    [
        "quantize mynet.py:build --weights w.pt --data digits -o mynet.py",
        "export run/last.pt -o mynet.py",
        "train last.pt.py:build --weights w.pt --data digits -o .",
    ],
)
def test_the_networks_own_file_is_not_written_over(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    if command.startswith("train"):
        command = command.replace("last.pt.py", str(folder / "last.py"))
        (folder / "last.py").write_text(CODE)
        (folder / "last.pt").unlink(missing_ok=True)
        (folder / "last.pt").symlink_to("last.py")
    assert main(command.split()) == 2
    said = capsys.readouterr().err
    assert "network" in said and "which is read" in said
    assert (folder / "mynet.py").read_text() == CODE
    assert not (folder / "log.jsonl").exists()
    (folder / "last.pt").unlink(missing_ok=True)
