"""Interleaved repetitions, and the tables that tell of them."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["Section", "interleave", "machine", "show"]

Runner = Callable[[], object]


def interleave(runners: Mapping[str, Runner], repetitions: int) -> dict[str, list[float]]:
    """Seconds of every repetition, by runner.

    The runners take turns, so that whatever slows the machine for a while slows all of them; the
    first round, in which code is compiled and memory is taken, is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for repetition in range(repetitions + 1):
        for name, run in runners.items():
            start = time.perf_counter()
            run()
            if repetition:
                seconds[name].append(time.perf_counter() - start)
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table, with what has to be known to read it."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = field(default=())


def machine() -> str:
    """The processor's name, the cores that may be used, and Python's version."""
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = (line.partition(":")[2].strip() for line in lines if "model name" in line)
            return next(names)
    except (OSError, StopIteration):
        return platform.machine()


def show(section: Section, form: str) -> None:
    """Print a section: ``markdown``, or ``json`` on one line."""
    if form == "json":
        print(json.dumps({"title": section.title, "rows": section.rows, "notes": section.notes}))
        return
    keys = list(dict.fromkeys(key for row in section.rows for key in row))
    cells = [[_cell(row.get(key)) for key in keys] for row in section.rows]
    widths = [max(len(key), *(len(row[i]) for row in cells)) for i, key in enumerate(keys)]
    print(f"\n{section.title}\n")
    _print_row(keys, widths)
    _print_row(["-" * width for width in widths], widths)
    for row in cells:
        _print_row(row, widths)
    for note in section.notes:
        print(f"\n{note}")
    print(flush=True)


def _print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    print(f"| {' | '.join(padded)} |")


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        case _:
            return str(value)


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Median by runner."""
    return {name: median(values) for name, values in seconds.items()}
