"""The table of what sets a step: its circuits, what it stores, and the runs' accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.paper.results import Result
from analysis.paper.steps import main, settings_of, step_table
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.exponent import ExponentFinder
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.serial_adapter import SerialAdapter
from rtl.quantizer.shift import ShiftQuantizer
from rtl.tools import MissingToolError, find_yosys
from tests.rtl.test_verify_network import tiny

ROOT = Path(__file__).parents[3]


def missing() -> str:
    """How to get Yosys where it is missing; empty where it is there."""
    try:
        find_yosys()
    except MissingToolError as error:
        return str(error)
    return ""


def result(variant: str, seed: int, correct: int) -> Result:
    return Result(
        dataset="cifar10", recipe="cifar10-ablation", settings="", start_recipe="s", start="",
        start_correct=9200, commit="", variant=variant, seed=seed, correct=correct, images=10_000,
        loss=None, training_loss=None,
    )  # fmt: skip


def test_all_ways_are_built_for_the_same_features_and_codes() -> None:
    learned, shared, constant = settings_of(LayerUnits.of(tiny(), "reader"))
    assert isinstance(learned.finders[1], SerialAdapter)
    # Codes up to 7, and 4 fraction bits: 4 less 2.
    assert shared.finders == (ExponentFinder(feature_bits=6, offset=2),)
    shape = {"bits": 3, "signed": False, "feature_bits": 6, "step_fraction_bits": 4}
    assert shared.quantizer == ShiftQuantizer(**shape)
    # Means of 0: 40 and -7 through the first stage, held at 0 or more: 35 and 0; 9 * 35 - 30 in
    # the second gives 285 * 700 / 2**17, rounded 2, and 3 is the least.
    assert constant.quantizer == ConstantQuantizer(step=3, **shape)
    # 3 cycles of pooling, 2 * 2 + 5 of the adapter, then the step is taken; 1 of rest and 7
    # thresholds of the ladder.
    assert learned.wait_cyc == 3 + 9 + 1 + 8
    assert shared.wait_cyc == 2 + 1 + 1
    assert constant.wait_cyc == 0


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_table_has_accuracy_storage_and_circuits() -> None:
    runs = [result("lsq-lsq-w4a4", 1, 9100), result("lsq-lsq-w4a4", 2, 9120)]
    table = step_table(settings_of(LayerUnits.of(tiny(), "reader")), ["gates"], runs)
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    learned, shared, constant = lines[2:]
    assert [row[1] for row in (learned, shared, constant)] == ["not measured"] * 2 + ["91.10 %, 2"]
    # What `asq-hw overhead resnet20 --bits 4 --convention stored --steps ...` prints.
    assert [row[2] for row in (learned, shared, constant)] == ["67,712", "0", "0"]
    areas = [int(row[4].replace(",", "")) for row in (learned, shared, constant)]
    own = [int(row[5].replace(",", "")) for row in (learned, shared, constant)]
    assert areas[0] > areas[1] > areas[2] == own[2] > 0
    assert own[0] < areas[0] and own[1] < areas[1]


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_document_holds_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "overhead.md").read_text(encoding="utf-8")
    name = "docs/data/cifar10.csv"
    assert f"`--results {name}` fills in" in text
    assert main(["--results", str(ROOT / name)]) == 0
    table, circuits = capsys.readouterr().out.strip().split("\n\n")
    assert table in text
    assert circuits in text.replace("`", "")


def test_what_cannot_be_measured_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", "absent.csv"]) == 2
    assert main(["--layer", "conv1"]) == 2
    assert main(["--target", "moon"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and all(line.startswith("error: ") for line in errors)
    assert "conv1 has no adapter" in errors[1] and "moon" in errors[2]
