"""How far beta varies between images, pass by pass and layer by layer: from the logs of runs.

``python -m analysis.paper.passes collect RUN... --output CSV`` gathers the logs of runs in folders;
``python -m analysis.paper.passes summary CSV`` prints the variation of beta (its deviation over the
test images, over its mean) and its mean as Markdown, ``table CSV`` the variation in every layer,
and ``draw CSV --output FIGURE`` draws that; all are averaged over seeds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from analysis.paper.distribution_figures import read_frame
from analysis.paper.distribution_measures import write_frame
from analysis.paper.figures import figure_file
from analysis.paper.provenance import noted_commits
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.files.reading import read_bounded
from asq_hw.guard import guarded

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["collect_passes", "draw_passes", "main", "passes_summary", "passes_table"]

_PASS = ("epoch", "loss", "top1")
_BETA = ("min", "mean", "max", "variation")
_COLUMNS = ("recipe", "seed", "epoch", "layer", *_BETA)
_MOST_BYTES = 1 << 26
_LEAST = 0.01
"""Percent: where a figure's colors begin."""


def collect_passes(folders: Sequence[Path]) -> pd.DataFrame:
    """Beta after every pass of runs, a line for each adapter.

    Parameters
    ----------
    folders : sequence of Path
        Runs that ``asq-hw train`` or the ablation left.

    Returns
    -------
    DataFrame
        The columns `analysis.paper.measured.ORIGIN` (the commits are the run's own, where it noted
        them), then ``epoch``, ``loss`` of its batches, ``top1`` of the test images, ``layer``, and
        ``min``, ``mean``, ``max`` and ``variation`` of beta over these images.

    Raises
    ------
    InputError
        If a run cannot be read or has no adapters, or the runs are not of one data set and start.
    """
    import pandas as pd

    frame = pd.DataFrame([line for folder in folders for line in _lines(folder)])
    for column in ("dataset", "start"):
        if len(found := sorted(set(frame[column]))) > 1:
            raise InputError(f"runs must be of one {column}, not of {', '.join(found)}")
    return frame


def _lines(folder: Path) -> list[dict[str, Any]]:
    from asq_hw.train.checkpoints import checkpoint as checkpoints
    from asq_hw.train.run.folder import LAST, LOG

    saved = checkpoints.load(folder / LAST)
    origin = {
        "dataset": saved.recipe.dataset,
        "recipe": saved.recipe.name,
        "start": saved.start or "",
        "commit": noted_commits(folder, begins=False),
        "seed": saved.recipe.seed,
    }
    text = read_bounded(folder / LOG, "log", _MOST_BYTES).decode("utf-8", "replace")
    try:
        entries = [json.loads(line) for line in text.splitlines()]
        lines = [
            origin
            | {key: entry[key] for key in _PASS}
            | {"layer": layer}
            | {key: beta[key] for key in _BETA}
            for entry in entries
            if entry.keys() & {"top1", "beta"}  # passes after which neither was measured
            for layer, beta in entry["beta"].items()
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"log {folder / LOG} is damaged: {str(error)[:200]}") from None
    if not lines:
        raise InputError(f"run {folder} must have adapters and a pass that is done")
    return lines


