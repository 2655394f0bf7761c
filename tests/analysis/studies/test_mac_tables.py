"""Tables of docs/mac.md: those that the command prints, and figures that follow from the rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from analysis.studies.mac_tables import (
    best,
    comparison,
    deferred_signs,
    dot_products,
    main,
    recoded,
    speed,
    tables,
    units,
)
from analysis.studies.measured import read
from asq_hw.errors import InputError

DOCS = Path(__file__).parents[3] / "docs"


def _row(scheme, target, *, area=10, mhz="", **others):
    row = {
        "scheme": scheme,
        "target": target,
        "luts": "" if target == "gates" else str(area),
        "transistors": str(area) if target == "gates" else "",
        "ffs": "1",
        "cells": str(area + 2) if mhz else "",
        "fmax_mhz": str(mhz),
        "latency_cyc": "4",
        "cycles_per_product": "1",
        "accumulation": "single",
        "style": "rows",
        "clear": "ahead",
        "pipeline": "1",
        "segments": "1",
    }
    return row | others


def test_the_document_holds_the_printed_tables_and_no_other_figures(capsys):
    assert main([str(DOCS / "data")]) == 0
    printed = capsys.readouterr().out
    text = (DOCS / "mac.md").read_text(encoding="utf-8")
    for name, table in tables(DOCS / "data").items():
        assert table in printed
        assert table in text, f"{name}: run python -m analysis.studies.mac_tables docs/data"


def test_a_ratio_is_over_the_best_unit_and_the_plain_one():
    rows = []
    for target in ("ecp5", "ice40", "xilinx", "gates"):
        mhz = {"ecp5": 100, "ice40": 50}.get(target, "")
        plain = {"style": "direct", "clear": "masked"}
        rows += [
            _row("uniform", target, area=100, mhz=mhz, **plain),
            _row("uniform", target, area=50, mhz=mhz and 2 * mhz),
            _row("uniform", target, area=5, mhz=mhz and 9 * mhz, cycles_per_product="4"),
        ]
        for sums, area in (("pair", 60), ("shared", 70), ("ordered", 40)):
            rows += [
                _row("post-split", target, area=area, mhz=mhz and 3 * mhz, accumulation=sums),
                _row("post-split", target, area=90, mhz=mhz and mhz // 2, accumulation=sums),
            ]
    lines = comparison(rows).splitlines()
    assert "| ECP5 LUTs | 100 | 50 | 60 (1.20, 0.60) | 70 (1.40, 0.70) | 40 |" in lines
    assert "| iCE40 MHz | 50 | 100 |" + " 150 (1.50, 3.00) |" * 2 + " 150 |" in lines


def test_the_sentences_below_the_table_of_recoded_units_are_those_of_its_rows():
    rows = read(DOCS / "data" / "mac-recoded.csv")
    text = " ".join((DOCS / "mac.md").read_text(encoding="utf-8").split())

    def fewest(scheme, sums, idle):
        named = (scheme, sums, str(idle))
        keys = ("scheme", "accumulation", "idle_cyc")
        return min(int(row["luts"]) for row in rows if tuple(row[key] for key in keys) == named)

    shared = [fewest("post-split", "shared", idle) for idle in (1, 0)]
    uniform = [fewest("uniform", "single", idle) for idle in (1, 0)]
    assert f"POST unit of one adder has {shared[0]} LUTs, without one {shared[1]};" in text
    assert f"the best uniform unit has {uniform[0]} either way" in text
    assert uniform[0] == uniform[1]
    spread = max(
        (max(seeds) - min(seeds)) / max(seeds)
        for row in rows
        if (seeds := json.loads(row["fmax_by_seed_mhz"]))
    )
    assert f"Three placements differ by up to {100 * spread:.0f} %" in text


def test_the_sentences_on_deferred_signs_are_those_of_the_rows():
    text = " ".join((DOCS / "mac.md").read_text(encoding="utf-8").split())
    least = {}
    for row in read(DOCS / "data" / "mac-signs.csv"):
        if (row["cycles_per_product"], row["idle_cyc"]) != ("1", "0"):
            continue
        area = int(row["transistors" if row["target"] == "gates" else "luts"])
        by_signs = least.setdefault((row["target"], row["scheme"], row["accumulation"]), {})
        by_signs[row["signs"]] = min(area, by_signs.get(row["signs"], area))
    saved = {key: 100 * (1 - each["deferred"] / each["immediate"]) for key, each in least.items()}
    gates = [value for (target, *_), value in saved.items() if target == "gates"]
    assert len(gates) == 9
    assert f"save {min(gates):.0f} to {max(gates):.0f} % of the transistors" in text
    assert saved["ecp5", "uniform", "single"] < 0  # "has its signs at once"


def test_the_sentences_on_stored_codes_are_those_of_the_rows():
    text = " ".join((DOCS / "mac.md").read_text(encoding="utf-8").split())
    before = {(row["unit"], row["target"]): row for row in read(DOCS / "data" / "mac-4x4.csv")}
    rows = read(DOCS / "data" / "mac-widths.csv")
    growth = {"luts": [], "transistors": []}
    for row in rows:
        other = before.get((row["unit"], row["target"]))
        if other is not None:
            key = "transistors" if row["target"] == "gates" else "luts"
            growth[key].append(int(row[key]) / int(other[key]) - 1)
    assert len(growth["luts"]) >= 12 and len(growth["transistors"]) >= 4
    assert set(growth["luts"]) == {0}
    most = 100 * max(growth["transistors"])
    assert f"look-up tables are as many, and transistors up to {most:.1f} % more" in text
    fewest = {
        scheme: min(
            int(row["luts"])
            for row in rows
            if (row["scheme"], row["bits"], row["target"]) == (scheme, "4", "ecp5")
            and row["cycles_per_product"] == "1"
        )
        for scheme in ("post-dual", "uniform", "symmetric")
    }
    dual, best_uniform = fewest["post-dual"], min(fewest["uniform"], fewest["symmetric"])
    assert best_uniform == fewest["symmetric"]
    words = f"{dual} LUTs on ECP5, {dual / best_uniform:.2f} times the {best_uniform} of the best"
    assert words in text


def test_a_recoded_unit_is_held_against_uniform_ones_of_its_pace():
    named = {"levels": "15", "codes": "stored", "signs": "deferred", "made_of": "ecp5"}
    rows = [
        _row("uniform", "ecp5", area=40, mhz=200, idle_cyc="0", **named),
        _row("uniform", "ecp5", area=20, mhz=200, idle_cyc="1", **named),
        _row("post-split", "ecp5", area=30, mhz=200, idle_cyc="0", **named),
        _row("post-split", "ecp5", area=30, mhz=200, idle_cyc="1", **named),
        _row("post-split", "ecp5", area=9, mhz=200, idle_cyc="0", accumulation="ordered", **named),
    ]
    lines = recoded(rows).splitlines()[2:]
    assert [line.split(" | ")[8] for line in lines] == ["1.00", "1.00", "0.75", "1.50", "-"]


def test_what_deferring_saves_is_beside_the_same_scheme_s_best_unit():
    rows = [
        _row("uniform", "gates", area=100, signs="immediate", idle_cyc="0"),
        _row("uniform", "gates", area=120, signs="immediate", idle_cyc="0"),
        _row("uniform", "gates", area=80, signs="deferred", idle_cyc="0"),
        _row("symmetric", "gates", area=90, signs="immediate", idle_cyc="0"),
        _row("symmetric", "gates", area=75, signs="deferred", idle_cyc="0"),
        _row("uniform", "gates", area=5, signs="deferred", idle_cyc="1"),
        _row("uniform", "gates", area=5, signs="deferred", idle_cyc="0", cycles_per_product="4"),
        _row("post-split", "gates", area=60, signs="immediate", idle_cyc="0", accumulation="pair"),
        _row("post-split", "gates", area=90, signs="deferred", idle_cyc="0", accumulation="pair"),
    ]
    assert deferred_signs(rows).splitlines() == [
        "| scheme | transistors | deferred | over uniform |",
        "| --- | ---: | ---: | ---: |",
        "| uniform | 100 | 80 (-20 %) | 1.07 |",
        "| symmetric | 90 | 75 (-17 %) | 1.00 |",
        "| post-split pair | 60 | 90 (+50 %) | 0.80 |",
    ]


def test_the_best_of_a_class_is_over_the_best_uniform_unit_of_its_pace():
    rows = []
    for target in ("ecp5", "ice40", "xilinx", "gates"):
        mhz = {"ecp5": 100, "ice40": 50}.get(target, "")
        plain = {"style": "direct", "clear": "masked", "levels": "16"}
        rows += [
            _row("uniform", target, area=100, mhz=mhz, idle_cyc="0", **plain),
            _row("uniform", target, area=40, mhz=mhz, idle_cyc="0", levels="16"),
            _row("uniform", target, area=20, mhz=mhz and 2 * mhz, idle_cyc="0", levels="15"),
            _row("uniform", target, area=5, mhz=mhz and 9 * mhz, idle_cyc="1", levels="15"),
        ]
        rows += [
            _row("post-split", target, area=30, mhz=mhz, idle_cyc="0", levels="15", accumulation=a)
            for a in ("pair", "shared", "ordered")
        ]
        rows += [_row("post-dual", target, area=60, mhz=mhz, idle_cyc="0", levels="15")]
    lines = best(rows).splitlines()[2:]
    assert lines[0].startswith("| uniform, plain `*` | 100 | 102 | 100 | 100 | 50 | 100 | 100 |")
    assert lines[1].split(" | ")[1] == "40"
    ratios = "| 30 (1.50) | 32 (1.45) | 100 (0.50) | 30 (1.50) | 50 (0.50) | 30 (1.50) | 30 (1.50)"
    assert lines[3] == f"| POST, any order, two adders {ratios} |"
    assert lines[5].startswith("| POST, any order, dual step | 60 (3.00) | 62 (2.82) |")
    assert lines[6] == "| POST, even powers first | 30 | 32 | 100 | 30 | 50 | 30 | 30 |"


def test_units_that_another_one_beats_in_everything_are_left_out():
    rows = [
        _row("uniform", "ecp5", area=50, mhz=200),
        _row("uniform", "ecp5", area=50, mhz=190),
        _row("uniform", "ecp5", area=60, mhz=250, latency_cyc="9"),
        _row("uniform", "ecp5", area=99, mhz=90, style="direct", clear="masked"),
        _row("uniform", "ecp5", area=51, mhz=180, latency_cyc="9"),
    ]
    shown = re.findall(r"\| 1 \| 1 \| (\d+) \| 1 \| ", units(rows))
    assert sorted(shown) == ["50", "60", "99"]


def test_speed_is_over_serial_parallel_and_plain_units():
    rows = [
        _row("uniform", "ecp5", area=40, mhz=200, cycles_per_product="4", latency_cyc="6"),
        _row("uniform", "ecp5", area=50, mhz=160),
        _row("uniform", "ecp5", area=100, mhz=100, style="direct", clear="masked"),
        _row("uniform", "ecp5", area=1),
        *(
            _row("post-split", "ecp5", area=25, mhz=200, accumulation=sums, latency_cyc="3")
            for sums in ("ordered", "pair", "shared")
        ),
    ]
    assert speed(rows).splitlines()[2:5] == [
        "| pair | bit-serial | 4.00 | 0.50 | 0.62 |",
        "| pair | best parallel | 1.25 | 0.60 | 0.50 |",
        "| pair | plain parallel | 2.00 | 0.38 | 0.25 |",
    ]


def test_dot_products_are_arranged_by_lanes():
    rows = [
        _row(scheme, target, lanes=lanes, area=area, area_ratio=str(area / 100))
        | {"area": str(area), "accumulation": sums, "signs": signs}
        for lanes in ("4", "8")
        for scheme, sums, signs, area in (
            ("uniform", "single", "immediate", 180),
            ("uniform", "single", "immediate", 100),
            ("uniform", "single", "deferred", 110),
            ("post-split", "pair", "immediate", 130),
            ("post-split", "pair", "immediate", 150),
            ("post-split", "ordered", "immediate", 60),
        )
        for target in ("ecp5", "ice40", "xilinx", "gates")
    ]
    lines = dot_products(rows).splitlines()
    assert lines[2 + 4 :] == [
        "| 8 | uniform |" + " 100 (1.00) |" * 4,
        "| 8 | uniform, deferred |" + " 110 (1.10) |" * 4,
        "| 8 | post-split pair |" + " 130 (1.30) |" * 4,
        "| 8 | post-split ordered |" + " 60 |" * 4,
    ]


def test_the_sentences_on_dot_products_are_those_of_the_rows():
    rows = read(DOCS / "data" / "dot.csv")
    text = " ".join((DOCS / "mac.md").read_text(encoding="utf-8").split())

    def band(scheme: str, target: str) -> str:
        least: dict[str, float] = {}
        for row in rows:
            if (row["scheme"], row["target"]) == (scheme, target) and row["area_ratio"]:
                ratio = float(row["area_ratio"])
                least[row["lanes"]] = min(ratio, least.get(row["lanes"], ratio))
        assert set(least) == {"4", "8", "16"}
        return f"{min(least.values()):.2f} to {max(least.values()):.2f}"

    assert (
        f"the dual step takes {band('post-dual', 'ecp5')} times the best uniform unit on ECP5, "
        f"{band('post-dual', 'ice40')} on iCE40, {band('post-dual', 'xilinx')} on 7-series and "
        f"{band('post-dual', 'gates')} in gates; the exact pair takes "
        f"{band('post-split', 'ecp5')} times on ECP5."
    ) in text
    best = [row for row in rows if row["scheme"] == "uniform" and float(row["area_ratio"]) == 1]
    assert {row["codes"] for row in best} == {"sign-magnitude"}


def test_a_file_that_is_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        read(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("scheme,bits\n")
    with pytest.raises(InputError, match="holds no row"):
        read(tmp_path / "empty.csv")
    assert main([]) == 2
