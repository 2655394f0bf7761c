"""Each figure is drawn from its CSV, and the table in the document is what its command prints."""

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")

from PIL import Image

from analysis.paper.distributions import main

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
