"""Figure: area against clock frequency of every way to build a multiply-accumulate unit.

``asq-hw synth mac --pnr --variants all --format csv > ROWS``, then
``python -m analysis.studies.mac_figure ROWS FIGURE``.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.paper.figures import figure_file
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.guard import guarded
from rtl.targets.registry import TARGETS

__all__ = ["plot_area_and_speed", "read_rows"]

# Okabe and Ito's palette.
_KINDS = {
    ("uniform", "single"): ("uniform", "#4D4D4D", "o"),
    ("post-split", "pair"): ("POST, two adders", "#56B4E9", "s"),
    ("post-split", "shared"): ("POST, shared adder", "#E69F00", "^"),
    ("post-split", "ordered"): ("POST, ordered weights", "#0072B2", "D"),
}


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Rows of a table that ``asq-hw synth mac --format csv`` printed.

    Raises
    ------
    InputError
        If the file cannot be read or has no frequencies.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("fmax_mhz")]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not rows:
        raise InputError(f"{path} holds no row with fmax_mhz: synthesize with --pnr")
    return rows


def plot_area_and_speed(rows: Sequence[Mapping[str, str]], path: str | Path) -> None:
    """Draw look-up tables against frequency, a panel for each family and a mark for each unit.

    Units that need several cycles for a product are left out.

    Parameters
    ----------
    rows : sequence of mapping
        What `read_rows` returned.
    path : str or Path
        Ends in .png, .svg or .pdf.
    """
    names = {row["target"] for row in rows}
    targets = [target for target in TARGETS if target.name in names]
    with figure_file(path, width=7.2, height=3.4) as figure:
        panels = figure.subplots(1, len(targets), squeeze=False)[0]
        for axes, target in zip(panels, targets, strict=True):
            for (scheme, accumulation), (label, color, marker) in _KINDS.items():
                chosen = [
                    row
                    for row in rows
                    if (row["target"], row["scheme"], row["accumulation"])
                    == (target.name, scheme, accumulation)
                    and row["cycles_per_product"] == "1"
                ]
                axes.scatter(
                    [int(row["luts"]) for row in chosen],
                    [float(row["fmax_mhz"]) for row in chosen],
                    s=22,
                    color=color,
                    marker=marker,
                    alpha=0.8,
                    linewidths=0,
                    label=label,
                )
            axes.set_title(target.title)
            axes.set_xlabel("look-up tables")
            axes.set_xlim(left=0)
            axes.spines["left"].set_visible(True)
        panels[0].set_ylabel("highest clock frequency (MHz)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, ncols=len(_KINDS), loc="outside lower center")


def main(arguments: Sequence[str]) -> int:
    """Draw the rows of the first argument into the file that is the second."""
    if len(arguments) != 2:
        print("usage: python -m analysis.studies.mac_figure ROWS.csv FIGURE", file=sys.stderr)
        return 2
    check_outputs({"FIGURE": Path(arguments[1])}, {"ROWS.csv": arguments[0]})
    plot_area_and_speed(read_rows(arguments[0]), arguments[1])
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.studies.mac_figure", lambda: main(sys.argv[1:])))
