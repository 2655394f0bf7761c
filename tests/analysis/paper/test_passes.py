"""Beta by pass and layer: gathered from the logs of runs, averaged over seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("pandas")

from analysis.paper import passes
from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint

START = "0123456789abcdef"


def beta(variation: float, mean: float = 1.0) -> dict[str, float]:
    return {"min": 0.9 * mean, "mean": mean, "max": 1.1 * mean, "variation": variation}


def run(
    folder: Path,
    seed: int,
    variations: list[list[float]],
    *,
    mean: float = 1.0,
    start: str = START,
    **changes: object,
) -> Path:
    """A run whose log has, for each pass, the variations of its layers."""
    folder.mkdir()
    name = f"ablation-asq-lsq-w4a4-seed{seed}"
    overrides: dict[str, object] = {"name": name, "seed": seed, **changes}
    saved = Checkpoint(
        recipe=recipes.load("digits-asq-lsq-w4a4", overrides),
        in_channels=1,
        num_classes=10,
        epoch=len(variations),
        accuracy=0.5,
        weights={"x": torch.zeros(1)},
        start=start,
    )
    checkpoints.save(folder / "last.pt", saved)
    entries: list[dict[str, Any]] = [
        {
            "epoch": index + 1,
            "loss": 0.25,
            "top1": 0.5,
            "beta": {f"l{i}": beta(v, mean) for i, v in enumerate(own)},
        }
        for index, own in enumerate(variations)
    ]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "log.jsonl").write_text(text)
    return folder


def test_variations_are_averaged_over_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path / "a", 1, [[0.01, 0.002], [0.05, 0.004]])
    second = run(tmp_path / "b", 2, [[0.03, 0.004], [0.07, 0.008]])
    (first / "commits.txt").write_text("abc123\ndef456\n")
    csv = tmp_path / "passes.csv"
    assert passes.main(["collect", str(first), str(second), "--output", str(csv)]) == 0
    lines = csv.read_text().splitlines()
    assert (
        lines[0] == "dataset,recipe,start,commit,seed,epoch,loss,top1,layer,min,mean,max,variation"
    )
    name = "digits,ablation-asq-lsq-w4a4-seed1"
    assert lines[1] == f"{name},{START},abc123 def456,1,1,0.25,0.5,l0,0.9,1,1.1,0.01"
    assert len(lines) == 1 + 2 * 2 * 2
    assert passes.main(["table", str(csv)]) == 0
    assert capsys.readouterr().out == (
        "ablation-asq-lsq-w4a4, seeds 1, 2:\n"
        "\n"
        "| layer | pass 1 | pass 2 |\n"
        "|---|--:|--:|\n"
        "| l0 | 2.00% | 6.00% |\n"
        "| l1 | 0.30% | 0.60% |\n"
        "| median | 1.15% | 3.30% |\n"
    )
    assert passes.main(["table", str(csv), "--passes", "2"]) == 0
    assert "| l0 | 6.00% |" in capsys.readouterr().out


def test_a_line_for_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path / "a", 1, [[0.01, 0.002], [0.05, 0.004]], mean=1.25)
    second = run(tmp_path / "b", 2, [[0.03, 0.004], [0.07, 0.008]], mean=0.75)
    other = run(tmp_path / "c", 1, [[0.04, 0.02]], name="ablation-asq-post-w4a4-seed1", mean=0.5)
    csv = tmp_path / "passes.csv"
    folders = [str(folder) for folder in (first, second, other)]
    assert passes.main(["collect", *folders, "--output", str(csv)]) == 0
    assert passes.main(["summary", str(csv)]) == 0
    assert capsys.readouterr().out == (
        "| runs | median, pass 1 | median, pass 2 | layers | beta's mean |\n"
        "|---|--:|--:|--:|--:|\n"
        "| ablation-asq-lsq-w4a4, seeds 1, 2 | 1.15% | 3.30% | 0.60% to 6.00% | 1.00 to 1.00 |\n"
        "| ablation-asq-post-w4a4, seed 1 | 3.00% | | 2.00% to 4.00% | 0.50 to 0.50 |\n"
    )


def test_the_figure_has_a_panel_for_each_kind(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / "a", 1, [[0.01, 0.002], [0.05, 0.004]]),
        run(tmp_path / "b", 1, [[0.04, 0.0]], name="ablation-asq-post-w4a4-seed1"),
    ]
    csv, figure = tmp_path / "passes.csv", tmp_path / "passes.svg"
    assert passes.main(["collect", *map(str, folders), "--output", str(csv)]) == 0
    assert passes.main(["draw", str(csv), "--output", str(figure)]) == 0
    plain = figure.read_text()
    assert plain.count("<image") == 2 + 1  # each panel and the bar of colors
    arguments = ["draw", str(csv), "--output", str(figure), "--titles", "one", "two"]
    assert passes.main(arguments) == 0
    assert figure.read_text() != plain
    frame = passes.read_frame(csv)
    with pytest.raises(InputError, match="titles must be 2, one for each kind, not 1"):
        passes.draw_passes(frame, figure, ["one"])
    frame.loc[frame["layer"] == "l1", "layer"] = ["l1", "l1", "m1"]
    with pytest.raises(InputError, match="must have the layers of ablation-asq-lsq-w4a4; .*post"):
        passes.draw_passes(frame, figure)


def test_kinds_of_runs_have_tables_of_their_own(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / "a", 1, [[0.01]]),
        run(tmp_path / "b", 1, [[0.04]], name="ablation-asq-post-w4a4-seed1"),
    ]
    text = passes.passes_table(passes.collect_passes(folders))
    assert text.count("pass 1") == 2
    assert "ablation-asq-post-w4a4, seed 1:" in text


def test_runs_that_do_not_go_together(tmp_path: Path) -> None:
    plain = run(tmp_path / "a", 1, [[0.01]])
    other = run(tmp_path / "b", 2, [[0.01]], start="f" * 16)
    with pytest.raises(InputError, match="runs must be of one start, not of 0123.*, ffff"):
        passes.collect_passes([plain, other])
    images = run(tmp_path / "c", 2, [[0.01]], dataset="cifar10")
    with pytest.raises(InputError, match="runs must be of one dataset, not of cifar10, digits"):
        passes.collect_passes([plain, images])


def test_logs_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = run(tmp_path / "a", 1, [])
    with pytest.raises(InputError, match="must have adapters and a pass that is done"):
        passes.collect_passes([empty])
    damaged = run(tmp_path / "b", 1, [[0.01]])
    for text in (
        "nothing",
        '{"epoch":1,"loss":1,"top1":1}',
        "[]",
        '{"epoch":1,"loss":1,"top1":1,"beta":{"l":{}}}',
    ):
        (damaged / "log.jsonl").write_text(text)
        with pytest.raises(InputError, match=r"log .*log.jsonl is damaged"):
            passes.collect_passes([damaged])
    missing = str(tmp_path / "none")
    assert passes.main(["collect", missing, "--output", str(tmp_path / "x.csv")]) == 2
    assert passes.main(["table", str(tmp_path / "x.csv")]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


def test_a_pass_that_was_not_trained(tmp_path: Path) -> None:
    frame = passes.collect_passes([run(tmp_path / "a", 1, [[0.01], [0.02]])])
    with pytest.raises(InputError, match=r"passes must be of 1\.\.2, not 3"):
        passes.passes_table(frame, [3])


def measured_last(folder: Path) -> None:
    """Leave in a run's log what is measured after its last pass alone."""
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for entry in entries[:-1]:
        del entry["top1"], entry["beta"]
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_passes_that_were_not_measured(tmp_path: Path) -> None:
    first, second = (run(tmp_path / n, i, [[0.01], [0.02]]) for i, n in enumerate("ab", 1))
    other = run(tmp_path / "c", 1, [[0.04], [0.05]], name="ablation-asq-post-w4a4-seed1")
    measured_last(second)
    frame = passes.collect_passes([first, second, other])
    assert "| l0 | 2.00% |" in passes.passes_table(frame, [2])
    with pytest.raises(InputError, match="pass 1 of ablation-asq-lsq-w4a4 was not measured with s"):
        passes.passes_table(frame)
    measured_last(first)
    frame = passes.collect_passes([first, second, other])
    assert passes.passes_table(frame).count("| l0 | 2.00% |") == 0
    with pytest.raises(InputError, match="of those that were measured in ablation-asq-lsq-w4a4"):
        passes.passes_summary(frame, [1])
    assert "| l0 | | 2.00% |" in passes.passes_table(frame)
    assert "| l0 | 4.00% | 5.00% |" in passes.passes_table(frame)


def test_the_log_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path / "a", 1, [[0.01]])
    log = folder / "log.jsonl"
    before = log.read_text()
    assert passes.main(["collect", str(folder), "--output", str(log)]) == 2
    assert log.read_text() == before
    assert "--output" in capsys.readouterr().err
