"""Measurements say where they come from; figures and tables are drawn from their CSVs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")

from PIL import Image

from analysis.paper.distributions import main
from analysis.paper.measured import ORIGIN
from analysis.paper.provenance import commit

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("kind", ["weights", "activations", "blocks", "layers", "beta"])
def test_figures_are_drawn(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.png"
    assert main(["draw", kind, str(DOCS / "data" / f"{kind}.csv"), "--output", str(path)]) == 0
    with Image.open(path) as drawn, Image.open(DOCS / "figures" / f"{kind}.png") as kept:
        assert drawn.size == kept.size
        darkest, brightest = drawn.convert("L").getextrema()
        assert darkest < 100 < 250 < brightest  # something on a white page


def test_the_table_of_beta_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(DOCS / "data" / "beta.csv")]) == 0
    assert capsys.readouterr().out in (DOCS / "ablation.md").read_text(encoding="utf-8")


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.csv")
    assert main(["draw", "beta", missing, "--output", str(tmp_path / "x.png")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and missing in error


SMALL = {"dataset": "digits", "model": "digits", "width": 4, "training_images": 128, "epochs": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two starts, and networks that were trained from them."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from asq_hw.train import recipes
    from asq_hw.train.run.training import train

    folder, paths = tmp_path_factory.mktemp("runs"), dict[str, Path]()
    for name, recipe, more, init in (
        ("start", "digits-float", {}, None),
        ("other start", "digits-float", {"seed": 2}, None),
        ("asq", "digits-asq-post-w4a4", {"seed": 5}, "start"),
        ("lsq", "digits-lsq-pot-w4a4", {}, "start"),
        ("other", "digits-lsq-pot-w4a4", {}, "other start"),
    ):
        result = train(
            recipes.load(recipe, SMALL | more),
            output=folder / name,
            init=None if init is None else paths[init],
            threads=1,
            must_export=False,  # so short a training leaves scales of any size
        )
        paths[name] = result.last
    return paths


def measure(kind: str, output: Path, *arguments: object) -> int:
    words = ["measure", kind, *map(str, arguments), "--images", "20", "--output", str(output)]
    return main(words)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_line_says_where_it_comes_from(tmp_path: Path, trained: dict[str, Path]) -> None:
    from asq_hw.train.checkpoints import checkpoint
    from asq_hw.train.checkpoints.digest import weights_digest

    start = weights_digest(checkpoint.load(trained["start"]).weights)
    asq, lsq = trained["asq"], trained["lsq"]
    for kind, paths in (("weights", (asq, lsq)), ("layers", (asq, lsq)), ("beta", (asq,))):
        output = tmp_path / f"{kind}.csv"
        more = ("--layer", "conv2", "--init", trained["start"])
        assert measure(kind, output, *paths, *more) == 0
        found = {tuple(row[key] for key in ORIGIN) for row in rows(output)}
        expected = {("digits", "digits-asq-post-w4a4", start, commit(), "5")}
        if lsq in paths:
            expected.add(("digits", "digits-lsq-pot-w4a4", start, commit(), "1"))
        assert found == expected
        assert main(["draw", kind, str(output), "--output", str(tmp_path / "x.png")]) == 0


@pytest.mark.parametrize(
    ("names", "more", "said"),
    [
        (("lsq", "other"), [], "must be of one start, not of"),
        (("lsq", "other start"), [], "must be of one start, not of"),
        (("other",), ["--init", "start"], "must be of one start, not of"),
        (("lsq",), ["--init", "asq"], "must be in full precision, not digits-asq-post-w4a4"),
        (("lsq",), ["--data", "bundled"], "bundled must have images of 1 x 8 x 8"),
    ],
)
def test_what_does_not_belong_together_is_not_measured(
    tmp_path: Path,
    trained: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    names: tuple[str, ...],
    more: list[str],
    said: str,
) -> None:
    paths = [trained[name] for name in names]
    words = [str(trained.get(word, word)) for word in more]
    assert measure("layers", tmp_path / "x.csv", *paths, *words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("dataset", "mnist", "must be of one dataset, not of cifar10, mnist"),
        ("start", "0" * 16, "must be of one start, not of 3e556593beaa06c8, 0000"),
        ("start", "", "must be of one start, not of 3e556593beaa06c8, unknown"),
        ("commit", None, "must have lines and columns dataset, recipe, start, commit, seed"),
    ],
)
def test_what_does_not_belong_together_is_not_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: str | None, said: str
) -> None:
    lines = rows(DOCS / "data" / "layers.csv")
    lines[-1][key] = str(value)
    names = [name for name in lines[0] if value is not None or name != key]
    with (tmp_path / "x.csv").open("w") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    drawn = tmp_path / "x.png"
    assert main(["draw", "layers", str(tmp_path / "x.csv"), "--output", str(drawn)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not drawn.exists()
