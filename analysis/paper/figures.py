"""Figures: quantization grids side by side, and the overhead of the known networks.

``python -m analysis.paper.figures FOLDER`` draws those of the documentation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.cost.overhead import Convention, overhead
from analysis.cost.topologies import named_network
from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write
from asq_hw.guard import guarded
from asq_hw.network.topologies import PUBLISHED
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, POT, UNIFORM, Scheme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_documentation", "figure_file", "plot_grid", "plot_overhead"]

SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's palette, which people with every kind of color vision can tell apart.
_CONVENTION_COLORS = {Convention.PAPER: "#56B4E9", Convention.STORED: "#0072B2"}
_QUIET = "#808080"

# Keyed by Any: the type of a setting's name differs between versions of matplotlib.
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": _QUIET,
    "xtick.color": _QUIET,
    "xtick.labelcolor": "black",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    # The same figure gives the same file.
    "svg.hashsalt": "asq-hw",
}


def plot_grid(grid: Grid, path: str | Path) -> None:
    """Draw a grid's levels beside uniform, POT and POST ones of the same width (paper, Fig. 3).

    Parameters
    ----------
    grid : Grid
        Takes the place of its scheme in the figure; POT and POST share its encoding.
    path : str or Path
        Ends in .png, .svg or .pdf.

    Raises
    ------
    InputError
        If the suffix is another one or the file cannot be written.
    """
    grids = _grids_beside(grid)
    with figure_file(path, width=7.2, height=0.75 + 0.48 * len(grids)) as figure:
        whole, near_zero = figure.subplots(1, 2, sharey=True, width_ratios=(2.2, 1))
        # One uniform step to each side, the span that uniform levels leave empty.
        reach = 1.2 * 2.0 ** -(grid.bits - 1)
        for row, each in enumerate(grids):
            values = [level.value for level in each.ordered_levels]
            _draw_levels(whole, row, values, each.scheme)
            _draw_levels(near_zero, row, [v for v in values if abs(v) <= reach], each.scheme)
        whole.axvspan(-reach, reach, color="#F0F0F0", zorder=0, linewidth=0)
        near_zero.set_facecolor("#F0F0F0")
        whole.set_xlim(-1.03, 1.03)
        near_zero.set_xlim(-reach, reach)
        near_zero.locator_params(axis="x", nbins=3)
        whole.set_yticks(range(len(grids)), [_row_label(each) for each in grids])
        whole.set_ylim(len(grids) - 0.5, -0.5)
        for axes in (whole, near_zero):
            axes.tick_params(axis="y", length=0)
        whole.set_xlabel("level (clipping threshold \N{GREEK SMALL LETTER ALPHA} = 1)")
        near_zero.set_xlabel("near zero")


def plot_overhead(path: str | Path, *, bits: int = 4) -> None:
    """Draw what ASQ adds to each known network, in both conventions.

    Parameters
    ----------
    path : str or Path
        Ends in .png, .svg or .pdf.
    bits : int
        Width of the quantized layers.
    """
    with figure_file(path, width=7.2, height=2.6) as figure:
        storage, compute = figure.subplots(1, 2, sharey=True)
        for offset, convention in ((-0.18, Convention.PAPER), (0.18, Convention.STORED)):
            rows = [
                overhead(named_network(name), bits=[bits], convention=convention).rows[0]
                for name in PUBLISHED
            ]
            places = [index + offset for index in range(len(rows))]
            label = f"{convention} convention"
            for axes, percents in (
                (storage, [float(row.param_percent) for row in rows]),
                (compute, [float(row.compute_percent) for row in rows]),
            ):
                bars = axes.barh(
                    places, percents, height=0.32, color=_CONVENTION_COLORS[convention], label=label
                )
                axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        storage.set_yticks(range(len(PUBLISHED)), PUBLISHED)
        storage.invert_yaxis()
        for axes, what in ((storage, "Param"), (compute, "Compute")):
            axes.set_xlabel(f"{what} (%) at {bits} bits")
            axes.tick_params(axis="y", length=0)
            axes.margins(x=0.16)
        compute.legend(frameon=False, loc="upper right")


def draw_documentation(folder: str | Path) -> list[Path]:
    """Draw the documentation's figures into a folder and return their paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    levels, costs = target / "levels-4bit.png", target / "overhead.png"
    plot_grid(Grid(scheme=POST, bits=4), levels)
    plot_overhead(costs)
    return [levels, costs]


def _grids_beside(grid: Grid) -> list[Grid]:
    """Uniform, POT and POST at the grid's width, and the grid itself in its place."""
    beside = {
        UNIFORM: Grid(scheme=UNIFORM, bits=grid.bits),
        POT: Grid(scheme=POT, bits=grid.bits, encoding=grid.encoding),
        POST: Grid(scheme=POST, bits=grid.bits, encoding=grid.encoding),
    }
    return list((beside | {grid.scheme: grid}).values())


def _row_label(grid: Grid) -> str:
    values = [level.value for level in grid.ordered_levels]
    gap = max(high - low for low, high in pairwise(values))
    return f"{grid.scheme.title}\n{len(values)} levels, largest gap {gap:.3g}"


def _draw_levels(axes: Axes, row: int, values: Sequence[float], scheme: Scheme) -> None:
    axes.axhline(row, color="#C8C8C8", linewidth=0.6, zorder=1)
    width = 1.4 if len(values) <= 64 else 0.6
    axes.vlines(values, row - 0.3, row + 0.3, color=scheme.color, linewidth=width, zorder=2)


@contextmanager
def figure_file(path: str | Path, *, width: float, height: float) -> Iterator[Figure]:
    """A figure of a size in inches that is written to `path`, all or nothing, when drawn."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"a figure's file must end in {', '.join(SUFFIXES)}, not {str(path)!r}")
    import matplotlib as mpl  # half a second that a table does not need
    from matplotlib.figure import Figure

    # Figure without pyplot needs no display and leaves no global state behind.
    with mpl.rc_context(_STYLE), atomic_write(path) as file:
        figure = Figure(figsize=(width, height))
        yield figure
        dated = {"Date": None} if suffix == ".svg" else {"CreationDate": None}
        metadata = None if suffix == ".png" else dated
        figure.savefig(file, format=suffix[1:], metadata=metadata)


def main(arguments: Sequence[str]) -> int:
    """Draw the documentation's figures into the folder that is the only argument."""
    if len(arguments) != 1:
        print("usage: python -m analysis.paper.figures FOLDER", file=sys.stderr)
        return 2
    for path in draw_documentation(arguments[0]):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.figures", lambda: main(sys.argv[1:])))
