"""What a command prints: a table for people; JSON, CSV or Markdown for programs and documents."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = [
    "Column",
    "OutputFormat",
    "Report",
    "Table",
    "progress_bar",
    "show",
    "warn",
    "warn_of_lost_channels",
]

PIPED_WIDTH = 200
"""Columns of a table that goes to a file or a pipe, where no terminal sets them."""


class OutputFormat(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: the key in a row, the heading for people, and how they see a value."""

    key: str
    heading: str
    form: str = ""

    def text(self, row: Mapping[str, Any]) -> str:
        """The value as people see it; empty where there is none."""
        value = row.get(self.key)
        return "" if value is None else format(value, self.form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under headings."""

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that one command has to say.

    Parameters
    ----------
    headline : sequence of str
        Lines above the table, for people.
    table : Table
        The rows that table, CSV and Markdown show; CSV with every key, named or not.
    document : mapping
        The JSON object, with numbers as they were computed.
    notes : sequence of str
        Lines below the table, for people.
    """

    headline: Sequence[str] = ()
    table: Table
    document: Mapping[str, Any]
    notes: Sequence[str] = ()


def show(report: Report, form: OutputFormat) -> None:
    """Print a report on standard output, at once, and nothing else there."""
    match form:
        case OutputFormat.TABLE:
            _show_table(report)
        case OutputFormat.JSON:
            print(json.dumps(report.document, indent=2, ensure_ascii=False, allow_nan=False))
        case OutputFormat.CSV:
            _show_csv(report.table)
        case OutputFormat.MARKDOWN:
            _show_markdown(report.table)
    sys.stdout.flush()


def warn(message: str) -> None:
    """Print a warning, on standard error: the command goes on."""
    print("asq-hw: warning:", " ".join(message.split()), file=sys.stderr, flush=True)


def warn_of_lost_channels(found: Mapping[str, int]) -> None:
    """Name the layers of a network that rounding has left without some of its output channels."""
    for layer, count in found.items():
        channels = f"{count} output channel{'s' if count > 1 else ''}"
        warn(f"layer {layer}: the weights of {channels} all round to 0")


def _show_table(report: Report) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    width = None if sys.stdout.isatty() else PIPED_WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for line in report.headline:
        console.print(line, soft_wrap=True)
    table = RichTable(box=box.SIMPLE_HEAD)
    for column in report.table.columns:
        numeric = _is_numeric(column, report.table.rows)
        table.add_column(column.heading, justify="right" if numeric else "left")
    for row in report.table.rows:
        table.add_row(*(column.text(row) for column in report.table.columns))
    console.print(table)
    for line in report.notes:
        console.print(line, soft_wrap=True)


def _is_numeric(column: Column, rows: Sequence[Mapping[str, Any]]) -> bool:
    values = [row.get(column.key) for row in rows]
    return all(value is None or isinstance(value, int | float) for value in values)


def _show_csv(table: Table) -> None:
    """Every value of a row, not only those that people are shown."""
    keys = list(table.rows[0]) if table.rows else [column.key for column in table.columns]
    writer = csv.DictWriter(sys.stdout, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.rows)


def _show_markdown(table: Table) -> None:
    columns = table.columns
    rules = ["---:" if _is_numeric(column, table.rows) else "---" for column in columns]
    cells = [[column.text(row) for column in columns] for row in table.rows]
    for line in ([column.heading for column in columns], rules, *cells):
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |")


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Callable[[float], None] | None]:
    """Progress on standard error while a long task runs; None where that is no terminal.

    Yields
    ------
    callable or None
        To be called with how much of `total` is done.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
