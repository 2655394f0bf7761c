"""What a folder holds already, by its manifest."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Occupant", "occupant"]

_MOST_BYTES = 1 << 20
_FORMAT = "asq-hw hardware"
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\.[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """The unit that a folder holds, or whatever else its manifest is of.

    Parameters
    ----------
    name : str or None
        The unit's top module; None if the manifest is not one of an emitted unit.
    description : str
        For people.
    files : frozenset of str
        Names of the unit's files in the folder, all of them plain ones.
    """

    name: str | None
    description: str
    files: frozenset[str] = frozenset()


def occupant(folder: Path, manifest: str) -> Occupant | None:
    """What `folder` holds; None where it has no manifest."""
    path = folder / manifest
    if not path.is_symlink() and not path.exists():
        return None
    foreign = Occupant(name=None, description=f"a {manifest} that is not of an emitted unit")
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return foreign
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return foreign
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        return foreign
    top, files = document.get("top"), document.get("files")
    if not isinstance(top, str) or not isinstance(files, dict):
        return foreign
    names = {name for name in files.values() if isinstance(name, str)}
    return Occupant(
        name=top,
        description=f"another unit, {top[:128]!a}",
        files=frozenset(name for name in names if _PLAIN_NAME.fullmatch(name)),
    )
