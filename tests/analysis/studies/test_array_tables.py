"""Tables of arrays and of energy: those of the document, and its sentences' numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.studies import ordering, precision
from analysis.studies.array_figure import main as draw
from analysis.studies.array_tables import (
    best_uniform,
    energy,
    energy_band,
    main,
    other_draws,
    ratio,
    tables,
)
from analysis.studies.measured import read
from rtl.array.kinds import ArrayKind

DOCS = Path(__file__).parents[3] / "docs"
ROWS = read(DOCS / "data" / "arrays.csv")
TEXT = " ".join((DOCS / "mac.md").read_text(encoding="utf-8").split())


def _row(kind: str, area: int, dataflow: str = "broadcast", **others: str) -> dict[str, str]:
    size = {"target": "ecp5", "lanes": "16", "channels": "16", "window": "0"}
    return size | {"kind": kind, "area": str(area), "dataflow": dataflow} | others


def largest(kind: ArrayKind) -> dict[str, str]:
    """The row of the arrays that the sentences are about."""
    (row,) = (
        row
        for row in ROWS
        if (row["kind"], row["target"], row["lanes"], row["channels"], row["window"])
        == (kind, "ecp5", "16", "16", "0")
    )
    return row


def test_the_document_holds_the_printed_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(DOCS / "data")]) == 0
    printed = capsys.readouterr().out
    text = (DOCS / "mac.md").read_text(encoding="utf-8")
    for name, table in tables(DOCS / "data").items():
        assert table in printed
        assert table in text, f"{name}: run python -m analysis.studies.array_tables docs/data"
    for table in (*ordering.tables(), precision.table()):
        assert table in text
    assert main([]) == 2


def test_a_ratio_is_over_uniform_arrays_of_the_same_size_and_dataflow() -> None:
    rows = [
        _row("uniform-15", 100),
        _row("uniform-16", 90),
        _row("uniform-sorted", 10, "gather"),
        _row("uniform-15", 1, target="ice40"),
        _row("uniform-15", 2, channels="1"),
        _row("post-dual", 99),
        _row("post-sorted", 12, "gather"),
    ]
    assert best_uniform(rows, rows[5]) == 90
    assert ratio(rows, rows[5]) == pytest.approx(1.1)
    assert ratio(rows, rows[6]) == pytest.approx(1.2)


def test_the_dual_step_is_within_a_tenth_of_the_best_uniform_array() -> None:
    assert ratio(ROWS, largest(ArrayKind.POST_DUAL)) <= 1.10


def test_the_sentences_on_arrays_are_those_of_the_rows() -> None:
    dual, pair, uniform = (
        largest(kind) for kind in (ArrayKind.POST_DUAL, ArrayKind.POST_PAIR, ArrayKind.UNIFORM_15)
    )
    assert float(uniform["area"]) == best_uniform(ROWS, dual)
    ours = {kind: f"{ratio(ROWS, largest(kind)):.2f}" for kind in ArrayKind}
    assert (
        f"It has {dual['area']} LUTs, {ours[ArrayKind.POST_DUAL]} times the best uniform one of "
        f"{uniform['area']}; the exact pair has {pair['area']}, {ours[ArrayKind.POST_PAIR]} times."
    ) in TEXT
    assert f"Sorted POST is {ours[ArrayKind.POST_SORTED]} times sorted uniform." in TEXT
    assert f"That costs {ours[ArrayKind.POST_DUAL]} times the best uniform array on ECP5" in TEXT
    assert f"need two trees, which costs {ours[ArrayKind.POST_PAIR]} times." in TEXT


def test_the_sentences_on_precision_are_those_of_the_table() -> None:
    drawn = precision.samples()
    grids = precision.GRIDS
    found = {
        (name, kind): precision.sqnr_db(drawn[kind], grids[name])
        for name in ("uniform, 15 levels", "uniform, 5 bits", "POT", "POST")
        for kind in ("Gauss", "Laplace")
    }
    gap = found["POST", "Gauss"] - found["POT", "Gauss"]
    assert f"in shifters and has {gap:.1f} dB more" in TEXT
    gap = found["POST", "Gauss"] - found["uniform, 15 levels", "Gauss"]
    assert abs(gap) < 0.1
    gap = found["POST", "Laplace"] - found["uniform, 15 levels", "Laplace"]
    assert f"and {gap:.1f} dB on Laplace's" in TEXT
    gap = found["uniform, 5 bits", "Gauss"] - found["POST", "Gauss"]
    assert f"A fifth uniform bit has {gap:.1f} dB more than POST" in TEXT


def test_the_sentences_on_energy_are_those_of_the_rows() -> None:
    units, arrays = (read(DOCS / "data" / f"energy-{name}.csv") for name in ("mac", "array"))
    layers = ["layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1"]
    for rows in (units, arrays):
        assert sorted({row["layer"] for row in rows}) == layers
    band = energy_band(units, lambda row: row["accumulation"] in ("pair", "shared"))
    assert f"exact sums in any order take {band} times the energy of the best uniform unit" in TEXT
    best = min(
        (row for row in units if row["scheme"] == "uniform" and row["target"] == "gates"),
        key=lambda row: float(row["energy_pj"]),
    )
    assert (best["levels"], best["signs"]) == ("15", "deferred")
    of_one_sum = energy_band(units, lambda row: row["scheme"] == "post-dual")
    assert (
        f"and the dual step {of_one_sum} times. That one has 15 levels and deferred signs" in TEXT
    )
    at_once = [row for row in units if row["signs"] == "immediate" and row["target"] == "gates"]
    least = min(
        (row for row in at_once if row["scheme"] == "uniform"),
        key=lambda row: float(row["energy_pj"]),
    )
    assert least["levels"] == "16"
    dual, pair = (
        energy_band(arrays, lambda row, kind=kind: row["kind"] == kind)  # type: ignore[misc]
        for kind in (ArrayKind.POST_DUAL, ArrayKind.POST_PAIR)
    )
    assert f"the dual step takes {dual} times the energy of the best uniform array" in TEXT
    assert f"the exact pair {pair} times." in TEXT


def test_the_sentence_on_the_energy_of_deferred_signs_is_that_of_the_rows() -> None:
    least: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in read(DOCS / "data" / "energy-mac.csv"):
        if (row["target"], row["seed"]) == ("gates", "1"):
            by_signs = least.setdefault((row["scheme"], row["accumulation"], row["layer"]), {})
            energy_pj = float(row["energy_pj"])
            by_signs[row["signs"]] = min(energy_pj, by_signs.get(row["signs"], energy_pj))
    saved = [100 * (1 - each["deferred"] / each["immediate"]) for each in least.values()]
    assert len(saved) == 15
    assert f"They save {min(saved):.0f} to {max(saved):.0f} % of the [energy]" in TEXT


def _energy(kind: str, layer: str, pj: float, over: str, seed: str = "1") -> dict[str, str]:
    numbers = {"energy_pj": str(pj), "clock_pj": "0.5", "energy_ratio": over, "seed": seed}
    return _row(kind, 1, target="gates", layer=layer) | numbers


def test_energy_is_a_band_over_layers_of_the_best_way() -> None:
    rows = [
        _energy("uniform-15", "a", 1.0, "1.0"),
        _energy("uniform-15", "a", 9.0, "9.0"),
        _energy("uniform-15", "b", 2.0, "1.0"),
        _energy("post-dual", "a", 1.5, "1.5"),
        _energy("post-dual", "b", 2.2, "1.1"),
        _energy("post-dual", "b", 0.1, "0.1", seed="2"),
        _energy("post-sorted", "a", 1.0, ""),
        _energy("post-sorted", "b", 1.0, ""),
    ]
    lines = energy(rows).splitlines()[2:]
    assert lines == [
        "| uniform, 15 levels | broadcast | 1.00 to 2.00 | 0.50 | 1.00 |",
        "| POST, dual step | broadcast | 1.50 to 2.20 | 0.50 | 1.10 to 1.50 |",
        "| POST, sorted | broadcast | 1.00 | 0.50 | - |",
    ]


def test_other_dot_products_of_a_layer_hardly_change_a_ratio() -> None:
    """Two runs whose seeds differ; the sentence is of the rows, and all is within 2 %."""
    files = [read(DOCS / "data" / name) for name in ("energy-mac.csv", "energy-array.csv")]
    energies, ratios = (
        max(other_draws(rows, key) for rows in files) for key in ("energy_pj", "energy_ratio")
    )
    assert f"by up to {100 * energies:.1f} %, and ratios by up to {100 * ratios:.1f} %" in TEXT
    assert max(energies, ratios) <= 0.02


def test_differences_are_those_of_the_same_unit_and_layer() -> None:
    rows = [
        _energy("uniform-15", "a", 1.0, "1.0") | {"unit": "u"},
        _energy("uniform-15", "a", 1.1, "1.0", seed="2") | {"unit": "u"},
        _energy("uniform-15", "b", 5.0, "1.0") | {"unit": "u"},
        _energy("post-dual", "a", 2.0, "2.0") | {"unit": "p"},
        _energy("post-dual", "a", 2.1, "1.9", seed="2") | {"unit": "p"},
    ]
    assert other_draws(rows, "energy_pj") == pytest.approx(0.1)
    assert other_draws(rows, "energy_ratio") == pytest.approx(2 / 1.9 - 1)


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    target = tmp_path / "figure.png"
    assert draw([str(DOCS / "data" / "arrays.csv"), str(target)]) == 0
    assert target.read_bytes().startswith(b"\x89PNG")
    assert draw([]) == 2
