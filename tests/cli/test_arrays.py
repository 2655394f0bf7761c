"""check, quantize and simulate with arrays, and with networks that return several tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import asq_hw
from asq_hw import modelfile
from asq_hw.cli import main
from tests.helpers.networks import network_of_several_outputs

CODE = """
import torch
from torch import nn

class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 10)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return {"map": x, "cls": self.fc(x.mean([2, 3]))}

def sensor():
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
"""
VALUES = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).numpy() * 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    (folder / "nets.py").write_text(CODE)
    names: dict[str, Any] = {}
    exec(compile(CODE, "nets.py", "exec"), names)
    torch.manual_seed(0)
    for name, build in (("heads", names["Heads"]), ("sensor", names["sensor"])):
        torch.save(build().state_dict(), folder / f"{name}.pt")
    np.save(folder / "values.npy", VALUES)
    np.save(folder / "integers.npy", np.floor(VALUES * 8 + 0.5).astype(np.int16))
    np.save(folder / "wrong.npy", np.array([[0, 2048, 0]]))
    modelfile.save(network_of_several_outputs(), folder / "several.asq")
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def ran(capsys: pytest.CaptureFixture[str], command: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*command.split(), "--format", "json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refused(capsys: pytest.CaptureFixture[str], command: str) -> str:
    capsys.readouterr()
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_vectors_from_check_to_simulate(capsys: pytest.CaptureFixture[str]) -> None:
    for size in ("--input 3", "--data values.npy"):
        found = ran(capsys, f"check nets.py:sensor --weights sensor.pt {size}")
        assert found["ok"] and [layer["name"] for layer in found["layers"]] == ["0", "2"]
    common = "quantize nets.py:sensor --weights sensor.pt --input-bits 9"
    made = ran(capsys, f"{common} --data values.npy -o found.asq")
    assert (made["images"], made["float_top1"], made["top1"]) == (30, None, None)
    network = asq_hw.load("found.asq")
    assert network.images is not None
    assert (network.input.bits, network.input.signed) == (9, True)
    reach = float(np.abs(VALUES).max())
    assert reach * 1.5 / 255 <= float(network.images.format.step or 0) < reach * 3 / 255
    found = ran(capsys, "simulate found.asq --data values.npy --limit 7")
    assert (found["images"], found["top1"], found["agreement"]) == (7, None, None)
    (output,) = found["outputs"]
    assert (output["name"], output["shape"], output["scores"]) == ("scores", [2, 1, 1], True)
    ran(capsys, f"{common} --data integers.npy --step 1/8 -o given.asq")
    one, other = (
        ran(capsys, f"simulate given.asq --data {name}.npy") for name in ("integers", "values")
    )
    assert one["outputs"] == other["outputs"]
    module = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    module.load_state_dict(torch.load("sensor.pt"))
    wanted = module(torch.from_numpy(VALUES)).detach().numpy()
    result = asq_hw.simulate("given.asq", VALUES).outputs["scores"].real.reshape(-1, 2)
    assert np.abs(result - wanted).max() < 0.05 * np.abs(wanted).max()


def test_several_outputs_have_no_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    made = ran(
        capsys,
        "quantize nets.py:Heads --weights heads.pt --data digits --calibration-images 16 -o h.asq",
    )
    assert (made["float_top1"], made["top1"]) == (None, None)
    found = ran(capsys, "simulate h.asq --data digits --limit 5")
    assert (found["top1"], found["reference_top1"], found["agreement"]) == (None, None, None)
    assert [(one["name"], one["shape"]) for one in found["outputs"]] == [
        ("map", [4, 8, 8]),
        ("cls", [10, 1, 1]),
    ]
    capsys.readouterr()
    assert main(["simulate", "h.asq", "--data", "digits", "--limit", "5"]) == 0
    table = capsys.readouterr().out
    assert "no class scores; map 4 x 8 x 8, " in table and "top-1" not in table


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "simulate several.asq --data wrong.npy",
            "wrong.npy: an input's values must be -2048..",
        ),
        ("simulate several.asq --data values.npy", "what its input stands for takes integers"),
        ("simulate several.asq --data missing.npy", "data missing.npy does not exist"),
        (
            "simulate several.asq --data digits",
            "takes integers of 12 bits, which no data set",
        ),
        (
            "simulate bundled --data values.npy",
            "must hold samples of the network's shape (1, ",
        ),
        ("check nets.py:sensor --input 3,4", "channels, height and width, or a vector's channels"),
        (
            "quantize nets.py:sensor --weights sensor.pt --data integers.npy -o n.asq",
            "step must be given of integers",
        ),
        (
            "quantize nets.py:sensor --weights sensor.pt --data values.npy --unsigned -o n.asq",
            "an input's values must be 0..",
        ),
        (
            "quantize nets.py:sensor --weights sensor.pt --data values.npy --scores x -o n.asq",
            "scores must be one of the network's outputs output, not 'x'",
        ),
        (
            "quantize nets.py:Heads --weights heads.pt --data digits --step 1 -o n.asq",
            "--step goes with an array",
        ),
        (
            "train nets.py:Heads --weights heads.pt --data digits -o run",
            "must return class scores, and returns maps or several tensors",
        ),
    ],
)
def test_what_does_not_go_is_one_line(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, command)
    assert not Path("n.asq").exists()
