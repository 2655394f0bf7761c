"""The table of integers against PyTorch: its rows, and its shares by hand."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from analysis.ablation_results import Variant
from analysis.agreement import Agreement, agreement_table, exportable_variants
from asq_hw.train.methods.catalog import method_table

DOCUMENT = Path(__file__).parents[1] / "docs" / "ablation.md"


def test_every_method_that_exports_has_a_row_and_no_other() -> None:
    variants = exportable_variants()
    pairs = [(variant.weights, variant.activations) for variant in variants]
    assert len(set(pairs)) == len(pairs)
    assert {w for w, _ in pairs} == {i.name for i in method_table() if i.exports_weights}
    assert {a for _, a in pairs} == {i.name for i in method_table() if i.exports_activations}
    text = DOCUMENT.read_text(encoding="utf-8").split("## Integers against PyTorch")[1]
    assert re.findall(r"^\| (\S+) \| (\w+) \| \d", text, re.MULTILINE) == pairs


def test_shares_are_of_all_images() -> None:
    variant = Variant(label="x", weights="post", activations="asq")
    row = Agreement(variant=variant, images=200, trained=100, integer=150, agreeing=51)
    *_, line = agreement_table([row])
    assert line == "| post | asq | 50.00 % | 75.00 % | 25.50 % |"
