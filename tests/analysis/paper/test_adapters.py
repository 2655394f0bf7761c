"""Accuracy against what adapters store: storage counted by hand, differences by seed."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from analysis.paper import adapters
from analysis.paper.results import Result, read_results, write_results
from analysis.paper.row_training import Plan
from asq_hw.errors import InputError
from asq_hw.network.topologies import TOPOLOGIES
from asq_hw.train import recipes
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.models import build
from asq_hw.train.quantizers.adapter import PaperAdapter
from asq_hw.train.quantizers.log_linear import LogLinearAdapter

DOCUMENT = Path(__file__).parents[3] / "docs" / "ablation.md"
CONTROL, PAPER = "asq-constant-lsq-w4a4", "asq-lsq-w4a4"
BLOCK = f"{PAPER}-adapter-block"
LOG_LINEAR = f"{PAPER}-adapter-log-linear"
NO_HIDDEN = f"{PAPER}-adapter-ratio-64"  # but in wide layers


def result(variant: str, seed: int, correct: int, **changes: object) -> Result:
    found = Result(
        dataset="cifar10",
        recipe="cifar10-ablation",
        settings="model=resnet20 epochs=10",
        start_recipe="start",
        start="0" * 16,
        start_correct=9224,
        commit="",
        variant=variant,
        seed=seed,
        correct=correct,
        images=10000,
        loss=0.3,
        training_loss=0.1,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def test_storage_and_differences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [result(CONTROL, 1, 9100), result(CONTROL, 2, 9110)]
    rows += [result(PAPER, 1, 9110), result(PAPER, 2, 9140), result(BLOCK, 1, 9130)]
    csv, figure = tmp_path / "rows.csv", tmp_path / "designs.png"
    write_results(csv, rows)
    assert adapters.main([str(csv), "--figure", str(figure)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "resnet20:"
    # 7,592 weights of 8 bits, 188 biases of 32, 20 layers with two multipliers of 16 and shifts of
    # 8 each; the network's own bits are the same beside any of them.
    paper, block, control = (line.split(" | ") for line in lines[4:7])
    assert paper[0] == "| the paper's adapters"
    assert paper[1:] == ["67,712", "6.0%", "91.25 %", "0.3000", "+0.20 ± 1.27", "2 |"]
    assert block[0] == "| the paper's adapters, one for a block"
    assert block[1:] == ["28,352", "2.5%", "91.30 %", "0.3000", "| 1 |"]
    assert control == ["| control of scheme 1", "0", "0.0%", "91.05 %", "0.3000", "| 2 |"]
    assert figure.stat().st_size > 1000


@pytest.mark.parametrize("network", ["resnet20", "mobilenetv2-32"])
@pytest.mark.parametrize("row", [PAPER, f"{PAPER}-adapter-ratio-16", NO_HIDDEN, BLOCK, LOG_LINEAR])
def test_storage_is_that_of_the_network_that_is_trained(network: str, row: str) -> None:
    """Weights of 8 bits and biases of 32, of every adapter that the trainer makes."""
    settings = f"model={network} width=8"
    (design,) = adapters.designs_of([result(row, 1, 9000, settings=settings)])
    variant = next(one for one in adapters.TABLES["adapters"].rows if one.key == row)
    shared = recipes.load("cifar10-ablation", [f"model={network}", "width=8"])
    recipe = recipes.from_dict(shared.to_dict() | variant.overrides(1))
    model = quantize(build(network, width=8, in_channels=3, num_classes=10), recipe)
    bits = 0
    for module in model.modules():
        if isinstance(module, PaperAdapter):
            for linear in module.linear_layers():
                assert linear.bias is not None
                bits += 8 * linear.weight.numel() + 32 * linear.bias.numel()
        if isinstance(module, LogLinearAdapter):
            bits += 8 * module.weight.numel() + 32
    scales = design.stored_bits - bits
    assert 0 < scales < 0.05 * bits + 3000
    assert scales % 8 == 0


def test_the_document_holds_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    names = ["docs/data/cifar10.csv", "docs/data/cifar10-mobilenetv2.csv"]
    assert f"python -m analysis.paper.adapters {' '.join(names)} --figure docs/figures/" in text
    assert adapters.main([str(DOCUMENT.parents[1] / name) for name in names]) == 0
    for part in capsys.readouterr().out.strip().split("\n\n"):
        assert part in text


def test_mobilenets_results_are_of_the_documents_command() -> None:
    results = read_results(DOCUMENT.with_name("data") / "cifar10-mobilenetv2.csv")
    changes = ("model=mobilenetv2-32", "width=8", "epochs=5", "early_epochs=3")
    plan = Plan(recipe="cifar10-ablation", overrides=changes, runs=Path("runs"))
    assert {each.settings for each in results} == {plan.settings()}
    assert {each.start_recipe for each in results} == {"cifar10-mobilenetv2-float"}
    text = DOCUMENT.read_text(encoding="utf-8")
    assert " ".join(f"--set {change}" for change in changes) in text


def test_the_default_width_is_that_of_recipes() -> None:
    (width,) = (one.default for one in fields(recipes.Recipe) if one.name == "width")
    assert width == adapters.DEFAULT_WIDTH


def test_results_that_cannot_be_priced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="must hold a row of the table adapters, and do not"):
        adapters.designs_of([result("pot-lsq-w4a4", 1, 9000)])
    known = ", ".join(TOPOLOGIES)
    with pytest.raises(InputError, match=f"must be one of {known}, not 'net.py:build'"):
        adapters.designs_of([result(PAPER, 1, 9000, settings="model=net.py:build")])
    with pytest.raises(InputError, match="width of results must be a number, not 'wide'"):
        adapters.designs_of([result(PAPER, 1, 9000, settings="model=resnet20 width=wide")])
    with pytest.raises(InputError, match="dataset of results must be one of cifar10, .*'mine'"):
        adapters.designs_of([result(PAPER, 1, 9000, dataset="mine")])
    assert adapters.main([str(tmp_path / "none.csv")]) == 2
    csv = tmp_path / "rows.csv"
    write_results(csv, [result(PAPER, 1, 9000)])
    assert adapters.main([str(csv), "--figure", str(csv)]) == 2
    assert adapters.main([str(csv), "--figure", str(tmp_path / "x.txt")]) == 2
    assert capsys.readouterr().err.count("error: ") == 3
