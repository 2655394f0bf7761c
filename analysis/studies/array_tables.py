"""The tables of docs/mac.md on arrays and on switched energy, from the measured rows in docs/data.

``python -m analysis.studies.array_tables docs/data`` prints them as Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from analysis.studies.measured import markdown, read
from asq_hw.guard import guarded
from rtl.array.kinds import ArrayKind, Dataflow
from rtl.targets.registry import TARGETS

__all__ = [
    "best_uniform",
    "changes",
    "dataflows",
    "energy",
    "energy_band",
    "other_draws",
    "ratio",
    "side_by_side",
    "sizes",
    "tables",
    "windows",
]

Row = Mapping[str, str]

LARGE, SMALL = ("16", "16"), ("4", "4")
"""Lanes and channels of the arrays that the document compares: the small ones on all targets."""


def tables(folder: Path) -> dict[str, str]:
    """Every table by its name, in the order of the document."""
    arrays, units = read(folder / "arrays.csv"), read(folder / "energy-mac.csv")
    return {
        "arrays": side_by_side(arrays),
        "sizes": sizes(arrays),
        "windows": windows(arrays),
        "dataflows": dataflows(),
        "energy of units": energy(units),
        "changes of units": changes(units),
        "energy of arrays": energy(read(folder / "energy-array.csv")),
    }


def best_uniform(rows: Sequence[Row], row: Row, key: str = "area") -> float:
    """The least of the uniform arrays of the same target, size, window and dataflow."""
    same = ("target", "lanes", "channels", "window", "dataflow", "layer", "seed")
    return min(
        float(each[key])
        for each in rows
        if ArrayKind(each["kind"]).is_uniform
        and all(each.get(name) == row.get(name) for name in same)
    )


def ratio(rows: Sequence[Row], row: Row) -> float:
    """Area over that of the best uniform array of the same size and dataflow."""
    return float(row["area"]) / best_uniform(rows, row)


def _sized(rows: Sequence[Row], target: str, lanes: str, channels: str) -> list[Row]:
    wanted = (target, lanes, channels, "0")
    return [
        row
        for row in rows
        if (row["target"], row["lanes"], row["channels"], row["window"]) == wanted
    ]


def side_by_side(rows: Sequence[Row]) -> str:
    """All kinds, those of a dataflow together; in brackets over the best uniform one."""
    measured = {row["target"] for row in rows}
    small = [(target, *SMALL) for target in ("ecp5", "ice40", "gates") if target in measured]
    columns = [("ecp5", *LARGE), *small]
    lines = []
    for kind in sorted(ArrayKind, key=lambda kind: kind.gathers):
        cells = [kind.heading, str(Dataflow.GATHER if kind.gathers else Dataflow.BROADCAST)]
        for column in columns:
            of_size = _sized(rows, *column)
            (row,) = (each for each in of_size if each["kind"] == kind)
            cells.append(f"{row['area']} ({ratio(of_size, row):.2f})")
        lines.append(cells)
    heads = [_headed(*column) for column in columns]
    return markdown(["kind", "dataflow", *heads], lines, left=2)


def _headed(name: str, lanes: str, channels: str) -> str:
    target = TARGETS.find(name)
    title = "" if name == "gates" else f"{target.title} "
    return f"{title}{target.area.heading}, {lanes} x {channels}"


def sizes(rows: Sequence[Row]) -> str:
    """ECP5: tables for each multiply-accumulate, by lanes and channels."""
    found = sorted(
        {(int(row["lanes"]), int(row["channels"])) for row in rows if row["target"] == "ecp5"}
    )
    lines = []
    for kind in sorted(ArrayKind, key=lambda kind: kind.gathers):
        cells = [kind.heading]
        for lanes, channels in found:
            of_size = _sized(rows, "ecp5", str(lanes), str(channels))
            (row,) = (each for each in of_size if each["kind"] == kind)
            cells.append(f"{float(row['area_per_mac']):.1f}")
        lines.append(cells)
    heads = [f"{lanes} x {channels}" for lanes, channels in found]
    return markdown(["ECP5 LUTs for a MAC; lanes x channels", *heads], lines)


def windows(rows: Sequence[Row]) -> str:
    """ECP5: what it adds that every lane selects its activation from a window."""
    mine = [
        row
        for row in rows
        if (row["target"], row["lanes"], row["channels"]) == ("ecp5", LARGE[0], "1")
    ]
    found = sorted({int(row["window"]) for row in mine})
    lines = []
    for kind in ArrayKind:
        if kind.gathers:
            by_window = {int(row["window"]): row for row in mine if row["kind"] == kind}
            lines.append(
                [kind.heading, *(f"{float(by_window[w]['area_per_mac']):.1f}" for w in found)]
            )
    heads = [f"window of {w}" if w else "from outside" for w in found]
    return markdown([f"ECP5 LUTs for a MAC, {LARGE[0]} x 1", *heads], lines)


def dataflows() -> str:
    """In which dataflows the kinds can be used."""
    lines = [
        [kind.heading, *("yes" if flow in kind.dataflows else "no" for flow in Dataflow)]
        for kind in ArrayKind
    ]
    return markdown(["kind", *Dataflow], lines, left=1 + len(Dataflow))


def energy(rows: Sequence[Row]) -> str:
    """Units at work on several layers: the least and the most, and over the best uniform one.

    Where units may be built in several ways, each line is of the one with the least energy.
    """
    first = [row for row in rows if row["target"] == "gates" and row["seed"] == "1"]
    layers = list(dict.fromkeys(row["layer"] for row in first))
    best: dict[tuple[str, str], dict[str, Row]] = {}
    for row in first:
        by_layer = best.setdefault(_named(row), {})
        other = by_layer.get(row["layer"])
        if other is None or float(row["energy_pj"]) < float(other["energy_pj"]):
            by_layer[row["layer"]] = row
    lines = []
    for (name, order), by_layer in best.items():
        mine = [by_layer[layer] for layer in layers]
        ratios = [each["energy_ratio"] for each in mine]
        lines.append(
            [
                name,
                order,
                _band([each["energy_pj"] for each in mine], ".2f"),
                _band([each["clock_pj"] for each in mine], ".2f"),
                _band(ratios, ".2f") if all(ratios) else "-",
            ]
        )
    return markdown(
        ["gates", "order", "pJ a product", "of them the clock", "over uniform"], lines, left=2
    )


def changes(rows: Sequence[Row]) -> str:
    """ECP5: changes at outputs of look-up tables, and over the best uniform unit of that order."""
    lines = []
    for row in rows:
        if row["target"] == "ecp5":
            over = row["changes_ratio"]
            named = [*_named(row), row["style"], row["codes"], row["clear"]]
            counted = [row["luts"], f"{float(row['changes']):.1f}"]
            lines.append([*named, *counted, f"{float(over):.2f}" if over else "-"])
    heads = ["ECP5", "order", "product", "weights", "clear", "LUTs", "changes a product"]
    return markdown([*heads, "over uniform"], lines, left=5)


def energy_band(rows: Sequence[Row], belongs: Callable[[Row], bool]) -> str:
    """Over the best uniform unit: the least of each layer, and the band of those."""
    by_layer: dict[str, list[float]] = {}
    for row in rows:
        if row["target"] == "gates" and row["seed"] == "1" and belongs(row):
            by_layer.setdefault(row["layer"], []).append(float(row["energy_ratio"]))
    return _band([str(min(ratios)) for ratios in by_layer.values()], ".2f")


def other_draws(rows: Sequence[Row], key: str) -> float:
    """How much rows of other dot products of the same layer differ at the most, as a share."""
    by_unit: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["target"] == "gates" and row[key]:
            by_unit.setdefault((row["unit"], row["layer"]), {})[row["seed"]] = float(row[key])
    pairs = [each for each in by_unit.values() if len(each) > 1]
    return max((max(each.values()) / min(each.values()) - 1 for each in pairs), default=0.0)


def _named(row: Row) -> tuple[str, str]:
    if "kind" in row:
        return ArrayKind(row["kind"]).heading, row["dataflow"]
    sums = "" if row["accumulation"] == "single" else f" {row['accumulation']}"
    serial = " serial" if row["cycles_per_product"] != "1" else ""
    signs = ", deferred" if row["signs"] == "deferred" else ""
    return f"{row['scheme']}{sums}{serial}{signs}", row["order"]


def _band(values: Iterable[str], form: str) -> str:
    numbers = [float(value) for value in values]
    low, high = format(min(numbers), form), format(max(numbers), form)
    return low if low == high else f"{low} to {high}"


def main(arguments: Sequence[str]) -> int:
    """Print the tables made from the folder that is the argument."""
    if len(arguments) != 1:
        print("usage: python -m analysis.studies.array_tables FOLDER", file=sys.stderr)
        return 2
    for name, text in tables(Path(arguments[0])).items():
        print(f"{name}:\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.studies.array_tables", lambda: main(sys.argv[1:])))
