"""Tables of what was measured before.

    python -m benchmarks.tables FILE

FILE holds lines that ``--format json`` of a benchmark has printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from asq_hw.errors import InputError
from asq_hw.guard import guarded
from benchmarks.timing import Section, show

__all__ = ["main", "read_sections"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", type=Path)
    for section in read_sections(parser.parse_args(arguments).file):
        show(section, "markdown")


def read_sections(path: Path) -> Iterator[Section]:
    """The sections of a file, one a line.

    Raises
    ------
    InputError
        If a line is no section; with its number.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            yield Section(**json.loads(line))
        except (ValueError, TypeError):
            raise InputError(f"{path}, line {number}: it must be a benchmark's JSON") from None


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.tables", main))
