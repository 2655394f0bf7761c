"""The tables of docs/mac.md, from the measured rows in docs/data.

``python -m analysis.studies.mac_tables docs/data`` prints them as Markdown; docs/data/README.md
names the commands that measured the rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from analysis.studies.measured import Row, markdown, read
from asq_hw.guard import guarded
from rtl.targets.registry import TARGETS
from rtl.targets.target import Target

__all__ = [
    "best",
    "comparison",
    "deferred_signs",
    "dot_products",
    "operands",
    "recoded",
    "speed",
    "tables",
    "units",
    "widths",
]

_FAMILIES: dict[str, Callable[[Row], bool]] = {
    "plain uniform": lambda row: _is_plain(row),
    "best uniform": lambda row: row["scheme"] == "uniform" and row["cycles_per_product"] == "1",
    "POST, pair": lambda row: row["accumulation"] == "pair",
    "POST, shared": lambda row: row["accumulation"] == "shared",
    "POST, ordered": lambda row: row["accumulation"] == "ordered",
}
_METRICS = (
    ("ecp5", "luts", "ECP5 LUTs"),
    ("ecp5", "cells", "ECP5 placed cells"),
    ("ice40", "luts", "iCE40 LUTs"),
    ("xilinx", "luts", "7-series LUTs"),
    ("gates", "transistors", "gates, transistors"),
    ("ecp5", "fmax_mhz", "ECP5 MHz"),
    ("ice40", "fmax_mhz", "iCE40 MHz"),
)


def tables(folder: Path) -> dict[str, str]:
    """Every table by its name, in the order of the document."""
    four = read(folder / "mac-4x4.csv")
    recoded_rows = read(folder / "mac-recoded.csv")
    ice40 = read(folder / "mac-ice40.csv")
    return {
        "best": best(recoded_rows),
        "recoded": recoded(recoded_rows),
        "deferred signs": deferred_signs(read(folder / "mac-signs.csv")),
        "iCE40": recoded([row for row in ice40 if row["cycles_per_product"] == "1"]),
        "comparison": comparison(four),
        "speed": speed(four),
        "units": units(four),
        "widths": widths(read(folder / "mac-widths.csv")),
        "operands": operands(read(folder / "mac-operands.csv")),
        "dot products": dot_products(read(folder / "dot.csv")),
    }


def comparison(rows: Sequence[Row]) -> str:
    """Each family's best unit by each measure; in brackets over uniform's best and the plain one.

    Fewest is best, and for frequencies most. What needs an order of the weights is over nothing: no
    uniform unit here has such an order.
    """
    lines = []
    for target, key, name in _METRICS:
        best = {}
        for family, belongs in _FAMILIES.items():
            mine = (row for row in rows if row["target"] == target and belongs(row))
            values = [float(row[key]) for row in mine if row[key]]
            if values:
                best[family] = max(values) if key == "fmax_mhz" else min(values)
        if len(best) < len(_FAMILIES):
            continue  # this was not measured
        cells = [name]
        for family, value in best.items():
            ratios = [f"{value / best[base]:.2f}" for base in ("best uniform", "plain uniform")]
            is_compared = "POST" in family and "ordered" not in family
            cells.append(f"{value:.0f}" + (f" ({', '.join(ratios)})" if is_compared else ""))
        lines.append(cells)
    return markdown(["", *_FAMILIES], lines)


_CLASSES: dict[str, Callable[[Row], bool]] = {
    "uniform, plain `*`": lambda row: _is_plain(row),
    "uniform, 16 levels": lambda row: _is_uniform(row, "16") and not _is_plain(row),
    "uniform, 15 levels": lambda row: _is_uniform(row, "15"),
    "POST, any order, two adders": lambda row: row["accumulation"] == "pair",
    "POST, any order, one adder": lambda row: row["accumulation"] == "shared",
    "POST, any order, dual step": lambda row: row["scheme"] == "post-dual",
    "POST, even powers first": lambda row: row["accumulation"] == "ordered",
}
_COLUMNS = (
    ("ecp5", "luts", "ECP5 LUTs"),
    ("ecp5", "cells", "ECP5 cells"),
    ("ecp5", "fmax_mhz", "ECP5 MHz"),
    ("ice40", "luts", "iCE40 LUTs"),
    ("ice40", "fmax_mhz", "iCE40 MHz"),
    ("xilinx", "luts", "7-series LUTs"),
    ("gates", "transistors", "transistors"),
)


def best(rows: Sequence[Row]) -> str:
    """Each class's best unit by each measure, one product in each cycle and no cycle between sums.

    In brackets over the best uniform one; what needs an order of the weights is over nothing.
    """
    steady = [row for row in rows if row["cycles_per_product"] == "1" and row["idle_cyc"] == "0"]
    measured = {row["target"] for row in rows}
    columns = [column for column in _COLUMNS if column[0] in measured]
    lines = []
    for name, belongs in _CLASSES.items():
        cells = [name]
        for target, key, _ in columns:
            value = _best_of(steady, target, key, belongs)
            cells.append(f"{value:.0f}")
            if name.startswith("POST, any"):
                base = _best_of(steady, target, key, lambda row: row["scheme"] == "uniform")
                cells[-1] += f" ({value / base:.2f})"
        lines.append(cells)
    return markdown(["unit", *(heading for *_, heading in columns)], lines)


def _best_of(rows: Sequence[Row], target: str, key: str, belongs: Callable[[Row], bool]) -> float:
    values = [
        float(row[key]) for row in rows if row["target"] == target and belongs(row) and row[key]
    ]
    return max(values) if key == "fmax_mhz" else min(values)


def _is_uniform(row: Row, levels: str) -> bool:
    return (row["scheme"], row["levels"]) == ("uniform", levels)


def recoded(rows: Sequence[Row]) -> str:
    """Units with weights in a code of their own, and over the smallest uniform one of their pace.

    A unit that takes a product in every cycle is held against uniform ones that do so, too. One
    that needs an order of the weights is held against none.
    """
    lines = []
    for row in rows:
        bases = [
            int(other["luts"])
            for other in rows
            if other["scheme"] == "uniform" and int(other["idle_cyc"]) <= int(row["idle_cyc"])
        ]
        over = f"{int(row['luts']) / min(bases):.2f}"
        keys = ("levels", "style", "codes", "signs", "made_of")
        named = [_label(row), *(row[key] for key in keys)]
        placed = [row["idle_cyc"], row["luts"], "-" if row["accumulation"] == "ordered" else over]
        lines.append([*named, *placed, row["cells"], f"{float(row['fmax_mhz']):.0f}"])
    heads = ["scheme", "levels", "product", "weights", "signs", "sums made of", "idle cycles"]
    return markdown([*heads, "LUTs", "over uniform", "cells", "MHz"], lines, left=1)


def deferred_signs(rows: Sequence[Row]) -> str:
    """Each scheme's smallest unit with signs at once and deferred, no cycle between sums.

    In brackets what deferring saves; last the smaller of both over the smallest uniform one.
    """
    steady = [row for row in rows if (row["cycles_per_product"], row["idle_cyc"]) == ("1", "0")]
    targets = _measured(steady)
    best: dict[tuple[str, str, str], int] = {}
    for row in steady:
        area = int(row["transistors" if row["target"] == "gates" else "luts"])
        key = (_label(row), row["target"], row["signs"])
        best[key] = min(area, best.get(key, area))
    uniform = {
        target.name: min(
            area
            for (label, name, _), area in best.items()
            if name == target.name and label in ("uniform", "symmetric")
        )
        for target in targets
    }
    lines = []
    for label in dict.fromkeys(_label(row) for row in steady):
        cells = [label]
        for target in targets:
            now, later = (best[label, target.name, signs] for signs in ("immediate", "deferred"))
            over = f"{min(now, later) / uniform[target.name]:.2f}"
            cells += [str(now), f"{later} ({100 * (later / now - 1):+.0f} %)"]
            cells.append("-" if label.endswith("ordered") else over)
        lines.append(cells)
    heads = ["scheme"]
    for target in targets:
        heads += [_area(target), "deferred", "over uniform"]
    return markdown(heads, lines)


def speed(rows: Sequence[Row]) -> str:
    """POST's best units on ECP5 over three uniform ones: the paper's "about B times faster".

    Most products a second, shortest time from operands to sum, fewest look-up tables; each of
    them a family's best, whichever unit it belongs to.
    """
    routed = [row for row in rows if row["target"] == "ecp5" and row["fmax_mhz"]]
    parallel = _FAMILIES["best uniform"]
    bases: dict[str, Callable[[Row], bool]] = {
        "bit-serial": lambda row: row["scheme"] == "uniform" and not parallel(row),
        "best parallel": parallel,
        "plain parallel": _is_plain,
    }
    lines = []
    for sums in ("pair", "shared"):
        mine = _bests([row for row in routed if row["accumulation"] == sums])
        for name, belongs in bases.items():
            base = _bests([row for row in routed if belongs(row)])
            ratios = [a / b for a, b in zip(mine, base, strict=True)]
            lines.append([sums, name, *(f"{ratio:.2f}" for ratio in ratios)])
    heads = ["POST sums", "uniform multiplier", "products/s", "latency (ns)", "LUTs"]
    return markdown(heads, lines, left=2)


def _bests(rows: Sequence[Row]) -> tuple[float, float, float]:
    """Most products a second, in millions; shortest latency, in ns; fewest LUTs."""
    return (
        max(float(row["fmax_mhz"]) / int(row["cycles_per_product"]) for row in rows),
        min(_latency_ns(row) for row in rows),
        min(int(row["luts"]) for row in rows),
    )


def units(rows: Sequence[Row]) -> str:
    """The units on ECP5 that no other of their family beats in size, speed and latency at once."""
    routed = [row for row in rows if row["target"] == "ecp5" and row["fmax_mhz"]]
    families = [(row["scheme"], row["accumulation"], row["cycles_per_product"]) for row in routed]
    lines = []
    for family in dict.fromkeys(families):
        members = [row for row, own in zip(routed, families, strict=True) if own == family]
        kept = [
            row
            for row in members
            if _is_plain(row)
            or not any(_beats(other, row) for other in members if not _is_plain(other))
        ]
        lines += [_unit(row) for row in sorted(kept, key=lambda row: _latency_ns(row))]
    heads = ["scheme", "sums", "product", "clear", "pipeline", "segments", "LUTs", "FFs", "cells"]
    heads += ["MHz", "latency (cycles)", "latency (ns)", "million products/s"]
    return markdown(heads, lines, left=4)


def _unit(row: Row) -> list[str]:
    mhz = float(row["fmax_mhz"])
    named = [row[key] for key in ("scheme", "accumulation", "style", "clear")]
    built = [row[key] for key in ("pipeline", "segments", "luts", "ffs", "cells")]
    speed = [f"{mhz:.0f}", row["latency_cyc"], f"{_latency_ns(row):.1f}"]
    return [*named, *built, *speed, f"{mhz / int(row['cycles_per_product']):.0f}"]


def widths(rows: Sequence[Row]) -> str:
    """Recommended units by scheme and weight width: area on each target, and ECP5's frequency."""
    return _by_target(rows, ("bits",), {"bits": "bits"})


