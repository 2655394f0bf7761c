"""Reading what is packed with gzip or in a tar archive, within stated bounds.

The standard library's readers take what a file says of itself: a header of a gigabyte, a million
members, one member inside the description of the next. These two read what data sets come in and
count everything they meet.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, Final, Protocol

__all__ = ["Gunzip", "PlainFile", "Source", "UnpackError", "tar_members"]

_CHUNK: Final = 1 << 16
_GZIP: Final = 31
"""zlib's number for a gzip stream."""
_MOST_STREAMS: Final = 10_000
"""gzip streams that may follow one another in a file; parallel packers make some thousands."""

_BLOCK: Final = 512
_MOST_MEMBERS: Final = 1_000
"""Headers of an archive; CIFAR-10's has eight."""
_MOST_NAME_BYTES: Final = 1 << 14
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 156)
_TYPE, _MAGIC, _PREFIX = slice(156, 157), slice(257, 262), slice(345, 500)
_FILES: Final = (b"0", b"\0", b"7")
_WITHOUT_DATA: Final = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices, folders and pipes."""
_LONG_NAME, _EXTENDED = b"L", b"x"


class UnpackError(ValueError):
    """What is packed is damaged, or beyond the bounds."""


class Source(Protocol):
    """What can be read from, forward."""

    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer only at the end."""


class PlainFile:
    """A file that is not packed, forward, up to a limit; as `Gunzip` reads one that is."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = self._left = limit

    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer only at the end of the file; UnpackError beyond the limit."""
        part = self._file.read(size)
        self._left -= len(part)
        if self._left < 0:
            raise UnpackError(f"what is read of it must be at most {self._limit} bytes")
        return part


class Gunzip:
    """What a gzipped file unpacks to, forward, up to a limit.

    Parameters
    ----------
    packed : BinaryIO
        The file.
    limit : int
        Bytes after which reading on is an error.
    """

    def __init__(self, packed: BinaryIO, limit: int) -> None:
        self._packed = packed
        self._limit = self._left = limit
        self._stream = zlib.decompressobj(_GZIP)
        self._streams = 1
        self._input = b""

    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer only at the end of the file.

        Raises
        ------
        UnpackError
            If the file is damaged or cut short, or unpacks to more than the limit.
        """
        parts: list[bytes] = []
        while size > 0 and (part := self._part(size)):
            parts.append(part)
            size -= len(part)
            self._left -= len(part)
            if self._left < 0:
                raise UnpackError(f"it must unpack to at most {self._limit} bytes")
        return b"".join(parts)

    def _part(self, size: int) -> bytes:
        """Some bytes, at most `size`; none at the end."""
        while True:
            if self._stream.eof and not self._begin_stream():
                return b""
            self._input = self._input or self._packed.read(_CHUNK)
            before = len(self._input)
            try:
                made = self._stream.decompress(self._input, size)
            except zlib.error as error:
                raise UnpackError(f"it is damaged: {error}") from None
            ended = self._stream.eof
            self._input = self._stream.unused_data if ended else self._stream.unconsumed_tail
            if made:
                return made
            if not before and not ended:
                raise UnpackError("it ends too early")

    def _begin_stream(self) -> bool:
        """Go on to the gzip stream behind the one that ended; False where only zeros follow."""
        while not self._input.lstrip(b"\0"):
            self._input = self._packed.read(_CHUNK)
            if not self._input:
                return False
        self._input = self._input.lstrip(b"\0")
        self._streams += 1
        if self._streams > _MOST_STREAMS:
            raise UnpackError(f"it must have at most {_MOST_STREAMS} gzip streams")
        self._stream = zlib.decompressobj(_GZIP)
        return True


def tar_members(source: Source) -> Iterator[tuple[str, int, Source]]:
    """Walk the regular files of a tar archive.

    Yields
    ------
    name : str
        The last part of the file's path.
    size : int
        Its bytes.
    content : Source
        What to read them from, before the next file is asked for; what is left is skipped.

    Raises
    ------
    UnpackError
        If a header is damaged, the archive ends too early, or has more than 1,000 headers.
    """
    long_name: bytes | None = None
    for _ in range(_MOST_MEMBERS):
        header = source.read(_BLOCK)
        if not header.strip(b"\0"):
            return
        size = _checked_size(header)
        kind = header[_TYPE]
        if kind in (_LONG_NAME, _EXTENDED):
            text = _read_name(source, size)
            long_name = text.rstrip(b"\0") if kind == _LONG_NAME else _extended_path(text)
            continue
        content = _Content(source, 0 if kind in _WITHOUT_DATA else size)
        if kind in _FILES:
            name = long_name if long_name is not None else _short_name(header)
            yield PurePosixPath(name.decode("utf-8", "replace")).name, size, content
        content.skip()
        long_name = long_name if kind == b"g" else None
    raise UnpackError(f"it must have at most {_MOST_MEMBERS} members before those that are wanted")


class _Content:
    """The bytes of one member, and the zeros that fill its last block."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._size = size
        self._filling = -size % _BLOCK

    def read(self, size: int, /) -> bytes:
        part = self._source.read(min(size, self._size))
        if len(part) < min(size, self._size):
            raise UnpackError("it ends too early")
        self._size -= len(part)
        return part

    def skip(self) -> None:
        while self._size:
            self.read(_CHUNK)
        self._source.read(self._filling)


def _checked_size(header: bytes) -> int:
    """Bytes of a member, from its header."""
    try:
        # The sum is of the header with blanks in place of the sum.
        wanted = int(header[_CHECKSUM].strip(b" \0") or b"0", 8)
        size = int(header[_SIZE].strip(b" \0") or b"0", 8)
    except ValueError:
        raise UnpackError("a header of it is damaged") from None
    blanked = header[: _CHECKSUM.start] + b" " * 8 + header[_CHECKSUM.stop :]
    if len(header) < _BLOCK or sum(blanked) != wanted or size < 0:
        raise UnpackError("a header of it is damaged")
    return size


def _read_name(source: Source, size: int) -> bytes:
    if size > _MOST_NAME_BYTES:
        raise UnpackError(f"a name in it must be at most {_MOST_NAME_BYTES} bytes, not {size}")
    content = _Content(source, size)
    text = content.read(size)
    content.skip()
    return text


def _short_name(header: bytes) -> bytes:
    name, prefix = (header[part].split(b"\0", 1)[0] for part in (_NAME, _PREFIX))
    return prefix + b"/" + name if prefix and header[_MAGIC] == b"ustar" else name


def _extended_path(records: bytes) -> bytes | None:
    """The path among records ``LENGTH KEY=VALUE`` of a header of POSIX's newer format."""
    while records:
        length, _, _ = records.partition(b" ")
        if not length.isdigit() or not len(length) < int(length[:9]) <= len(records):
            raise UnpackError("a header of it is damaged")
        key, _, value = records[len(length) + 1 : int(length[:9])].partition(b"=")
        if key == b"path":
            return value.removesuffix(b"\n")
        records = records[int(length[:9]) :]
    return None
