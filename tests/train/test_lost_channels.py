"""Output channels that rounding leaves without a weight are counted, and named by the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("sklearn")

from asq_hw.cli import main
from asq_hw.train import models, recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.lost_channels import lost_channels
from asq_hw.train.quantizers.weights import ScaledWeightQuantizer, UniformWeightQuantizer
from asq_hw.train.recipes import Recipe

CONV1 = "layer conv1: the weights of {} all round to 0"


def recipe(*changes: str) -> Recipe:
    return recipes.load("digits-asq-lsq-w4a4", ["width=8", *changes])


def network(*changes: str) -> nn.Module:
    torch.manual_seed(3)
    model = models.build("digits", width=8, in_channels=1, num_classes=10)
    return quantize(model, recipe(*changes)).eval()


def lose(model: nn.Module, channels: int) -> None:
    """Let the learned steps of the first channels be far beyond their weights."""
    steps = model.get_parameter("conv1.weight_quantizer.learned.value")
    with torch.no_grad():
        steps[:channels] = 100.0


def test_what_rounds_to_nothing_is_counted() -> None:
    assert lost_channels(models.build("digits", width=8, in_channels=1, num_classes=10)) == {}
    model = network()
    assert lost_channels(model) == {}
    lose(model, 3)
    with torch.no_grad():
        model.get_parameter("conv1.weight")[0] = 0  # was nothing before, and is not lost
        model.get_parameter("conv2.weight_quantizer.learned.value").fill_(100.0)
    assert lost_channels(model) == {"conv1": 2, "conv2": 16}


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_eval_and_export_name_the_layer(
    lost: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network()
    model.train()
    with torch.no_grad():
        model(torch.randn(32, 1, 8, 8))
    lose(model, lost)
    path = tmp_path / "last.pt"
    checkpoints.save(
        path,
        Checkpoint(
            recipe=recipe(),
            in_channels=1,
            num_classes=10,
            epoch=1,
            accuracy=0.5,
            weights=model.state_dict(),
        ),
    )
    said = [] if lost == 0 else [CONV1.format(f"{lost} output channel{'s' if lost > 1 else ''}")]
    assert main(["eval", str(path), "--limit", "8", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["lost_channels"] == ({"conv1": lost} if lost else {})
    assert captured.err.splitlines() == [f"asq-hw: warning: {line}" for line in said]
    output = ["-o", str(tmp_path / "model.asq"), "--calibration-images", "8"]
    assert main(["export", str(path), *output]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings == [f"asq-hw: warning: {line}" for line in said]


def test_a_run_tells_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At such a pace learned 8-bit steps run away that nothing holds, and no others do."""
    monkeypatch.setattr(UniformWeightQuantizer, "_gradient_scale", lambda *_: 10.0)
    lost = {}
    for edges, held in (("lsq", True), ("lsq", False), ("min-max", False)):
        if not held:
            monkeypatch.setattr(ScaledWeightQuantizer, "_hold", lambda *_: None)
        settings = (f"edge_weights={edges}", "width=8", "epochs=1")
        changes = [part for one in settings for part in ("--set", one)]
        command = ["train", "--recipe", "digits-asq-lsq-w4a4", *changes, "--threads", "1"]
        run = tmp_path / f"{edges}-{held}"
        assert main([*command, "-o", str(run), "--format", "json"]) == 0
        captured = capsys.readouterr()
        (line,) = (run / "log.jsonl").read_text().splitlines()
        lost[edges, held] = json.loads(captured.out)["lost_channels"]
        assert json.loads(line)["lost_channels"] == lost[edges, held]
        assert ("layer conv1: the weights of" in captured.err) == ("conv1" in lost[edges, held])
    assert lost["lsq", False].get("conv1", 0) > 0
    for others in (("lsq", True), ("min-max", False)):
        assert "conv1" not in lost[others] and "fc" not in lost[others]