def operands(rows: Sequence[Row]) -> str:
    """Recommended units by sign of the activation and encoding of the weights."""
    return _by_target(
        rows, ("activation_signed", "encoding"), {"activation_signed": "signed", "encoding": "grid"}
    )


def _by_target(rows: Sequence[Row], keys: Sequence[str], names: Mapping[str, str]) -> str:
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = (_label(row), *(_said(row[key]) for key in keys))
        found.setdefault(key, {})[row["target"]] = row
    targets = _measured(rows)
    routed = {row["target"] for row in rows if row["fmax_mhz"]} & {"ecp5"}
    timed = [target for target in targets if target.name in routed]
    lines = []
    for key, by_target in found.items():
        cells = list(key)
        for target in targets:
            measured = by_target[target.name]
            cells.append(measured[target.area.key])
            if target in timed:
                cells.append(f"{float(measured['fmax_mhz']):.0f}")
        lines.append(cells)
    heads = ["scheme", *(names[key] for key in keys)]
    for target in targets:
        heads += [_area(target), *([f"{target.title} MHz"] if target in timed else [])]
    return markdown(heads, lines, left=1 if keys == ("bits",) else 1 + len(keys))


def dot_products(rows: Sequence[Row]) -> str:
    """Area of the smallest dot-product units by lanes; in brackets over the best uniform one's."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        later = ", deferred" if row["signs"] == "deferred" else ""
        by = found.setdefault((row["lanes"], _label(row) + later), {})
        best = by.setdefault(row["target"], row)
        if int(row["area"]) < int(best["area"]):
            by[row["target"]] = row
    targets = _measured(rows)
    lines = [
        [
            *key,
            *(by[target.name]["area"] + _over_uniform(by[target.name]) for target in targets),
        ]
        for key, by in found.items()
    ]
    return markdown(["lanes", "scheme", *map(_area, targets)], lines, left=2)


def _over_uniform(row: Row) -> str:
    return "" if row["accumulation"] == "ordered" else f" ({float(row['area_ratio']):.2f})"


def _measured(rows: Sequence[Row]) -> list[Target]:
    """The targets that the rows are of."""
    names = {row["target"] for row in rows}
    return [target for target in TARGETS if target.name in names]


def _area(target: Target) -> str:
    """What a column of the target's areas is called; only gates are counted in transistors."""
    heading = target.area.heading
    return heading if target.name == "gates" else f"{target.title} {heading}"


