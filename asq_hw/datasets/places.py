"""Where data sets that are known by name are looked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from asq_hw.errors import InputError

__all__ = ["DATA_VARIABLE", "SYSTEM_DATA", "find_place"]

DATA_VARIABLE = "ASQ_HW_DATA"
"""Environment variable naming the folder that holds the data sets."""

SYSTEM_DATA = Path("/usr/share/datasets")
"""Where Debian's package dataset-fashion-mnist puts its files."""


def find_place(name: str, entries: Sequence[str], advice: str) -> Path:
    """Find a data set's folder or archive: the user's first, then the system's.

    Parameters
    ----------
    name : str
        Name of the data set, for the complaint.
    entries : sequence of str
        What it may be called, the preferred one first.
    advice : str
        What to do if there is none, before "set the variable".

    Raises
    ------
    InputError
        If no place holds any of them.
    """
    user = os.environ.get(DATA_VARIABLE)
    roots = ([Path(user)] if user else []) + [SYSTEM_DATA]
    for place in (root / entry for root in roots for entry in entries):
        if place.exists():
            return place
    folders = " and ".join(str(root) for root in roots)
    raise InputError(
        f"{name} was not found (looked in {folders} for {' or '.join(entries)}): {advice}set "
        f"{DATA_VARIABLE} to the folder that holds {entries[0]}"
    )
