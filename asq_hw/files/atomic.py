"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from asq_hw.errors import InputError, StorageError

if sys.platform != "win32":  # where leftovers stay
    import fcntl

__all__ = ["atomic_write", "make_folder", "remove_leftovers", "write_error"]

_WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it changes at once, and only if the block ends well.

    What is written goes to a temporary file beside the target, which is flushed to the disk
    and renamed over the target. On any exception, Ctrl-C included, the temporary file is
    removed and whatever stood at `path` stays. A symbolic link stays a link. Temporary files
    that a killed process left for the same target are removed.

    Yields
    ------
    file : BinaryIO
        The temporary file, open for binary writing.

    Raises
    ------
    InputError
        If `path` is empty, a directory or a device, or its folder is missing or not writable.
    StorageError
        If the disk is full or fails.
    """
    target = _target(path)
    temporary = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.tmp")
    _check_target(path, target)
    remove_leftovers(target)
    try:
        with _open_locked(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and _is_about(error, temporary):
            raise write_error(f"cannot write {os.fspath(path)}", error) from error
        raise
    _sync_folder(target.parent)


def make_folder(path: str | os.PathLike[str], what: str) -> None:
    """Make a folder, and those above it, unless it is there; `what` is for messages.

    Raises
    ------
    InputError, StorageError
        If it cannot be made: by its name, or by the disk.
    """
    if not os.fspath(path):
        raise InputError(f"{what} must be a path, not an empty string")
    try:
        os.makedirs(path, exist_ok=True)
    except (OSError, ValueError) as error:
        raise write_error(f"{what} {os.fspath(path)} could not be made", error) from error


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove temporary files for `path` that killed processes left; not those being written."""
    if sys.platform == "win32":
        return
    target = _target(path)
    prefix = _prefix(target)
    ours = re.compile(re.escape(prefix) + r"[0-9a-f]{16}\.tmp", re.DOTALL)
    with suppress(OSError):
        for entry in os.scandir(target.parent):
            if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_unlocked(entry.path)


def write_error(what: str, error: OSError | ValueError) -> InputError | StorageError:
    """The error to be raised for one of the system's: the user's fault, or the disk's."""
    reason = getattr(error, "strerror", None) or error
    full = isinstance(error, OSError) and error.errno in _WRITE_ERRORS
    return StorageError(f"{what}: {reason}") if full else InputError(f"{what}: {reason}")


def _target(path: str | os.PathLike[str]) -> Path:
    """Where the file is, links followed."""
    if not os.fspath(path):
        raise InputError("a file to write must be a path, not an empty string")
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:  # a zero byte
        raise InputError(f"cannot write {os.fspath(path)!r}: {error}") from None


def _prefix(target: Path) -> str:
    """How temporary files for a target begin."""
    name = os.fsencode(target.name)[:64]
    return f".{os.fsdecode(name)}."


@contextmanager
def _open_locked(temporary: Path) -> Iterator[BinaryIO]:
    """Make a file whose lock shows that somebody writes it, for as long as the writer lives.

    Who removes leftovers may have come upon it before it was locked: then it is made again.
    """
    while True:
        # "x" gives the permissions that any new file gets, which tempfile would not.
        with open(temporary, "xb") as file:
            if sys.platform != "win32":
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                yield file
                return


def _remove_unlocked(path: str) -> None:
    with suppress(OSError), open(path, "rb") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)


def _check_target(path: str | os.PathLike[str], target: Path) -> None:
    """Refuse before the work, not after it, what a rename could not replace or should not."""
    if os.path.isdir(target):
        raise InputError(f"cannot write {os.fspath(path)}: it is a directory")
    if os.path.exists(target) and not os.path.isfile(target):
        raise InputError(f"cannot write {os.fspath(path)}: it is not a regular file")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise InputError(f"cannot write {os.fspath(path)}: it is write-protected")


def _is_about(error: OSError, temporary: Path) -> bool:
    """Whether `error` comes from our own file: errors of write() carry no name, the others do."""
    if error.filename is None:
        return error.errno in _WRITE_ERRORS
    return bool(error.filename == os.fspath(temporary) or error.filename == temporary)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the file system can promise that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
