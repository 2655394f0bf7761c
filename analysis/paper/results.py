"""The CSV that holds a line for each finished run, and what its lines must have in common."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write

__all__ = ["Result", "check_together", "read_results", "write_results"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One finished run, a line of the CSV.

    Parameters
    ----------
    dataset : str
        What it was trained and tested on: a name, or that of a content.
    recipe, settings : str
        The recipe that all rows share, by name, and its keys and values, ``key=value``, as far as
        no row replaces them and they are not a recipe's defaults.
    start_recipe, start : str
        What the full-precision start was trained by, and the digest of its weights; the second
        is empty where it was not noted.
    start_correct : int
        Test images that the start classifies right.
    commit : str
        Of the program, at each beginning of the run; empty where it was not noted.
    variant : str
        `analysis.paper.rows.Variant.key`.
    seed : int
        Of the order of the images and their augmentation.
    correct, images : int
        Test images classified right after the last epoch, and all of them.
    loss : float or None
        Cross entropy over the test images then.
    training_loss : float or None
        Mean over the last epoch's batches.
    """

    dataset: str
    recipe: str
    settings: str
    start_recipe: str
    start: str
    start_correct: int
    commit: str
    variant: str
    seed: int
    correct: int
    images: int
    loss: float | None
    training_loss: float | None

    @property
    def top1(self) -> float:
        """Share of the test images classified right, in percent."""
        return 100 * self.correct / self.images

    @property
    def start_family(self) -> str:
        """What its start was trained by, whatever the seed."""
        return self.start_recipe.removesuffix(f"-seed{self.seed}")


_SHARED = ("dataset", "recipe", "settings", "images", "start_family")
"""What all lines must agree on."""


def check_together(results: Iterable[Result], where: str) -> None:
    """Make sure that results compare with each other.

    Rows differ in what makes them rows, and in nothing else: one data set, one recipe with one
    set of values, one start, or one for each seed that was trained alike.

    Raises
    ------
    InputError
        If two do not; the message names what differs, and `where` they stand.
    """
    first: Result | None = None
    starts: dict[str, Result] = {}
    for result in results:
        first = first or result
        for key in _SHARED:
            old, new = str(getattr(first, key)), str(getattr(result, key))
            if old != new:
                raise InputError(
                    f"{where} holds results of {_differing(key, old, new)}: those do not compare"
                )
        start = starts.setdefault(result.start_recipe, result)
        if (start.start, start.start_correct) != (result.start, result.start_correct):
            raise InputError(
                f"{where} holds results from start {start.start or 'unknown'} and from start "
                f"{result.start or 'unknown'} of {result.start_recipe}: those do not compare"
            )


def _differing(key: str, old: str, new: str) -> str:
    """Say what differs; of settings only those values."""
    if key == "settings":
        before, after = set(old.split()), set(new.split())
        old, new = (" ".join(sorted(part)) or "none" for part in (before - after, after - before))
    name = {"start_family": "start", "images": "test images"}.get(key, key)
    return f"{name} {old or 'unknown'} and of {new or 'unknown'}"


def _optional(text: str) -> float | None:
    return float(text) if text else None


_READERS: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "float | None": _optional,
}


def read_results(path: str | Path) -> list[Result]:
    """Read the CSV of an ablation.

    Raises
    ------
    InputError
        If it cannot be read, a column is missing, a value is no number, a row and seed stands
        twice, or lines do not compare.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"results {path} could not be read: {error}") from None
    results: list[Result] = []
    for number, line in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        try:
            values: dict[str, Any] = {
                f.name: _READERS[str(f.type)](line[f.name]) for f in fields(Result)
            }
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"line {number} of {path} is not a result: {error}") from None
        results.append(Result(**values))
    runs = [(result.variant, result.seed) for result in results]
    for variant, seed in runs:
        if runs.count((variant, seed)) > 1:
            raise InputError(f"{path} must hold {variant} of seed {seed} once, not twice")
    check_together(results, str(path))
    return results


def write_results(path: str | Path, results: Iterable[Result]) -> None:
    """Write the CSV of an ablation, all or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Result)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(result) for result in results)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
