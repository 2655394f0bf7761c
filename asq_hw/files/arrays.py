"""Arrays of numbers in files of numpy's, read within bounds; nothing in them is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.files.reading import open_regular

__all__ = ["SUFFIX", "read_array"]

SUFFIX = ".npy"
_DAMAGE = (OSError, ValueError, EOFError, TypeError, SyntaxError, OverflowError)
"""What numpy raises of a file that is none of its own, or is damaged."""


def read_array(path: Path, what: str) -> NDArray[Any]:
    """A file's array, of integers or in floating point, which stays on disk until it is used.

    Parameters
    ----------
    path : Path
        Of a file that `numpy.save` wrote.
    what : str
        What it should be, in messages.

    Raises
    ------
    InputError
        If it cannot be read, or holds something else.
    """
    open_regular(path, what).close()  # numpy would wait for a pipe
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"cannot read {path}: {reason}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or array.ndim < 1:
        raise InputError(f"{path} must hold an array of numbers")
    return array
