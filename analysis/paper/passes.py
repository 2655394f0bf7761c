"""How far beta varies between images, pass by pass and layer by layer: from the logs of runs.

``python -m analysis.paper.passes collect RUN... --output CSV`` gathers the logs of runs in folders;
``python -m analysis.paper.passes table CSV`` prints the variation of beta (its deviation over the
test images, over its mean) as Markdown, averaged over seeds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.paper.distribution_figures import read_frame
from analysis.paper.distribution_measures import write_frame
from analysis.paper.provenance import noted_commits
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.files.reading import read_bounded
from asq_hw.guard import guarded

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["collect_passes", "main", "passes_table"]

_PASS = ("epoch", "loss", "top1")
_BETA = ("min", "mean", "max", "variation")
_COLUMNS = ("recipe", "seed", "epoch", "layer", *_BETA)
_MOST_BYTES = 1 << 26


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


def passes_table(frame: pd.DataFrame, passes: Sequence[int] = ()) -> str:
    """The variation of beta, a table for each kind of run, as Markdown.

    Parameters
    ----------
    frame : DataFrame
        As `collect_passes` makes it.
    passes : sequence of int
        Which passes are shown; all of them by default.

    Raises
    ------
    InputError
        If a pass was measured in no run, or with some seeds alone.
    """
    named = frame.assign(kind=[re.sub(r"-seed\d+$", "", name) for name in frame["recipe"]])
    known = sorted(set(frame["epoch"]))
    shown = list(passes) or known
    if missing := [str(one) for one in shown if one not in known]:
        raise InputError(f"passes must be of {known[0]}..{known[-1]}, not {missing[0]}")
    parts = []
    for kind, own in named.groupby("kind", sort=False):
        seeds = sorted(set(own["seed"]))
        _check_seeds(str(kind), own, shown)
        mean = own.groupby(["layer", "epoch"], sort=False)["variation"].mean().unstack()
        mean = mean.reindex(columns=shown)
        lines = [
            f"{kind}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}:",
            "",
            "| layer |" + "".join(f" pass {one} |" for one in shown),
            "|---|" + "--:|" * len(shown),
        ]
        for layer, row in mean.iterrows():
            lines.append(_row(str(layer), row))
        lines.append(_row("median", mean.median()))
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


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
    table = commands.add_parser("table", help="print a CSV as Markdown")
    table.add_argument("csv", type=Path)
    table.add_argument("--passes", type=int, nargs="+", default=[], metavar="P")
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
        else:
            print(passes_table(read_frame(given.csv, _COLUMNS), given.passes), end="")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.passes", lambda: main(sys.argv[1:])))
