"""What adapting is worth on plain and on changed images: counted again, and printed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from analysis.paper import changed
from analysis.paper.distribution_figures import read_frame
from asq_hw import datasets
from asq_hw.datasets import Dataset
from asq_hw.train import models, recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.data.batches import normalize
from asq_hw.train.data.changes import ImageChange
from asq_hw.train.evaluation import evaluate, predict
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.inspection import constant_beta
from asq_hw.train.measurement import measure

IMAGES = 60
FIRST = "dataset,recipe,start,commit,seed,row,brightness,contrast,images"
HEAD = f"{FIRST},correct,loss,held_correct,held_loss,gained,lost"


def network(folder: Path, row: str, seed: int, **methods: object) -> tuple[Path, nn.Module]:
    """A row of the ablation that saw one batch; its adapters, if any, move beta widely."""
    folder.mkdir(exist_ok=True)
    name = f"ablation-{row}-seed{seed}"
    overrides: dict[str, object] = {"name": name, "seed": seed, "width": 8, **methods}
    recipe = recipes.load("digits-asq-lsq-w4a4", overrides)
    torch.manual_seed(seed)
    model = quantize(models.build("digits", width=8, in_channels=1, num_classes=10), recipe)
    for key, parameter in model.named_parameters():
        if "adapter" in key and key.endswith("weight"):
            nn.init.normal_(parameter, std=2.0)
    images = datasets.load("digits", split="train", limit=64)
    with torch.no_grad():
        model(normalize(torch.from_numpy(images.images.copy()), mean=images.mean, std=images.std))
    path = folder / f"{name}.pt"
    checkpoints.save(
        path,
        Checkpoint(
            recipe=recipe,
            in_channels=1,
            num_classes=10,
            epoch=1,
            accuracy=0.5,
            weights=model.state_dict(),
            start="0123456789abcdef",
        ),
    )
    return path, model.eval()


@torch.inference_mode()
def loss_of(model: nn.Module, data: Dataset, change: ImageChange) -> float:
    pixels = change(torch.from_numpy(data.images.copy()))
    logits = model(normalize(pixels, mean=data.mean, std=data.std)).double()
    labels = torch.tensor(data.labels)
    return float(nn.functional.cross_entropy(logits, labels))


def test_images_are_counted_as_eval_counts_them(tmp_path: Path) -> None:
    csv = tmp_path / "changed.csv"
    asq, model = network(tmp_path, "asq-lsq-w4a4", 1)
    lsq, plain = network(tmp_path, "lsq-lsq-w4a4", 1, activations="lsq")
    command = ["measure", str(asq), str(lsq), "--output", str(csv), "--images", str(IMAGES)]
    assert changed.main(command) == 0
    frame = read_frame(csv)
    assert ",".join(frame.columns) == HEAD
    assert frame["row"].tolist() == ["asq-lsq-w4a4"] * 4 + ["lsq-lsq-w4a4"] * 4
    data = datasets.load("digits").sample(IMAGES)
    means = {layer: beta["mean"] for layer, beta in measure(model, data).beta.items()}
    flips = 0
    for line in frame.to_dict("records"):
        change = ImageChange(brightness=line["brightness"], contrast=line["contrast"])
        own = plain if line["row"] == "lsq-lsq-w4a4" else model
        assert line["correct"] / IMAGES == evaluate(own, data, change=change)
        assert line["loss"] == pytest.approx(loss_of(own, data, change), rel=1e-5)
        if own is plain:
            assert line["held_correct"] != line["held_correct"]  # nothing to hold
            continue
        free = predict(model, data, change=change) == data.labels
        with constant_beta(model, means):
            held = predict(model, data, change=change) == data.labels
            assert line["held_loss"] == pytest.approx(loss_of(model, data, change), rel=1e-5)
        assert line["held_correct"] == held.sum()
        assert line["gained"] == (free & ~held).sum()
        assert line["lost"] == (held & ~free).sum()
        flips += line["gained"] + line["lost"]
    assert flips > 0  # or nothing was held


def test_the_table_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "changed.csv"
    lines = [
        "d,r,s,c,1,asq-lsq-w2a2,1,1,200,180,0.5,178,0.52,3,1",
        "d,r,s,c,1,asq-lsq-w2a2,1,0.5,200,160,0.75,160,0.7,2,2",
        "d,r,s,c,2,asq-lsq-w2a2,1,1,200,182,0.4,184,0.42,0,2",
        "d,r,s,c,2,asq-lsq-w2a2,1,0.5,200,164,0.65,162,0.6,18,16",
        "d,r,s,c,1,asq-constant-lsq-w2a2,1,1,200,176,0.6,,,,",
        "d,r,s,c,2,asq-constant-lsq-w2a2,1,1,200,178,0.5,,,,",
    ]
    csv.write_text("\n".join([HEAD, *lines]) + "\n")
    assert changed.main(["table", str(csv)]) == 0
    # Of one degree of freedom t is 12.7062; the normal quantile is 1.95996.
    # Gained + lost of plain: 4 and 2, so 100 * 1.95996 * (2 + 1.41421) / 2 / 200 = 1.67.
    assert capsys.readouterr().out == (
        "| images | row | seeds | top-1 | loss | top-1 with beta held | adapting, points (95 %) "
        "| adapting, loss (95 %) | flips alone, one network |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|--:|\n"
        "| plain | scheme 1, 2 bits | 2 | 90.50 % | 0.4500 | 90.50 % | +0.00 ± 12.71 "
        "| -0.0200 ± 0.0000 | ± 1.67 |\n"
        "| plain | control of scheme 1, 2 bits | 2 | 88.50 % | 0.5500 |  |  |  |  |\n"
        "| contrast x 0.5 | scheme 1, 2 bits | 2 | 81.00 % | 0.7000 | 80.50 % | +0.50 ± 6.35 "
        "| +0.0500 ± 0.0000 | ± 3.84 |\n"
        "\n"
        "| images | row | against | top-1, points (95 %) | loss (95 %) | seeds |\n"
        "|---|---|---|--:|--:|--:|\n"
        "| plain | scheme 1, 2 bits | control of scheme 1, 2 bits | +2.00 ± 0.00 "
        "| -0.1000 ± 0.0000 | 2 |\n"
    )


def test_one_seed_has_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = tmp_path / "changed.csv"
    csv.write_text(f"{HEAD}\nd,r,s,c,1,asq-lsq-w2a2,1,1,200,180,0.5,178,0.52,3,1\n")
    assert changed.main(["table", str(csv)]) == 0
    (line,) = capsys.readouterr().out.splitlines()[2:]
    assert line.endswith("| 1 | 90.00 % | 0.5000 | 89.00 % | +1.00 | -0.0200 | ± 1.96 |")


def test_what_does_not_compare_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "changed.csv"
    asq, _ = network(tmp_path, "asq-lsq-w4a4", 1)
    other, _ = network(tmp_path, "mine", 1)
    again, _ = network(tmp_path / "again", "asq-lsq-w4a4", 1)
    command = ["measure", "--output", str(csv), "--images", "8"]
    for paths, message in (
        ([other], "must be of rows of the ablation, which ablation-mine-seed1 is not"),
        ([asq, again], "must be of asq-lsq-w4a4 and seed 1 once"),
    ):
        assert changed.main([*command, *map(str, paths)]) == 2
        assert message in capsys.readouterr().err
    assert changed.main([*command, str(asq), "--images", "0"]) == 2
    assert "images must be at least 1, not 0" in capsys.readouterr().err
    assert not csv.exists()
    csv.write_text(f"{FIRST}\nd,r,s,c,1,asq-lsq-w2a2,1,1,200\n")
    assert changed.main(["table", str(csv)]) == 2
    assert "must have the columns" in capsys.readouterr().err
    csv.write_text(f"{HEAD}\nd,r,s,c,1,mine,1,1,200,180,0.5,178,0.52,3,1\n")
    assert changed.main(["table", str(csv)]) == 2
    assert "row must be one of the tables' rows, not 'mine'" in capsys.readouterr().err
