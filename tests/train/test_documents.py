"""docs/training.md lists every method, and every key of a recipe."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("torch")

from asq_hw.train import models
from asq_hw.train.methods.catalog import ACTIVATION_NAMES, METHODS, WEIGHT_NAMES
from asq_hw.train.methods.method import Use
from asq_hw.train.recipes import Recipe

TEXT = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table in a section, without its two head lines."""
    section = TEXT.split(f"\n{heading}\n")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_method_is_listed_as_it_is() -> None:
    def words(use: Use | None) -> str:
        if use is None:
            return "-"
        return "exported" if use.has_integer_form else "trained only"

    expected = [
        [
            f"`{method.name}`",
            method.levels,
            words(method.weights),
            words(method.activations),
            method.source,
        ]
        for method in METHODS
    ]
    assert rows("### Methods") == expected


def test_every_key_of_a_recipe_has_its_row() -> None:
    meanings = {
        key: meaning
        for keys, meaning in rows("## Recipes")
        for key in re.findall(r"`([a-z_]+)`", keys)
    }
    assert set(meanings) == {field.name for field in fields(Recipe)}
    for key, methods in (("weights", WEIGHT_NAMES), ("activations", ACTIVATION_NAMES)):
        assert re.findall("`([^`]+)`", meanings[key]) == list(methods)
    assert re.findall("`([^`]+)`", meanings["model"]) == [*models.names(), "FILE.py:BUILDER"]
