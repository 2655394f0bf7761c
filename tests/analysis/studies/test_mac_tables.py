"""Tables of docs/mac.md: those that the command prints, and figures that follow from the rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from analysis.studies.mac_tables import (
    comparison,
    dot_products,
    main,
    read,
    recoded,
    speed,
    tables,
    units,
)
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
    assert "| ECP5 LUTs | 100 | 50 | 60 (1.20, 0.60) | 70 (1.40, 0.70) | 40 (0.80, 0.40) |" in lines
    assert "| iCE40 MHz | 50 | 100 |" + " 150 (1.50, 3.00) |" * 3 in lines


def test_the_sentences_below_the_table_of_recoded_units_are_those_of_its_rows():
    rows = read(DOCS / "data" / "mac-recoded.csv")
    text = " ".join((DOCS / "mac.md").read_text(encoding="utf-8").split())
    text = text.partition("## A choice inside the carry chain")[2].partition(" ## ")[0]

    def best(key, scheme, sums, idle, *levels):
        values = [
            float(row[key])
            for row in rows
            if (row["scheme"], row["accumulation"], row["idle_cyc"]) == (scheme, sums, str(idle))
            and row["levels"] in (levels or ("15", "16"))
        ]
        return round(max(values) if key == "fmax_mhz" else min(values))

    def uniform(key, idle, *levels):
        return best(key, "uniform", "single", idle, *levels)

    def post(key, sums, idle):
        return best(key, "post-split", sums, idle)

    luts = [post("luts", "shared", 1), post("luts", "shared", 0)]
    assert f"the POST unit has {luts[0]} LUTs, without one {luts[1]}" in text
    assert f"has {uniform('luts', 0)} either way" in text
    assert uniform("luts", 0) == uniform("luts", 1)
    cells = [post("cells", "shared", 1), post("cells", "shared", 0)]
    assert f"take {cells[0]} and {cells[1]} placed cells, the uniform ones" in text
    assert f"uniform ones {uniform('cells', 0)}." in text
    assert uniform("cells", 0) == uniform("cells", 1)
    assert f"With 16 levels it has {uniform('luts', 0, '16')} LUTs" in text
    assert f"**Ordered sums** have {post('luts', 'ordered', 0)} LUTs" in text
    mhz = [post("fmax_mhz", "shared", 0), post("fmax_mhz", "ordered", 0), uniform("fmax_mhz", 0)]
    words = f"{mhz[0]} MHz in any order, {mhz[1]} MHz in order, and {mhz[2]} MHz for the uniform"
    assert words in text
    mhz = [post("fmax_mhz", "shared", 1), post("fmax_mhz", "ordered", 1), uniform("fmax_mhz", 1)]
    assert f"with them {mhz[0]}, {mhz[1]} and {mhz[2]} MHz, the last with 16 levels" in text
    spread = max(
        (max(seeds) - min(seeds)) / max(seeds)
        for row in rows
        if (seeds := json.loads(row["fmax_by_seed_mhz"]))
    )
    assert f"differ by up to {100 * spread:.0f} %" in text


def test_a_recoded_unit_is_held_against_uniform_ones_of_its_pace():
    named = {"levels": "15", "codes": "stored", "made_of": "ecp5"}
    rows = [
        _row("uniform", "ecp5", area=40, mhz=200, idle_cyc="0", **named),
        _row("uniform", "ecp5", area=20, mhz=200, idle_cyc="1", **named),
        _row("post-split", "ecp5", area=30, mhz=200, idle_cyc="0", **named),
        _row("post-split", "ecp5", area=30, mhz=200, idle_cyc="1", **named),
    ]
    lines = recoded(rows).splitlines()[2:]
    assert [line.split(" | ")[7] for line in lines] == ["1.00", "1.00", "0.75", "1.50"]


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
        "| ordered | bit-serial | 4.00 | 0.50 | 0.62 |",
        "| ordered | best parallel | 1.25 | 0.60 | 0.50 |",
        "| ordered | plain parallel | 2.00 | 0.38 | 0.25 |",
    ]


def test_dot_products_are_arranged_by_lanes():
    rows = [
        _row(scheme, target, lanes=lanes, area=area, area_ratio=str(area / 100))
        | {"area": str(area), "accumulation": sums}
        for lanes in ("4", "8")
        for scheme, sums, area in (("uniform", "single", 100), ("post-split", "pair", 130))
        for target in ("ecp5", "ice40", "xilinx", "gates")
    ]
    lines = dot_products(rows).splitlines()
    assert len(lines) == 2 + 4
    assert lines[-1] == "| 8 | post-split pair |" + " 130 (1.30) |" * 4


def test_a_file_that_is_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        read(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("scheme,bits\n")
    with pytest.raises(InputError, match="holds no row"):
        read(tmp_path / "empty.csv")
    assert main([]) == 2
