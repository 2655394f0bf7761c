"""The paper's Tables 4 and 5 on a ResNet-20: every row trained alike, from one start.

``python -m analysis.paper.ablation run`` trains every row and seed that a CSV does not hold yet;
``python -m analysis.paper.ablation table CSV`` prints the tables of docs/ablation.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.paper.ablation_table import ablation_report
from analysis.paper.jobs import Job, Outcome, locked, run_jobs
from analysis.paper.results import Result, check_together, read_results, write_results
from analysis.paper.row_training import Plan, Start, expected, train_row, train_start
from analysis.paper.rows import TABLES, Variant, chosen_rows, chosen_tables
from asq_hw.errors import InputError
from asq_hw.guard import guarded

__all__ = ["RECIPE", "run"]

RECIPE = "ablation-quantized"

_MOST = 1000
"""Seeds, processes, and passes between measurements."""


def run(
    output: Path, plan: Plan, *, variants: Sequence[Variant], seeds: Sequence[int], jobs: int = 1
) -> Iterator[Outcome]:
    """Train every variant with every seed, and yield each outcome once its line is in the CSV.

    All rows of the first seed come first. What the CSV holds already is left out, and a run that
    was stopped or killed goes on from its last epoch, so the same call finishes what another one
    began. A row that fails does not stop the others.

    Parameters
    ----------
    output : Path
        The CSV; one line is added after each run.
    plan : Plan
        What all rows share.
    variants, seeds
        What is trained.
    jobs : int
        Runs at a time, each in a process of its own.

    Yields
    ------
    Outcome
        Of a row, its result a `Result`; of a start, only where it failed.

    Raises
    ------
    InputError
        If the CSV's lines do not compare with those to come, the recipe cannot be used, or another
        call works in the same folder.
    """
    with locked(plan.runs, "--runs"):
        results = read_results(output) if output.exists() else []
        done = {(result.variant, result.seed) for result in results}
        left = [(v, seed) for seed in seeds for v in variants if (v.key, seed) not in done]
        _check_before(output, results, plan, left)
        for outcome in run_jobs(_jobs(plan, left), jobs):
            match outcome.result:
                case Start() as start:
                    seed = outcome.job.arguments[1]
                    _check_start(output, results, plan, left, start, seed)
                    continue
                case Result() as result:
                    results = _added(output, results, result)
            yield outcome


def _jobs(plan: Plan, left: Sequence[tuple[Variant, int]]) -> Iterator[Job]:
    """One job for each start, and one for each row, which needs it."""
    started: set[str] = set()
    for variant, seed in left:
        start = "the start" if plan.init else f"the start of seed {seed}"
        if start not in started:
            started.add(start)
            yield Job(name=start, function=train_start, arguments=(plan, seed))
        yield Job(
            name=f"{variant.key} seed {seed}",
            function=train_row,
            arguments=(plan, variant, seed),
            needs=start,
        )


def _check_before(
    output: Path, results: Sequence[Result], plan: Plan, left: Sequence[tuple[Variant, int]]
) -> None:
    """Refuse what can be refused before anything is trained or measured."""
    for variant, seed in left:
        plan.row(variant, seed)
    for result in results[:1]:
        known = Start(
            path=output,
            recipe=result.start_recipe,
            digest=result.start,
            correct=result.start_correct,
        )
        for variant, _ in left[:1]:
            check_together([result, expected(plan, variant, result.seed, known)], str(output))


def _check_start(
    output: Path,
    results: Sequence[Result],
    plan: Plan,
    left: Sequence[tuple[Variant, int]],
    start: Start,
    seed: int,
) -> None:
    variant = next(variant for variant, own in left if own == seed)
    check_together([*results, expected(plan, variant, seed, start)], str(output))


def _added(output: Path, results: list[Result], result: Result) -> list[Result]:
    """Write a result behind the others, which must be as they were."""
    if results and read_results(output) != results:
        raise InputError(f"{output} was changed while rows were trained: start again")
    results = [*results, result]
    check_together(results, str(output))
    write_results(output, results)
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.paper.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("run", help="train what the CSV does not hold yet")
    train.add_argument("--output", type=Path, required=True, help="the CSV")
    train.add_argument("--runs", type=Path, required=True, help="folder of the checkpoints")
    train.add_argument(
        "--init",
        type=Path,
        metavar="CHECKPOINT",
        help="full-precision network that every row starts from, or its state dict; "
        "default: one is trained for each seed by --start-recipe",
    )
    train.add_argument("--recipe", default=RECIPE, help="what all rows share; default: %(default)s")
    train.add_argument("--start-recipe", default="ablation-float", help="default: %(default)s")
    train.add_argument("--data", metavar="NAME|DIR", help="data set; default: the recipe's")
    train.add_argument("--passes", type=int, metavar="P", help="epochs; default: the recipe's")
    train.add_argument("--seeds", type=int, default=3, metavar="N", help="1 to N; default: 3")
    train.add_argument(
        "--table",
        dest="tables",
        action="append",
        metavar="NAME",
        help=f"whose rows: {', '.join(TABLES)}; repeatable; default: all",
    )
    train.add_argument("--rows", nargs="+", metavar="KEY", help="only these of the tables' rows")
    train.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time")
    train.add_argument("--threads", type=int, default=1, metavar="N", help="of each run")
    train.add_argument(
        "--eval-every",
        type=int,
        default=1,
        metavar="N",
        help="passes from one measurement on the test images to the next; the last is measured",
    )
    train.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    table = commands.add_parser("table", help="print the tables as Markdown")
    table.add_argument("csv", type=Path)
    table.add_argument("--table", dest="tables", action="append", metavar="NAME")
    return parser


def _run(given: argparse.Namespace) -> int:
    for name in ("seeds", "jobs", "threads", "eval_every"):
        if not 1 <= getattr(given, name) <= _MOST:
            raise InputError(
                f"--{name.replace('_', '-')} must be 1..{_MOST}, not {getattr(given, name)}"
            )
    overrides = list(given.overrides)
    overrides += [] if given.data is None else [f"dataset={given.data}"]
    overrides += [] if given.passes is None else [f"epochs={given.passes}"]
    plan = Plan(
        recipe=given.recipe,
        overrides=tuple(overrides),
        runs=given.runs,
        init=given.init,
        start_recipe=given.start_recipe,
        threads=given.threads,
        eval_every=given.eval_every,
    )
    rows = chosen_rows(chosen_tables(given.tables or TABLES), given.rows)
    seeds = range(1, given.seeds + 1)
    status = 0
    for outcome in run(given.output, plan, variants=rows, seeds=seeds, jobs=given.jobs):
        if outcome.problem is not None:
            status = 1
            print(f"{outcome.job.name} failed: {outcome.problem}", file=sys.stderr, flush=True)
        elif isinstance(outcome.result, Result):
            found = outcome.result
            print(f"{outcome.job.name}: {found.top1:.2f} %, loss {found.loss:.4f}", flush=True)
    return status


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "run":
            return _run(given)
        tables = chosen_tables(given.tables or TABLES)
        print(ablation_report(read_results(given.csv), tables), end="")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.ablation", lambda: main(sys.argv[1:])))
