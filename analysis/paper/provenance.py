"""Which program made a result: the commit of its sources."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import asq_hw
from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write

__all__ = ["commit", "noted_commits"]

_LETTERS = 12
_SOURCES = ("asq_hw", "analysis", "rtl", "pyproject.toml")
_SECONDS = 60
_FILE = "commits.txt"
"""In the folder of a run: a line for each commit that it was begun or gone on with at."""


@cache
def commit() -> str:
    """The commit that the sources are of, ``+changes`` behind it if they have been changed.

    Of an installed version without sources under git, its number.
    """
    folder = Path(asq_hw.__file__).resolve().parents[1]
    version = f"version-{asq_hw.__version__}"
    try:
        # An installed copy may lie in somebody else's repository.
        if Path(_git(folder, "rev-parse", "--show-toplevel")).resolve() != folder:
            return version
        head = _git(folder, "rev-parse", "HEAD")[:_LETTERS]
        changed = _git(folder, "status", "--porcelain", "--", *_SOURCES)
    except (OSError, subprocess.SubprocessError):
        return version
    return f"{head}+changes" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=_SECONDS,
    )
    return done.stdout.strip()


def noted_commits(folder: Path, *, begins: bool) -> str:
    """The commits at which a run was trained, in order; one that begins now is noted first.

    Parameters
    ----------
    folder : Path
        The run's folder, which exists.
    begins : bool
        Whether any of it is still to be trained.
    """
    path = folder / _FILE
    try:
        found = path.read_text(encoding="utf-8").split() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} could not be read: {error}") from None
    if begins and commit() not in found:
        found.append(commit())
        with atomic_write(path) as file:
            file.write("".join(f"{name}\n" for name in found).encode())
    return " ".join(found)
