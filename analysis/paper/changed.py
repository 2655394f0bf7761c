"""Is it the adapting that helps: accuracy on plain and on changed images, and with beta held.

``python -m analysis.paper.changed measure CHECKPOINT... --output CSV`` measures trained rows of the
ablation, and ``python -m analysis.paper.changed table CSV`` prints them as Markdown, with the
differences to what each row is held against. A held beta is the mean of what its adapter gives the
plain images: what a network would have whose steps are constants.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Any

from analysis.paper.distribution_figures import read_frame
from analysis.paper.distribution_measures import write_frame
from analysis.paper.measured import Measured, open_measured
from analysis.paper.paired import LEVEL, NATS, POINTS, Scores, paired_difference
from analysis.paper.rows import TABLES, Variant
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.guard import guarded
from asq_hw.train.data.changes import ImageChange

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CHANGES", "changed_table", "main", "measure_changed"]

PLAIN = ImageChange()
CHANGES = (
    PLAIN,
    ImageChange(brightness=0.5),
    ImageChange(brightness=1.5),
    ImageChange(contrast=0.5),
)
"""The images as they are, and three sorts that no network has been trained on."""

_ROWS = {row.key: row for table in TABLES.values() for row in table.trained}
_MEASURED = ("correct", "loss", "held_correct", "held_loss", "gained", "lost")
_COLUMNS = ("row", "brightness", "contrast", "images", *_MEASURED)


def measure_changed(networks: Sequence[Measured]) -> pd.DataFrame:
    """Count how often networks are right on plain and on changed images.

    Parameters
    ----------
    networks : sequence of Measured
        Trained rows, each of a recipe named ``ablation-ROW-seedN``.

    Returns
    -------
    DataFrame
        The columns of `ORIGIN`; ``row``; ``brightness`` and ``contrast``, 1 on plain images;
        ``images``, ``correct`` and ``loss`` (mean cross entropy, in nats). Then, where there are
        adapters, the same with each beta ``held_`` at its mean over the plain images, and the
        images that are right only while the adapters adapt (``gained``), or only when they are held
        (``lost``).

    Raises
    ------
    InputError
        If a network is no row of the ablation, or one of a seed stands twice.
    """
    import pandas as pd

    names = [_row_and_seed(network.recipe.name) for network in networks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"checkpoints must be of {twice[0][0]} and seed {twice[0][1]} once")
    return pd.DataFrame(
        [
            network.origin | {"row": row} | line
            for (row, _), network in zip(names, networks, strict=True)
            for line in _lines(network)
        ]
    )


def _row_and_seed(recipe: str) -> tuple[str, int]:
    named = re.fullmatch(r"ablation-(.+)-seed(\d+)", recipe)
    if named is None or named[1] not in _ROWS:
        raise InputError(f"checkpoints must be of rows of the ablation, which {recipe} is not")
    return named[1], int(named[2])


def _lines(network: Measured) -> Iterator[dict[str, Any]]:
    from asq_hw.train.distributed import Processes
    from asq_hw.train.evaluation import score
    from asq_hw.train.inspection import constant_beta
    from asq_hw.train.run.log import watch_betas

    model, dataset = network.model, network.dataset
    with watch_betas(model) as betas:
        plain = score(model, dataset)
    means = {layer: beta["mean"] for layer, beta in betas.result(Processes()).items()}
    for change in CHANGES:
        free = plain if change == PLAIN else score(model, dataset, change=change)
        line = {
            "brightness": change.brightness,
            "contrast": change.contrast,
            "images": free.images,
            "correct": free.correct,
            "loss": free.loss,
        }
        if means:
            with constant_beta(model, means):
                held = score(model, dataset, change=change)
            line |= {
                "held_correct": held.correct,
                "held_loss": held.loss,
                "gained": int((free.right & ~held.right).sum()),
                "lost": int((held.right & ~free.right).sum()),
            }
        yield line


def changed_table(frame: pd.DataFrame) -> str:
    """The rows' accuracy and what they differ by, as Markdown.

    Parameters
    ----------
    frame : DataFrame
        As `measure_changed` makes it.

    Raises
    ------
    InputError
        If it has a row that no table has.
    """
    if unknown := sorted(set(frame["row"]) - set(_ROWS)):
        raise InputError(f"row must be one of the tables' rows, not {unknown[0]!r}")
    kinds = list(dict.fromkeys(zip(frame["brightness"], frame["contrast"], strict=True)))
    own = {
        kind: frame[(frame["brightness"] == kind[0]) & (frame["contrast"] == kind[1])]
        for kind in kinds
    }
    parts = [_accuracies(own), _against(own)]
    return "\n".join(part for part in parts if part)


Kinds = dict[tuple[float, float], Any]
"""Frames by brightness and contrast."""


def _accuracies(kinds: Kinds) -> str:
    """What each row scores, and what the adapting of its adapters is worth in it."""
    lines = [
        "| images | row | seeds | top-1 | loss | top-1 with beta held | adapting, points (95 %) "
        "| adapting, loss (95 %) | flips alone, one network |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for kind, frame in kinds.items():
        for row, found in frame.groupby("row", sort=False):
            top1, loss = _by_seed(found, "correct"), _by_seed(found, "loss")
            cells = [str(len(top1)), f"{fmean(top1.values()):.2f} %", f"{fmean(loss.values()):.4f}"]
            cells += _adapting(found, top1, loss)
            lines.append(f"| {_name(kind)} | {_label(row)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _adapting(found: pd.DataFrame, top1: Scores, loss: Scores) -> list[str]:
    """What a row scores with beta held, what it is ahead of that by, and what flips alone give."""
    if found["held_correct"].isna().any():
        return ["", "", "", ""]
    held, held_loss = _by_seed(found, "held_correct"), _by_seed(found, "held_loss")
    return [
        f"{fmean(held.values()):.2f} %",
        _difference(top1, held, POINTS),
        _difference(loss, held_loss, NATS),
        f"± {_flips(found):.2f}",
    ]


def _against(kinds: Kinds) -> str:
    """What each row differs by from the rows that it is held against."""
    lines = [
        "| images | row | against | top-1, points (95 %) | loss (95 %) | seeds |",
        "|---|---|---|--:|--:|--:|",
    ]
    for kind, frame in kinds.items():
        by_row = {str(row): found for row, found in frame.groupby("row", sort=False)}
        for key, found in by_row.items():
            for other in (row.key for row in _ROWS[key].against if row.key in by_row):
                top1, loss = (
                    paired_difference(_by_seed(found, what), _by_seed(by_row[other], what))
                    for what in ("correct", "loss")
                )
                if top1 is not None and loss is not None:
                    cells = [top1.text(POINTS), loss.text(NATS), str(top1.count)]
                    labels = f"{_name(kind)} | {_label(key)} | {_label(other)}"
                    lines.append(f"| {labels} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _by_seed(found: pd.DataFrame, what: str) -> Scores:
    """A column by seed; what is counted, in percent of the images."""
    values = found[what] if what.endswith("loss") else 100 * found[what] / found["images"]
    return {int(seed): float(value) for seed, value in zip(found["seed"], values, strict=True)}


def _difference(own: Scores, other: Scores, digits: int) -> str:
    """A difference with its interval, or that of the only seed."""
    found = paired_difference(own, other)
    if found is not None:
        return found.text(digits)
    return f"{fmean(own.values()) - fmean(other.values()):+.{digits}f}"


def _flips(found: pd.DataFrame) -> float:
    """Half of the 95 % interval of a network's difference if each flip went either way alike.

    In points, the mean over the networks: the deviation of the number gained less the number lost
    is the root of both together (McNemar's test).
    """
    deviations = (found["gained"] + found["lost"]).map(math.sqrt) / found["images"]
    return 100 * NormalDist().inv_cdf(LEVEL) * float(deviations.mean())


def _label(key: object) -> str:
    row: Variant = _ROWS[str(key)]
    return f"{row.label}, {row.bits} bits"


def _name(kind: tuple[float, float]) -> str:
    brightness, contrast = kind
    parts = [f"brightness x {brightness:g}"] if brightness != 1 else []
    parts += [f"contrast x {contrast:g}"] if contrast != 1 else []
    return ", ".join(parts) or "plain"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.paper.changed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure", help="measure checkpoints, write a CSV")
    measure.add_argument("checkpoints", type=Path, nargs="+", help="trained rows of the ablation")
    measure.add_argument("--output", type=Path, required=True, help="the CSV")
    measure.add_argument("--data", metavar="NAME|DIR", help="default: what they were trained on")
    measure.add_argument("--images", type=int, help="test images, drawn evenly; default: all")
    table = commands.add_parser("table", help="print a CSV as Markdown")
    table.add_argument("csv", type=Path)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "measure":
            read = {f"checkpoint {path}": path for path in given.checkpoints}
            check_outputs({"--output": given.output}, read)
            if given.images is not None and given.images < 1:
                raise InputError(f"images must be at least 1, not {given.images}")
            networks = open_measured(given.checkpoints, images=given.images, data=given.data)
            write_frame(measure_changed(networks), given.output)
        else:
            print(changed_table(read_frame(given.csv, _COLUMNS)), end="")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.changed", lambda: main(sys.argv[1:])))
