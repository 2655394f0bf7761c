"""The table of integers against PyTorch: its rows, its shares by hand, and one row measured."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from analysis.paper.agreement import (
    RECIPE,
    Agreement,
    agreement_table,
    chosen_variants,
    exportable_variants,
    main,
    measure,
)
from analysis.paper.row_training import Plan, train_start
from analysis.paper.rows import Variant
from asq_hw import datasets
from asq_hw.errors import InputError
from asq_hw.sim import simulate
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint
from asq_hw.train.evaluation import predict
from asq_hw.train.export.network import export_network
from asq_hw.train.methods.catalog import ACTIVATION_METHODS, WEIGHT_METHODS, exportable
from asq_hw.train.run import training

DOCUMENT = Path(__file__).parents[3] / "docs" / "ablation.md"


def test_every_method_that_exports_has_a_row_and_no_other() -> None:
    variants = exportable_variants()
    pairs = [(variant.weights, variant.activations) for variant in variants]
    assert len(set(pairs)) == len(pairs)
    assert {w for w, _ in pairs} == set(exportable(WEIGHT_METHODS))
    assert {a for _, a in pairs} == {
        n for n, use in ACTIVATION_METHODS.items() if use.has_integer_form
    }
    text = DOCUMENT.read_text(encoding="utf-8").split("## Integers against PyTorch")[1]
    (others,) = re.findall(r"^Not measured: (.*)\.$", text, re.MULTILINE)
    without = re.findall("`([^`]+)`", others)
    rows = re.findall(r"^\| (\S+) \| (\S+) \| \d", text, re.MULTILINE)
    assert rows == [pair for pair in pairs if not {*pair} & {*without}]
    assert set(without) <= {name for pair in pairs for name in pair}


def test_rows_are_chosen_by_their_methods() -> None:
    first, *_, last = exportable_variants()
    names = [f"{variant.weights},{variant.activations}" for variant in (last, first)]
    assert chosen_variants(names) == [last, first]
    assert chosen_variants(None) == exportable_variants()
    assert [variant.bits for variant in chosen_variants(names, bits=8)] == [8, 8]
    with pytest.raises(InputError, match=r"--only must be of lsq,lsq .* not 'lsq'"):
        chosen_variants(["lsq"])


def test_shares_are_of_all_images() -> None:
    variant = Variant(label="x", weights="post", activations="asq")
    row = Agreement(
        variant=variant,
        images=200,
        trained=100,
        integer=150,
        agreeing=51,
        controls=50,
        double=49,
        nudged=10,
    )
    *_, line = agreement_table([row])
    assert line == "| post | asq | 50.00 % | 75.00 % | 25.50 % | 98.0 % | 20.0 % |"


def test_what_makes_a_row_is_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--init", str(tmp_path / "none"), "--runs", str(tmp_path), "--only", "lsq,pact"]
    assert main([*arguments, "--set", "weight_bits=8"]) == 2
    assert "cannot replace what makes a row of the table: weight_bits" in capsys.readouterr().err
    assert main([*arguments, "--data", "nowhere"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_row_is_trained_once_and_measured(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    small = ["dataset=digits", "model=digits", "crop_padding=0", "flip=false"]
    start = recipes.load("digits-float", ["epochs=2", *small])
    init = training.train(start, output=tmp_path / "float", threads=1).last
    variant = Variant(label="x", weights="pot", activations="asq")
    overrides = (*small, "training_images=320", "batch_size=32", "precision=float32")
    plan = Plan(recipe=RECIPE, overrides=overrides, runs=tmp_path, init=init)
    source = train_start(plan, 1)

    def measured() -> Agreement:
        return measure(variant, plan, source)

    row = measured()
    last = tmp_path / f"agreement-{variant.key}" / "last.pt"
    written = last.stat().st_mtime_ns
    assert measured() == row
    assert last.stat().st_mtime_ns == written
    model, recipe = checkpoint.load_model(last)
    assert (recipe.weights, recipe.activations, recipe.model) == ("pot", "asq", "digits")
    test = datasets.load("digits")
    assert row.images == row.controls == len(test)
    assert test.labels is not None
    network = export_network(model, recipe, datasets.load("digits", split="train", limit=1024))
    trained, integer = predict(model, test), simulate(network, test.images).predictions
    assert row.trained == (trained == test.labels).sum()
    assert row.integer == (integer == test.labels).sum()
    assert row.agreeing == (trained == integer).sum()
    assert min(row.double, row.nudged) > 0.9 * len(test)
