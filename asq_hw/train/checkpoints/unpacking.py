"""Reading a file of torch's as tensors and plain values, in the format of today and the one before.

The content is looked through first, and then read by torch with `weights_only`: nothing that a file
names is ever called but what makes tensors.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import torch

from asq_hw.errors import InputError
from asq_hw.files.reading import read_bounded
from asq_hw.train.checkpoints import archive, legacy
from asq_hw.train.checkpoints.archive import ArchiveError

__all__ = ["unpack"]

_MOST_BYTES: Final = 1 << 32
_FORMATS: Final = {
    archive.MAGIC: archive.check_archive,
    legacy.MAGIC: legacy.check_legacy,
}


def unpack(path: Path) -> object:
    """What a file of torch's holds, on the CPU.

    Raises
    ------
    InputError
        If the file is missing, is none of torch's, is damaged, or holds anything but tensors and
        plain values.
    """
    content = read_bounded(path, "checkpoint", _MOST_BYTES)
    check = next((check for magic, check in _FORMATS.items() if content.startswith(magic)), None)
    if check is None:
        raise InputError(
            f"{path} is not a checkpoint of asq-hw train, nor a file that torch.save wrote"
        )
    try:
        check(content)
    except ArchiveError as error:
        raise InputError(
            f"{path} is not a checkpoint of asq-hw train, or is damaged: {error}; "
            "of a network, torch.save(model.state_dict(), FILE) is read"
        ) from None
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:
        # Whatever a damaged file makes torch's readers raise, the answer is the same.
        raise InputError(f"{path} is not a checkpoint of asq-hw train, or is damaged") from None
