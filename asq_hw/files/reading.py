"""Files that the user names, opened with distrust: regular ones only, of a size that is stated."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from asq_hw.errors import InputError

__all__ = ["open_regular", "read_bounded"]

# Opening a pipe would wait for its writer, and a terminal could take the program over.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FLAGS |= getattr(os, "O_BINARY", 0)


def open_regular(path: str | os.PathLike[str], what: str) -> BinaryIO:
    """Open a file for reading; a pipe, a device or a folder is refused, and never waited for.

    Parameters
    ----------
    path : path
    what : str
        What the file is to the user, such as ``checkpoint``, for messages.

    Raises
    ------
    InputError
        If the file is missing, cannot be opened, or is no regular file.
    """
    name = os.fspath(path)
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise InputError(f"{what} {name} does not exist") from None
    except (OSError, ValueError) as error:  # the second for a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{what} {name} could not be read: {reason}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{what} {name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def read_bounded(path: str | os.PathLike[str], what: str, limit: int) -> bytes:
    """Read a whole file of at most `limit` bytes; its size is looked at before memory is taken.

    Raises
    ------
    InputError
        As `open_regular`, and if the file is longer or cannot be read.
    """
    with open_regular(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise InputError(f"{what} {Path(path)} must be at most {limit} bytes, not {size}")
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise InputError(f"{what} {Path(path)} could not be read: {error.strerror}") from None
    if len(content) > limit:  # it grew, or its size was not told
        raise InputError(f"{what} {Path(path)} must be at most {limit} bytes")
    return content
