"""Measured rows, read from docs/data and arranged as Markdown."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asq_hw.errors import InputError

__all__ = ["Row", "markdown", "read"]

Row = Mapping[str, str]


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file that ``asq-hw synth --format csv`` printed.

    Raises
    ------
    InputError
        If the file cannot be read or holds no row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not rows:
        raise InputError(f"{path} holds no row")
    return rows


def markdown(heads: Sequence[str], lines: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table; so many of its columns are texts."""
    rules = ["---" if index < left else "---:" for index in range(len(heads))]
    rows = [" | ".join(cells) for cells in (heads, rules, *lines)]
    return "".join(f"| {row} |\n" for row in rows).replace("|  |", "| |")
