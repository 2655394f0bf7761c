"""Looking through a file in the format that torch wrote before its version 1.6.

It is five pickles one after another (a magic number, the version, the writer's machine, the
content, and the keys of the storages) and then every storage: its count, 8 bytes, and its numbers.
torch makes room for each storage as the content names it, and reads the numbers at the end.
"""

from __future__ import annotations

import io
import struct
from typing import Final

from asq_hw.files.pickles import PickleError, PickleMachine
from asq_hw.train.checkpoints.archive import ArchiveError
from asq_hw.train.checkpoints.tensor_pickle import (
    Storage,
    TensorMachine,
    refuse_storage,
    storage_of,
)

__all__ = ["MAGIC", "check_legacy"]

MAGIC: Final = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The pickle of the magic number, as protocol 2 writes it."""

_VERSION: Final = b"\x80\x02M\xe9\x03."
"""The pickle of 1001, the only version there is."""
_MOST_PICKLE_BYTES: Final = 1 << 25
"""Of all pickles together."""
_MOST_MACHINE_INSTRUCTIONS: Final = 200
_MOST_KEYS: Final = 50_000
_COUNT: Final = struct.Struct("<q")


def check_legacy(content: bytes) -> None:
    """Look through a file that begins with `MAGIC` before it is read.

    Raises
    ------
    ArchiveError
        If the pickles name anything but ordinary tensors in storages that follow, each once and
        whole, to the end of the file.
    """
    try:
        _check(content)
    except ArchiveError:
        raise
    except PickleError as error:
        raise ArchiveError(str(error)) from None
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, struct.error) as error:
        raise ArchiveError("it is damaged") from error


def _check(content: bytes) -> None:
    head = MAGIC + _VERSION
    if not content.startswith(head):
        raise ArchiveError("its version is not 1001")
    # No pickle is looked for where the numbers are: what is cut off here is not needed.
    stream = io.BytesIO(content[: _MOST_PICKLE_BYTES + len(head)])
    stream.seek(len(head))
    _PlainMachine(_MOST_MACHINE_INSTRUCTIONS).run(stream)
    tensors = _LegacyMachine()
    tensors.run(stream)
    keys = _PlainMachine(4 * _MOST_KEYS)
    keys.run(stream)
    _check_storages(content, stream.tell(), keys.keys(), tensors.storages)


def _check_storages(
    content: bytes, start: int, keys: list[str], storages: dict[str, Storage]
) -> None:
    """Make sure that the numbers of each storage follow, in the order of the keys, and no more."""
    if len(keys) != len(set(keys)) or set(keys) != set(storages):
        refuse_storage()
    for key in keys:
        (count,) = _COUNT.unpack_from(content, start)
        if count != storages[key].count:
            refuse_storage()
        start += _COUNT.size + storages[key].nbytes
    if start != len(content):
        refuse_storage()


class _LegacyMachine(TensorMachine):
    """Collects the storages that are named; their numbers follow all pickles."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[str, Storage] = {}

    def storage(self, identity: object) -> Storage:
        """A storage, which is one and the same wherever its key is named."""
        match identity:
            case ("storage", kind, key, str(), count, None):
                found = storage_of(kind, key, count)
            case _:
                refuse_storage()
        if self.storages.setdefault(found.key, found) != found:
            refuse_storage()
        return found


class _PlainMachine(PickleMachine[object]):
    """Strings, numbers, and one list or dictionary of them."""

    kind = "checkpoint"
    names = frozenset[str]()
    more_instructions = frozenset({"BINUNICODE"})

    def keys(self) -> list[str]:
        """The list of strings that the program has made."""
        (made,) = self.stack
        if not isinstance(made, list) or not all(isinstance(key, str) for key in made):
            raise TypeError("the keys must be a list of strings")
        return made

    def literal(self, value: object) -> object:
        return value

    def tuple_of(self, values: list[object]) -> object:
        raise PickleError("it holds a tuple, which no list of keys needs")

    def named(self, name: str) -> object:
        raise AssertionError("no name is known")

    def call(self, function: object, arguments: object) -> object:
        raise PickleError("it calls what no checkpoint needs")

    def extend(self, target: object, values: list[object]) -> None:
        if not isinstance(target, list):
            raise TypeError("values are appended to what is no list")
        target.extend(values)

    def update(self, target: object, items: list[object]) -> None:
        """Nothing is needed of the writer's machine."""

    def build(self, target: object, state: object) -> None:
        raise PickleError("it builds what no checkpoint needs")
