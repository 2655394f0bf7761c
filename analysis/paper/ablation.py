"""The paper's ablation (Table 5) and its widths, on a narrow ResNet-20 and Fashion-MNIST.

``python -m analysis.paper.ablation run`` trains every row and seed that a CSV does not hold yet;
``python -m analysis.paper.ablation table CSV`` prints the tables of docs/ablation.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.paper.ablation_results import (
    TABLE5,
    WIDTHS,
    Result,
    Variant,
    read_results,
    write_results,
)
from analysis.paper.ablation_table import ablation_report
from asq_hw import datasets
from asq_hw.errors import InputError
from asq_hw.guard import guarded

if TYPE_CHECKING:
    from asq_hw.train.recipes import Recipe
    from asq_hw.train.run.progress import TrainingResult

__all__ = ["SEEDS", "run", "train_row"]

FLOAT_RECIPE = "ablation-float"
ROW_RECIPE = "ablation-quantized"
SEEDS = (1, 2, 3)


def run(
    output: Path,
    *,
    runs: Path,
    variants: Sequence[Variant] = (*TABLE5, *WIDTHS),
    seeds: Sequence[int] = SEEDS,
    threads: int = 1,
    overrides: Iterable[str] = (),
) -> Iterator[Result]:
    """Train every variant with every seed, and yield each result once it is in the CSV.

    What the CSV holds already is left out, and a run that was stopped goes on from its last
    epoch, so the same call finishes an interrupted ablation. The rows of `TABLE5` come first.

    Parameters
    ----------
    output : Path
        The CSV; one line is added after each run.
    runs : Path
        Folder of the checkpoints: one of the start for each seed, one for each run.
    variants, seeds, threads
        What is trained, and on how many threads.
    overrides : iterable of ``"key=value"``
        Replace values of both recipes, for a shorter or a longer ablation.

    Raises
    ------
    InputError
        If the CSV is of another setting, or training cannot be done.
    """
    overrides = list(overrides)
    results = read_results(output) if output.exists() else []
    done = {(result.variant, result.seed) for result in results}
    for variant, seed in _order(variants, seeds):
        if (variant.key, seed) in done:
            continue
        _, row = _recipes(variant, seed, overrides)
        _check_setting(output, results, row)
        result = _result(variant, seed, overrides, runs=runs, threads=threads)
        results.append(result)
        write_results(output, results)
        yield result


def _order(variants: Sequence[Variant], seeds: Sequence[int]) -> Iterator[tuple[Variant, int]]:
    for first in (True, False):
        group = [variant for variant in variants if (variant in TABLE5) is first]
        yield from ((variant, seed) for seed in seeds for variant in group)


def _recipes(variant: Variant, seed: int, overrides: Iterable[str]) -> tuple[Recipe, Recipe]:
    """The recipe of the floating-point start, and that of the row."""
    from asq_hw.train import recipes  # torch, which a table does not need

    start = recipes.load(FLOAT_RECIPE, overrides).to_dict()
    start |= {"seed": seed, "name": f"{FLOAT_RECIPE}-seed{seed}"}
    row = recipes.load(ROW_RECIPE, overrides).to_dict() | variant.overrides(seed)
    return recipes.from_dict(start), recipes.from_dict(row)


def _check_setting(output: Path, results: Sequence[Result], row: Recipe) -> None:
    for result in results[:1]:
        for key in ("width", "training_images", "epochs", "batch_size", "learning_rate"):
            old, new = getattr(result, key), getattr(row, key)
            if old != new:
                raise InputError(
                    f"{output} holds results with {key} {old}, which {new} does not compare with: "
                    "name another file"
                )


def train_row(
    variant: Variant,
    seed: int,
    *,
    runs: Path,
    threads: int = 1,
    overrides: Iterable[str] = (),
) -> tuple[TrainingResult, TrainingResult]:
    """Train one row, and before it the network it starts from; return what came of that and of it.

    What is there already in `runs` is not trained again.

    Parameters
    ----------
    variant : Variant
        The row.
    seed : int
        Of both trainings.
    runs : Path
        Folder of the runs' folders.
    threads : int
        Threads of PyTorch.
    overrides : iterable of str
        Settings of the recipes to replace, as ``KEY=VALUE``.
    """
    from asq_hw.train.run import training

    start, row = _recipes(variant, seed, overrides)
    first = training.train(start, output=runs / start.name, resume=True, threads=threads)
    last = training.train(
        row, output=runs / row.name, init=first.last, resume=True, threads=threads
    )
    return first, last


def _result(
    variant: Variant, seed: int, overrides: Iterable[str], *, runs: Path, threads: int
) -> Result:
    _, row = _recipes(variant, seed, overrides)
    first, last = train_row(variant, seed, runs=runs, threads=threads, overrides=overrides)
    images = len(datasets.load(row.dataset))
    return Result(
        variant=variant.key,
        seed=seed,
        correct=round(last.accuracy * images),
        images=images,
        start_correct=round(first.accuracy * images),
        width=row.width,
        training_images=row.training_images,
        epochs=row.epochs,
        batch_size=row.batch_size,
        learning_rate=row.learning_rate,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m analysis.paper.ablation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("run", help="train what the CSV does not hold yet")
    train.add_argument("--output", type=Path, required=True, help="the CSV")
    train.add_argument("--runs", type=Path, required=True, help="folder of the checkpoints")
    train.add_argument("--threads", type=int, default=1)
    train.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    table = commands.add_parser("table", help="print the tables as Markdown")
    table.add_argument("csv", type=Path)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "table":
            print(ablation_report(read_results(given.csv)), end="")
            return 0
        results = run(
            given.output, runs=given.runs, threads=given.threads, overrides=given.overrides
        )
        for result in results:
            print(f"{result.variant} seed {result.seed}: {result.top1:.2f} %", flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.ablation", lambda: main(sys.argv[1:])))
