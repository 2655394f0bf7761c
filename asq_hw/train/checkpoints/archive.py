"""Looking through a file of torch's before torch reads it: nothing in it may ask for much.

Such a file is a zip archive with one record for each storage, and a pickle that says which tensors
lie in them. torch refuses pickles that would run code; it believes what they say of sizes.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

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
_NAMED: Final = _CALLED | {f"torch {name}" for name in _ITEM_BYTES}

_PUSHED: Final = {
    "EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE", "NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT",
}  # fmt: skip
_VALUES: Final = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE"}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


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
        _check_program(program, sizes)
    except ArchiveError:
        raise
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


def _check_program(program: bytes, sizes: Mapping[str, int]) -> None:
    machine = _Machine(sizes)
    for count, (instruction, argument, _) in enumerate(pickletools.genops(program)):
        if count >= _MOST_INSTRUCTIONS:
            raise ArchiveError("its list of tensors is too long")
        machine.do(instruction.name, argument)


class _Machine:
    """The pickle's stack machine, which knows of values only what has to be checked."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.stack: list[_Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Value] = {}

    def do(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _PUSHED:
            self.stack.append(_OTHER)
        elif name in _VALUES:
            self.stack.append(_Value(argument))
        elif name in _TUPLES:
            self._push_tuple(self._pop(_TUPLES[name]))
        elif name in _METHODS:
            _METHODS[name](self, argument)
        else:
            raise ArchiveError(f"it holds the instruction {name}, which no checkpoint needs")

    def _pop(self, count: int) -> list[_Value]:
        start = len(self.stack) - count
        if start < 0:
            raise IndexError("the stack is empty")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _pop_to_mark(self) -> list[_Value]:
        return self._pop(len(self.stack) - self.marks.pop())

    def _push_tuple(self, values: list[_Value]) -> None:
        parts = 1 + sum(value.parts for value in values)
        if parts > _MOST_PARTS:
            raise ArchiveError("it nests tuples as no checkpoint does")
        self.stack.append(_Value(tuple(value.value for value in values), parts))

    def nothing(self, _: Any) -> None:
        """Do nothing: the version number, and the end."""

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def make_tuple(self, _: Any) -> None:
        self._push_tuple(self._pop_to_mark())

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def drop(self, _: Any) -> None:
        self._pop(1)

    def drop_two(self, _: Any) -> None:
        self._pop(2)

    def drop_to_mark(self, _: Any) -> None:
        self._pop_to_mark()

    def name(self, argument: str) -> None:
        if argument not in _NAMED:
            raise ArchiveError(f"it names {argument.replace(' ', '.')}, which no checkpoint needs")
        self.stack.append(_Value(_Global(argument)))

    def call(self, _: Any) -> None:
        function, _arguments = self._pop(2)
        if not isinstance(function.value, _Global) or function.value.name not in _CALLED:
            raise ArchiveError("it calls what no checkpoint needs")
        self.stack.append(_OTHER)

    def storage(self, _: Any) -> None:
        """Check that a record holds what is said to be in it."""
        (identity,) = self._pop(1)
        match identity.value:
            case ("storage", _Global(name), str(key), str(), int(count)):
                item = _ITEM_BYTES.get(name.removeprefix("torch "))
                if item is None or not 0 <= count * item <= self.sizes[key]:
                    _refuse_storage()
            case _:
                _refuse_storage()
        self.stack.append(_OTHER)


def _refuse_storage() -> NoReturn:
    raise ArchiveError("it names a storage that it does not hold")


_METHODS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "PROTO": _Machine.nothing,
    "STOP": _Machine.nothing,
    "MARK": _Machine.mark,
    "TUPLE": _Machine.make_tuple,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.drop,
    "APPEND": _Machine.drop,
    "APPENDS": _Machine.drop_to_mark,
    "SETITEM": _Machine.drop_two,
    "SETITEMS": _Machine.drop_to_mark,
    "BINPERSID": _Machine.storage,
}
