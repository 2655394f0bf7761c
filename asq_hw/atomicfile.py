"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from asq_hw.errors import InputError

__all__ = ["atomic_write"]

_WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open `path` for writing so that it changes at once, and only if the block ends well.

    What is written goes to a temporary file beside the target, which is flushed to the disk
    and renamed over the target. On any exception, Ctrl-C included, the temporary file is
    removed and whatever stood at `path` stays. A symbolic link stays a link.

    Yields
    ------
    file : BinaryIO
        The temporary file, open for binary writing.

    Raises
    ------
    InputError
        If `path` is a directory or a device, its folder is missing or not writable, or the disk
        is full.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(8)}.tmp")
    _check_target(path, target)
    try:
        # "x" gives the permissions that any new file gets, which tempfile would not.
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and _is_about(error, temporary):
            raise InputError(f"cannot write {os.fspath(path)}: {error.strerror}") from error
        raise
    _sync_folder(target.parent)


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
