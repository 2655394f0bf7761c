"""Looking through a file of torch's before torch reads it: nothing in it may ask for much.

Such a file is a zip archive with one record for each storage, and a pickle that says which tensors
lie in them. torch refuses pickles that would run code; it believes what they say of sizes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from asq_hw.files.pickles import PickleError, PickleMachine

__all__ = ["ArchiveError", "check_archive"]

_MOST_RECORDS: Final = 50_000
_MOST_PICKLE_BYTES: Final = 1 << 25
_MOST_INSTRUCTIONS: Final = 2_000_000
_MOST_PARTS: Final = 1 << 16
"""Parts of a tuple, those of its parts included: looking at it visits each."""

_ITEM_BYTES: Final = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1,
    "BoolStorage": 1, "ComplexDoubleStorage": 16, "ComplexFloatStorage": 8, "UntypedStorage": 1,
}  # fmt: skip
_CALLED: Final = {
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
    "torch Size",
}
"""What may be named: ordinary tensors; sparse, quantized and other ones take memory that no record
holds."""
_NAMED: Final = frozenset(_CALLED | {f"torch {name}" for name in _ITEM_BYTES})


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
        _CheckpointMachine(sizes).run(program)
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


@dataclass(frozen=True, slots=True)
class _Value:
    """What is known of a value that the pickle would make."""

    value: object = None
    """A number, a string, a name, or a tuple of such; None for all others."""
    parts: int = 1


_OTHER: Final = _Value()


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


class _CheckpointMachine(PickleMachine[_Value]):
    """Knows of values only what has to be checked; `sizes` are those of the records."""

    kind = "checkpoint"
    names = _NAMED
    more_instructions = frozenset(
        {"BINFLOAT", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINPERSID"}
    )

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__(_MOST_INSTRUCTIONS)
        self.sizes = sizes

    def literal(self, value: object) -> _Value:
        return _Value(value) if type(value) in (int, str) else _OTHER

    def tuple_of(self, values: list[_Value]) -> _Value:
        parts = 1 + sum(value.parts for value in values)
        if parts > _MOST_PARTS:
            raise PickleError("it nests tuples as no checkpoint does")
        return _Value(tuple(value.value for value in values), parts)

    def named(self, name: str) -> _Value:
        return _Value(_Global(name))

    def call(self, function: _Value, arguments: _Value) -> _Value:
        if not isinstance(function.value, _Global) or function.value.name not in _CALLED:
            raise PickleError("it calls what no checkpoint needs")
        return _OTHER

    def extend(self, target: _Value, values: list[_Value]) -> None:
        """Nothing to check: what a list holds has been."""

    def update(self, target: _Value, items: list[_Value]) -> None:
        """Nothing to check."""

    def build(self, target: _Value, state: _Value) -> None:
        """Nothing to check."""

    def stored_elsewhere(self, identity: _Value) -> _Value:
        """Check that a record holds the storage that is said to be in it."""
        match identity.value:
            case ("storage", _Global(name), str(key), str(), int(count)):
                item = _ITEM_BYTES.get(name.removeprefix("torch "))
                if item is None or not 0 <= count * item <= self.sizes[key]:
                    _refuse_storage()
            case _:
                _refuse_storage()
        return _OTHER


def _refuse_storage() -> NoReturn:
    raise PickleError("it names a storage that it does not hold")
