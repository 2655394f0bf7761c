"""How fast a network's learned weight scales move beside the weights themselves.

``python -m analysis.paper.balance --recipe NAME --init CHECKPOINT`` trains for some steps as the
recipe says, keeps nothing of it, and prints a table as Markdown. What balance is, says
`asq_hw.train.balance`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asq_hw.errors import InputError
from asq_hw.files.packaged import checkpoint_path
from asq_hw.guard import guarded

if TYPE_CHECKING:
    from asq_hw.train.balance import Balance

__all__ = ["balance_table", "main"]


def balance_table(found: Mapping[str, Balance]) -> str:
    """Balance and range of each layer's scale, as Markdown."""
    lines = [
        "| layer | bits | scales | balance R | least scale / start | largest scale / start "
        "| channels lost |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in found.items():
        lines.append(
            f"| {name} | {one.bits} | {one.scales} | {one.balance:.2f} | {one.least:.3g} "
            f"| {one.largest:.3g} | {one.lost} |"
        )
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.paper.balance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipe", required=True, help="a shipped recipe or a file")
    parser.add_argument(
        "--init",
        type=Path,
        metavar="CHECKPOINT",
        help="full-precision network to start from, or its state dict",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="default: 100, or a pass")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name."""
    from asq_hw.train import recipes
    from asq_hw.train.balance import measure_balance

    given = _parser().parse_args(arguments)
    try:
        recipe = recipes.load(given.recipe, given.changes)
        init = None if given.init is None else checkpoint_path(given.init)
        print(balance_table(measure_balance(recipe, init, steps=given.steps)), end="")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(guarded("analysis.paper.balance", lambda: main(sys.argv[1:])))
