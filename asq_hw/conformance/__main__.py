"""``python -m asq_hw.conformance``: list the examples with their commands, or write them anew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asq_hw.conformance.files import FOLDER, command, write_all
from asq_hw.conformance.models import EXAMPLES
from asq_hw.guard import guarded

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m asq_hw.conformance",
        description="Tiny networks with pixels and every intermediate integer. Without an option: "
        "what each shows, and the command that checks the simulator with it.",
    )
    parser.add_argument(
        "--write", metavar="DIR", type=Path, help="compute every file anew, with the oracle"
    )
    folder = parser.parse_args(arguments).write
    if folder is None:
        for example in EXAMPLES:
            print(f"# {example.name}: {example.shows}\n{command(example, FOLDER)}")
        return 0
    write_all(folder)
    return 0


if __name__ == "__main__":
    sys.exit(guarded("asq_hw.conformance", main))
