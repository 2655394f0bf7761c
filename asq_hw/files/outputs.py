"""Outputs that would fall onto an input."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from asq_hw.errors import InputError

__all__ = ["check_outputs"]


def check_outputs(
    outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | str | None]
) -> None:
    """Refuse an output that is an input, lies in it, or is the folder of an input file.

    Parameters
    ----------
    outputs, inputs : mapping
        Paths by what they are called in messages; None, and inputs that are no path (names of data
        sets), are passed over. A link is what it leads to, and a second link to a file is the file.

    Raises
    ------
    InputError
        If writing an output could change an input.
    """
    for what, output in outputs.items():
        for other, name in inputs.items():
            if output is not None and name is not None and os.path.lexists(name):
                _check_pair(what, output, other, Path(name))


def _check_pair(what: str, output: Path, other: str, source: Path) -> None:
    target, origin = output.resolve(), source.resolve()
    same = target == origin or _is_one_file(output, source)
    inside = origin in target.parents
    around = target.is_dir() and not origin.is_dir() and target == origin.parent
    if same or inside or around:
        relation = "be" if same else "lie in" if inside else "be the folder of"
        raise InputError(f"{what} {output} must not {relation} {other} {source}, which is read")


def _is_one_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:  # one of them does not exist
        return False