@dataclass(frozen=True, eq=False)
class _Kind:
    """Runs that differ by their seed alone: means over seeds, a row a layer, a column a pass."""

    name: str
    seeds: tuple[int, ...]
    variation: pd.DataFrame
    mean: pd.DataFrame

    @property
    def title(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        return f"{self.name}, seed{'s' if len(self.seeds) > 1 else ''} {seeds}"


def _kinds(frame: pd.DataFrame, passes: Sequence[int]) -> Iterator[_Kind]:
    """The kinds of runs, in the frame's order, with the passes asked for (all by default)."""
    named = frame.assign(kind=[re.sub(r"-seed\d+$", "", name) for name in frame["recipe"]])
    known = sorted(set(frame["epoch"]))
    shown = list(passes) or known
    if missing := [str(one) for one in shown if one not in known]:
        raise InputError(f"passes must be of {known[0]}..{known[-1]}, not {missing[0]}")
    for kind, own in named.groupby("kind", sort=False):
        _check_seeds(str(kind), own, shown)
        of_seeds = own.groupby(["layer", "epoch"], sort=False)
        variation, mean = (
            of_seeds[what].mean().unstack().reindex(columns=shown) for what in ("variation", "mean")
        )
        if variation.isna().all(axis=None):
            raise InputError(f"passes must be of those that were measured in {kind}")
        seeds = tuple(sorted(int(seed) for seed in set(own["seed"])))
        yield _Kind(str(kind), seeds, variation, mean)


def passes_table(frame: pd.DataFrame, passes: Sequence[int] = ()) -> str:
    """The variation of beta in each layer, a table for each kind of run, as Markdown.

    Parameters
    ----------
    frame : DataFrame
        As `collect_passes` makes it.
    passes : sequence of int
        Which passes are shown; all of them by default.

    Raises
    ------
    InputError
        If a pass was measured in no run or with some seeds alone, or none of them in a kind.
    """
    parts = []
    for kind in _kinds(frame, passes):
        shown = list(kind.variation.columns)
        lines = [
            f"{kind.title}:",
            "",
            "| layer |" + "".join(f" pass {one} |" for one in shown),
            "|---|" + "--:|" * len(shown),
        ]
        for layer, row in kind.variation.iterrows():
            lines.append(_row(str(layer), row))
        lines.append(_row("median", kind.variation.median()))
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def passes_summary(frame: pd.DataFrame, passes: Sequence[int] = ()) -> str:
    """The variation of beta and its mean, a line for each kind of run, as Markdown.

    Parameters, errors: those of `passes_table`. What is of the layers is from the least to the most
    of them, after the last pass that was measured.
    """
    kinds = list(_kinds(frame, passes))
    shown = list(kinds[0].variation.columns)
    lines = [
        "| runs |" + "".join(f" median, pass {one} |" for one in shown) + " layers | beta's mean |",
        "|---|" + "--:|" * (len(shown) + 2),
    ]
    for kind in kinds:
        (variation, mean) = (
            table.dropna(axis=1, how="all").iloc[:, -1] for table in (kind.variation, kind.mean)
        )
        layers = f" {variation.min():.2%} to {variation.max():.2%} |"
        means = f" {mean.min():.2f} to {mean.max():.2f} |"
        lines.append(_row(kind.title, kind.variation.median()) + layers + means)
    return "\n".join([*lines, ""])


def draw_passes(
    frame: pd.DataFrame, path: str | Path, titles: Sequence[str] = (), passes: Sequence[int] = ()
) -> None:
    """Draw the variation of beta by layer and pass, a panel for each kind of run.

    Parameters
    ----------
    frame : DataFrame
        As `collect_passes` makes it.
    path : str or Path
        Ends in .png, .svg or .pdf.
    titles : sequence of str
        One for each kind of run; their names by default.
    passes : sequence of int
        As in `passes_table`.

    Raises
    ------
    InputError
        As `passes_table` does; if there are not as many titles as kinds, or the kinds' layers
        differ; if the suffix is another one or the file cannot be written.
    """
    import numpy as np
    from matplotlib.colors import LogNorm

    kinds = list(_kinds(frame, passes))
    if titles and len(titles) != len(kinds):
        raise InputError(f"titles must be {len(kinds)}, one for each kind, not {len(titles)}")
    layers = list(kinds[0].variation.index)
    for kind in kinds:
        if list(kind.variation.index) != layers:
            raise InputError(f"runs must have the layers of {kinds[0].name}; {kind.name} does not")
    values = [100 * kind.variation.to_numpy(dtype=float) for kind in kinds]
    scale = LogNorm(_LEAST, max(_LEAST * 10, *(float(np.nanmax(one)) for one in values)), clip=True)
    with figure_file(path, width=7.2, height=1.1 + 0.16 * len(layers)) as figure:
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, kind, value, title in zip(
            panels, kinds, values, titles or [kind.name for kind in kinds], strict=True
        ):
            image = axes.imshow(value, norm=scale, cmap="viridis", aspect="auto")
            axes.set_facecolor("#E0E0E0")  # of a pass that was not measured
            axes.set_title("\n".join(wrap(title, 84 // len(kinds))), fontsize=8)
            shown = list(kind.variation.columns)
            places = range(0, len(shown), 1 + (len(shown) - 1) * len(kinds) // 20)
            axes.set_xticks(places, [str(shown[place]) for place in places])
            axes.set_xlabel("pass")
            axes.tick_params(axis="y", length=0)
        panels[0].set_yticks(range(len(layers)), layers)
        bar = figure.colorbar(image, ax=panels, pad=0.01, format="%g")
        bar.set_label("deviation of \N{GREEK SMALL LETTER BETA} over its mean (%)")


def _check_seeds(kind: str, own: pd.DataFrame, shown: Sequence[int]) -> None:
    """A mean over seeds is of all of them."""
    seeds = set(own["seed"])
    for one in shown:
        left_out = seeds - set(own.loc[own["epoch"] == one, "seed"])
        if left_out and left_out != seeds:
            raise InputError(
                f"pass {one} of {kind} was not measured with seed {min(left_out)}: "
                "leave it out with --passes"
            )


def _row(name: str, variations: pd.Series[float]) -> str:
    """A row of a table; a pass that its runs did not measure stays empty."""
    import pandas as pd

    words = ["" if pd.isna(one) else f" {one:.2%}" for one in variations]
    return f"| {name} |" + "".join(f"{word} |" for word in words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.paper.passes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    collect = commands.add_parser("collect", help="gather logs, write a CSV")
    collect.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's folder")
    collect.add_argument("--output", type=Path, required=True, help="the CSV")
    for name, what in (("summary", "a line for each kind of run"), ("table", "every layer")):
        printed = commands.add_parser(name, help=f"print a CSV as Markdown: {what}")
        printed.add_argument("csv", type=Path)
        printed.add_argument("--passes", type=int, nargs="+", default=[], metavar="P")
    draw = commands.add_parser("draw", help="draw a CSV")
    draw.add_argument("csv", type=Path)
    draw.add_argument("--output", type=Path, required=True, help=".png, .svg or .pdf")
    draw.add_argument("--titles", nargs="+", default=[], metavar="T", help="of the kinds of runs")
    draw.add_argument("--passes", type=int, nargs="+", default=[], metavar="P")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "collect":
            from asq_hw.train.run.folder import LOG

            check_outputs(
                {"--output": given.output}, {f"run {run}": run / LOG for run in given.runs}
            )
            write_frame(collect_passes(given.runs), given.output)
        elif given.command == "draw":
            check_outputs({"--output": given.output}, {"csv": given.csv})
            frame = read_frame(given.csv, _COLUMNS)
            draw_passes(frame, given.output, given.titles, given.passes)
        else:
            text = {"summary": passes_summary, "table": passes_table}[given.command]
            print(text(read_frame(given.csv, _COLUMNS), given.passes), end="")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.passes", lambda: main(sys.argv[1:])))
