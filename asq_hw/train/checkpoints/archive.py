"""Looking through a file of torch's before torch reads it: nothing in it may ask for much.

Such a file is a zip archive with one record for each storage, and a pickle that says which tensors
lie in them (`asq_hw.train.checkpoints.tensor_pickle`).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Final

from asq_hw.files.pickles import PickleError
from asq_hw.train.checkpoints.tensor_pickle import (
    Storage,
    TensorMachine,
    refuse_storage,
    storage_of,
)

__all__ = ["MAGIC", "ArchiveError", "check_archive"]

MAGIC: Final = b"PK\x03\x04"

_MOST_RECORDS: Final = 50_000
_MOST_PICKLE_BYTES: Final = 1 << 25


class ArchiveError(ValueError):
    """A file that is not as torch writes one of tensors and plain values."""


def check_archive(content: bytes) -> None:
    """Look through a file before it is read.

    Raises
    ------
    ArchiveError
        If records are packed, overlap or are very many, or the pickle names anything but ordinary
        tensors, a storage that its record does not hold, or a key that takes long to look at.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = archive.infolist()
            if len(records) > _MOST_RECORDS:
                raise ArchiveError(
                    f"it has {len(records)} records; at most {_MOST_RECORDS} are read"
                )
            _check_records(records, len(content))
            (pickle,) = (one for one in records if one.filename.endswith("/data.pkl"))
            if pickle.file_size > _MOST_PICKLE_BYTES:
                raise ArchiveError("its list of tensors is too long")
            program = archive.read(pickle)
        prefix = pickle.filename.removesuffix("data.pkl") + "data/"
        sizes = {
            one.filename.removeprefix(prefix): one.file_size
            for one in records
            if one.filename.startswith(prefix)
        }
        _ArchiveMachine(sizes).run(program)
    except ArchiveError:
        raise
    except PickleError as error:
        raise ArchiveError(str(error)) from None
    except (zipfile.BadZipFile, ValueError, IndexError, KeyError, TypeError, OSError) as error:
        raise ArchiveError("it is damaged") from error
    except (RuntimeError, NotImplementedError, EOFError, OverflowError) as error:
        raise ArchiveError("it is damaged") from error


def _check_records(records: list[zipfile.ZipInfo], size: int) -> None:
    if len({record.filename for record in records}) != len(records):
        raise ArchiveError("two of its records have one name")
    if any(record.compress_type or record.file_size != record.compress_size for record in records):
        raise ArchiveError("a record of it is packed")
    if sum(record.file_size for record in records) > size:
        raise ArchiveError("its records are larger than the file")


class _ArchiveMachine(TensorMachine):
    """Holds storages against the `sizes` of the records, in bytes."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes = sizes

    def storage(self, identity: object) -> Storage:
        """A storage that a record holds."""
        match identity:
            case ("storage", kind, key, str(), count):
                found = storage_of(kind, key, count)
            case _:
                refuse_storage()
        if found.nbytes > self.sizes[found.key]:
            refuse_storage()
        return found