def _label(row: Row) -> str:
    serial = row.get("cycles_per_product", "1") != "1"
    sums = "" if row["accumulation"] == "single" else f" {row['accumulation']}"
    return f"{row['scheme']}{' serial' if serial else sums}"


def _said(value: str) -> str:
    return {"True": "yes", "False": "no"}.get(value, value)


def _is_plain(row: Row) -> bool:
    choices = [row[key] for key in ("scheme", "style", "clear", "pipeline", "segments")]
    choices += [row.get("codes", "stored"), row.get("signs", "immediate")]
    return choices == ["uniform", "direct", "masked", "1", "1", "stored", "immediate"]


def _latency_ns(row: Row) -> float:
    return 1000 * int(row["latency_cyc"]) / float(row["fmax_mhz"])


def _beats(other: Row, row: Row) -> bool:
    """Whether `other` is as good in all three and better in one."""
    mine, its = (
        (int(each["luts"]), -float(each["fmax_mhz"]), _latency_ns(each)) for each in (row, other)
    )
    return its != mine and all(a <= b for a, b in zip(its, mine, strict=True))


def main(arguments: Sequence[str]) -> int:
    """Print the tables made from the folder that is the argument."""
    if len(arguments) != 1:
        print("usage: python -m analysis.studies.mac_tables FOLDER", file=sys.stderr)
        return 2
    for name, text in tables(Path(arguments[0])).items():
        print(f"{name}:\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.studies.mac_tables", lambda: main(sys.argv[1:])))
