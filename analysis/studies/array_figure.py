"""Figure: what a multiply-accumulate costs in arrays of several sizes.

``python -m analysis.studies.array_figure docs/data/arrays.csv FIGURE`` draws it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.paper.figures import figure_file
from analysis.studies.measured import read
from asq_hw.files.outputs import check_outputs
from asq_hw.guard import guarded
from rtl.array.kinds import ArrayKind

__all__ = ["plot_sizes"]

# Okabe and Ito's palette.
_LINES = {
    ArrayKind.UNIFORM_15: ("#4D4D4D", "o"),
    ArrayKind.UNIFORM_16: ("#999999", "o"),
    ArrayKind.POT: ("#009E73", "v"),
    ArrayKind.APOT: ("#CC79A7", "^"),
    ArrayKind.POST_LUT: ("#D55E00", "X"),
    ArrayKind.POST_PAIR: ("#56B4E9", "s"),
    ArrayKind.POST_DUAL: ("#0072B2", "D"),
}


def plot_sizes(rows: Sequence[Mapping[str, str]], path: str | Path) -> None:
    """Draw look-up tables for a product over the channels, a panel for each number of lanes.

    Parameters
    ----------
    rows : sequence of mapping
        What ``asq-hw synth array --format csv`` printed; those of ECP5 are drawn.
    path : str or Path
        Ends in .png, .svg or .pdf.
    """
    mine = [row for row in rows if (row["target"], row["window"]) == ("ecp5", "0")]
    lanes = sorted({int(row["lanes"]) for row in mine})
    with figure_file(path, width=7.2, height=3.4) as figure:
        panels = figure.subplots(1, len(lanes), sharey=True, squeeze=False)[0]
        for axes, count in zip(panels, lanes, strict=True):
            for kind, (color, marker) in _LINES.items():
                points = sorted(
                    (int(row["channels"]), float(row["area_per_mac"]))
                    for row in mine
                    if (row["kind"], int(row["lanes"])) == (kind, count)
                )
                channels = [point[0] for point in points]
                axes.plot(
                    channels,
                    [point[1] for point in points],
                    color=color,
                    marker=marker,
                    markersize=5,
                    label=kind.heading,
                )
                axes.set_xscale("log", base=2)
                axes.set_xticks(channels, [str(each) for each in channels])
            axes.set_title(f"{count} lanes")
            axes.set_xlabel("output channels")
            axes.set_ylim(bottom=0)
            axes.spines["left"].set_visible(True)
        panels[0].set_ylabel("look-up tables for a product")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, ncols=4, loc="outside lower center")


def main(arguments: Sequence[str]) -> int:
    """Draw the rows of the first argument into the file that is the second."""
    if len(arguments) != 2:
        print("usage: python -m analysis.studies.array_figure ROWS.csv FIGURE", file=sys.stderr)
        return 2
    check_outputs({"FIGURE": Path(arguments[1])}, {"ROWS.csv": arguments[0]})
    plot_sizes(read(Path(arguments[0])), arguments[1])
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.studies.array_figure", lambda: main(sys.argv[1:])))
