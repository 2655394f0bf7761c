"""Safetensors files, read with distrust: nothing is believed or given memory before it is checked.

The format is 8 bytes with the header's length (little endian), a JSON header with every tensor's
type, shape and place, then the tensors' bytes. It is simple enough to be written here, which makes
the bytes of a file depend on its content alone: the reference writer orders the metadata by chance.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write

__all__ = ["MAX_FILE_BYTES", "MAX_HEADER_BYTES", "Entry", "TensorFile", "parse_json", "write"]

MAX_FILE_BYTES = 144 << 20
"""Largest file; it has room for VGG-16, the largest of the common image classifiers."""
MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 10_000
MAX_RANK = 8

_LENGTH_BYTES = 8
_ALIGNMENT = 8
_METADATA = "__metadata__"
_DTYPES = {"U8": "<u1", "U16": "<u2", "I8": "<i1", "I16": "<i2", "I32": "<i4"}

IntegerArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the header says about one tensor; `begin` and `end` count from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class TensorFile:
    """An open file whose header has been checked.

    Attributes
    ----------
    metadata : dict of str to str
    entries : dict of str to Entry
        Every tensor, by name.
    """

    def __init__(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError("it is not a regular file")
        header = _read_header(file, status.st_size)
        self._file = file
        self._start = _LENGTH_BYTES + len(header)
        self.metadata, self.entries = _parse_header(header, status.st_size - self._start)

    def read(self, name: str) -> IntegerArray:
        """One tensor, as it stands in the file; read-only."""
        entry = self.entries[name]
        self._file.seek(self._start + entry.begin)
        data = self._file.read(entry.end - entry.begin)
        if len(data) != entry.end - entry.begin:
            raise InputError(f"the file ended in tensor {name!r} while it was read")
        return np.frombuffer(data, dtype=_DTYPES[entry.dtype]).reshape(entry.shape)


def write(
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    tensors: Mapping[str, tuple[str, NDArray[Any]]],
) -> None:
    """Write a file that `TensorFile` reads: always the same bytes for the same content.

    Parameters
    ----------
    path : path
        Written atomically.
    metadata : mapping of str to str
    tensors : mapping of str to (type, array)
        Type is a safetensors name, such as ``I16``, that every element fits.

    Raises
    ------
    InputError
        If the content is beyond what a reader accepts, or the file cannot be written.
    """
    # The widest elements come first, so that every tensor is aligned.
    names = sorted(tensors, key=lambda name: (-np.dtype(_DTYPES[tensors[name][0]]).itemsize, name))
    header: dict[str, object] = {_METADATA: dict(metadata)}
    arrays, offset = [], 0
    for name in names:
        dtype, values = tensors[name]
        array = np.ascontiguousarray(values, dtype=_DTYPES[dtype])
        end = offset + array.nbytes
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        arrays.append(array)
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % _ALIGNMENT)
    _check_sizes(_LENGTH_BYTES + len(text) + offset, len(text))
    _parse_header(text, offset)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(_LENGTH_BYTES, "little"))
        file.write(text)
        for array in arrays:
            file.write(array.data)


def parse_json(what: str, text: bytes | str) -> object:
    """JSON without repeated keys, fractions, infinities or more nesting than Python can take."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except InputError as error:
        raise InputError(f"{what} {error}", rule="R-json") from None
    except RecursionError:
        raise InputError(f"{what} is nested too deeply", rule="L-nesting") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise InputError(f"{what} is not JSON: {error}", rule="R-json") from None


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = max(counts, key=counts.__getitem__)
        raise InputError(f"has the field {twice[:80]!r} more than once in one object")
    return result


def _refuse_number(text: str) -> object:
    raise InputError(f"must hold integers only, not {text[:40]}")


def _check_sizes(file_bytes: int, header_bytes: int) -> None:
    if file_bytes > MAX_FILE_BYTES:
        message = f"it would be {file_bytes} bytes long; at most {MAX_FILE_BYTES} are read"
        raise InputError(message, rule="L-file-bytes")
    if header_bytes > MAX_HEADER_BYTES:
        raise InputError(
            f"its header would be {header_bytes} bytes long; at most {MAX_HEADER_BYTES} are read",
            rule="L-header-bytes",
        )


def _read_header(file: BinaryIO, size: int) -> bytes:
    if size == 0:
        raise InputError("it is empty")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    first = file.read(1)
    if size < _LENGTH_BYTES + 2 or first != b"{":
        raise InputError("it is not a model file")
    _check_sizes(size, length)
    if length < 2 or length > size - _LENGTH_BYTES:
        raise InputError(f"its header is {length} bytes long, more than the file of {size} holds")
    header = first + file.read(length - 1)
    if len(header) != length:
        raise InputError("the file ended in its header while it was read")
    return header


def _parse_header(header: bytes, data_bytes: int) -> tuple[dict[str, str], dict[str, Entry]]:
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("its header is not UTF-8", rule="R-json") from None
    fields = parse_json("its header", text)
    if not isinstance(fields, dict):
        raise InputError("its header is not a JSON object")
    metadata = fields.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise InputError(f"its {_METADATA} is not an object of strings")
    if len(fields) > MAX_TENSORS:
        message = f"it has {len(fields)} tensors; at most {MAX_TENSORS} are read"
        raise InputError(message, rule="L-tensor-count")
    entries = {name: _parse_entry(name, value) for name, value in fields.items()}
    _check_places(entries, data_bytes)
    return metadata, entries


def _parse_entry(name: str, value: object) -> Entry:
    what = f"tensor {name[:80]!r}"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"{what} must have the fields dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise InputError(f"{what} must have one of the types {', '.join(_DTYPES)}")
    if not _is_list_of_integers(shape) or not 1 <= len(shape) <= MAX_RANK or min(shape) < 1:
        raise InputError(f"{what} must have a shape of 1 to {MAX_RANK} positive integers")
    if not _is_list_of_integers(offsets) or len(offsets) != 2 or min(offsets) < 0:
        raise InputError(f"{what} must have two data_offsets of 0 or more")
    entry = Entry(dtype=dtype, shape=tuple(shape), begin=offsets[0], end=offsets[1])
    if entry.elements * np.dtype(_DTYPES[dtype]).itemsize != entry.end - entry.begin:
        raise InputError(f"{what} has a shape that does not fit its data_offsets")
    return entry


def _is_list_of_integers(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


def _check_places(entries: Mapping[str, Entry], data_bytes: int) -> None:
    """The tensors fill the file, without a gap or an overlap."""
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].begin):
        if entry.begin != place:
            raise InputError(f"tensor {name[:80]!r} begins at byte {entry.begin}, not at {place}")
        place = entry.end
    if place != data_bytes:
        raise InputError(f"its tensors fill {place} bytes, but the file holds {data_bytes}")
