"""Figures and level tables."""

import json
import math
import subprocess
import sys

import pytest

from analysis.cost.levels import level_rows
from analysis.paper.figures import draw_documentation, main, plot_grid, plot_overhead
from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST

POST = Grid(scheme=POST, bits=4)
STARTS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF"}


def test_rows_hold_codes_and_exact_values():
    rows = json.loads(json.dumps([row.as_dict() for row in level_rows(POST)]))
    assert [row["code"] for row in rows] == [0, *range(1, 8), *range(9, 16)]
    for row in rows:
        assert list(row) == ["code", "value", "even", "odd", "shift"]
        exact = (row["even"] + row["odd"] * math.sqrt(2)) / 2 ** row["shift"]
        assert row["value"] == pytest.approx(exact, rel=1e-15)
    # Index 6 of 1..7 is one step of sqrt(2) below 1.
    assert (rows[6]["even"], rows[6]["odd"], rows[6]["shift"]) == (0, 1, 1)


@pytest.mark.parametrize("suffix", STARTS)
def test_format_follows_the_suffix(suffix, tmp_path):
    for name, draw in (("grid", plot_grid), ("overhead", None)):
        path = tmp_path / f"{name}{suffix}"
        if draw is None:
            plot_overhead(path)
        else:
            draw(POST, path)
        assert path.read_bytes().startswith(STARTS[suffix])


@pytest.mark.parametrize(
    "grid",
    [
        Grid(scheme="uniform", bits=2, signed=False),
        Grid(scheme="post", bits=2, encoding="zero-free"),
        Grid(scheme="pot", bits=8, encoding="paper"),
        Grid(scheme="apot", bits=8),
    ],
    ids=str,
)
def test_every_kind_of_grid_is_drawn(grid, tmp_path):
    plain, chosen = tmp_path / "plain.svg", tmp_path / "chosen.svg"
    plot_grid(Grid(scheme="uniform", bits=grid.bits), plain)
    plot_grid(grid, chosen)
    assert chosen.read_bytes() != plain.read_bytes()


def test_the_same_figure_is_the_same_file(tmp_path):
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    plot_grid(POST, first)
    plot_grid(POST, second)
    assert first.read_bytes() == second.read_bytes()


def test_unknown_suffix_leaves_no_file(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.png, \.svg, \.pdf, not .*levels\.gif"):
        plot_grid(POST, tmp_path / "levels.gif")
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        plot_grid(POST, tmp_path / "nowhere" / "levels.png")


def test_failure_while_drawing_keeps_the_old_file(tmp_path):
    path = tmp_path / "overhead.png"
    path.write_bytes(b"old")
    with pytest.raises(InputError):
        plot_overhead(path, bits=17)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["overhead.png"]


def test_documentation_figures(tmp_path, capsys):
    folder = tmp_path / "figures"
    assert main([str(folder)]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(path) for path in sorted(folder.iterdir())]
    assert [path.name for path in draw_documentation(folder)] == ["levels-4bit.png", "overhead.png"]
    assert main([]) == 2


def test_drawing_leaves_pyplot_and_settings_alone():
    code = (
        "import sys, matplotlib, io; before = dict(matplotlib.rcParams);"
        "from analysis.paper.figures import plot_overhead; plot_overhead(sys.argv[1]);"
        "assert dict(matplotlib.rcParams) == before;"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code, f"{folder}/x.png"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.strip() == "False"


def test_importing_figures_loads_no_matplotlib():
    code = "import sys, analysis.paper.figures; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
