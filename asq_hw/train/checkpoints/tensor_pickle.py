"""Looking through the pickle of a file of torch's: which tensors it makes, in which storages.

torch refuses pickles that would run code; it believes what they say of sizes. So nothing is read
before the storages are known to be held by the file, and every tensor to lie in its storage.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Final, NoReturn

from asq_hw.files.pickles import PickleError, PickleMachine

__all__ = ["Storage", "TensorMachine", "refuse_storage", "storage_of"]

_MOST_INSTRUCTIONS: Final = 2_000_000
_MOST_PARTS: Final = 1 << 16
"""Parts of a tuple, those of its parts included: looking at it visits each."""

_ITEM_BYTES: Final = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1,
    "BoolStorage": 1, "ComplexDoubleStorage": 16, "ComplexFloatStorage": 8, "UntypedStorage": 1,
}  # fmt: skip
_TENSORS: Final = frozenset({"torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2"})
_CALLED: Final = _TENSORS | {
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
    "torch Size",
}
"""What may be named: ordinary tensors; sparse, quantized and other ones take memory that no record
holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What a pickle says of the numbers that tensors lie in.

    Parameters
    ----------
    key : str
        By which the file holds it.
    count, item_bytes : int
        How many numbers, and bytes of each.
    """

    key: str
    count: int
    item_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return self.count * self.item_bytes


@dataclass(frozen=True, slots=True)
class _Value:
    """What is known of a value that the pickle would make."""

    value: object = None
    """A number, a string, a name, a storage, or a tuple of such; None for all others."""
    parts: int = 1


_OTHER: Final = _Value()


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


class TensorMachine(PickleMachine[_Value]):
    """Knows of values only what has to be checked."""

    kind = "checkpoint"
    names = _CALLED | {f"torch {name}" for name in _ITEM_BYTES}
    more_instructions = frozenset(
        {"BINFLOAT", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINPERSID"}
    )

    def __init__(self) -> None:
        super().__init__(_MOST_INSTRUCTIONS)

    @abstractmethod
    def storage(self, identity: object) -> Storage:
        """The storage of an identity, plain values in a tuple, if the file may hold it.

        Raises
        ------
        PickleError, LookupError
            If it is not said in the file's way, or the file does not hold it.
        """

    def literal(self, value: object) -> _Value:
        """Know numbers, strings and the empty tuple."""
        return _Value(value) if type(value) in (int, str) or value == () else _OTHER

    def tuple_of(self, values: list[_Value]) -> _Value:
        """Know a tuple by what is known of its parts."""
        parts = 1 + sum(value.parts for value in values)
        if parts > _MOST_PARTS:
            raise PickleError("it nests tuples as no checkpoint does")
        return _Value(tuple(value.value for value in values), parts)

    def named(self, name: str) -> _Value:
        """Know a name, which is only ever compared."""
        return _Value(_Global(name))

    def call(self, function: _Value, arguments: _Value) -> _Value:
        """Check what a tensor is made of; nothing is called."""
        if not isinstance(function.value, _Global) or function.value.name not in _CALLED:
            raise PickleError("it calls what no checkpoint needs")
        if function.value.name in _TENSORS:
            _check_tensor(arguments.value)
        return _OTHER

    def extend(self, target: _Value, values: list[_Value]) -> None:
        """Nothing to check: what a list holds has been."""

    def update(self, target: _Value, items: list[_Value]) -> None:
        """Nothing to check."""

    def build(self, target: _Value, state: _Value) -> None:
        """Nothing to check."""

    def stored_elsewhere(self, identity: _Value) -> _Value:
        """Check a storage, and know it where a tensor is made in it."""
        return _Value(self.storage(identity.value))


def storage_of(kind: object, key: object, count: object) -> Storage:
    """What three parts of an identity say: the storage's class, its key and its count."""
    if isinstance(kind, _Global) and isinstance(key, str) and type(count) is int and count >= 0:
        item = _ITEM_BYTES.get(kind.name.removeprefix("torch "))
        if item is not None:
            return Storage(key=key, count=count, item_bytes=item)
    refuse_storage()


def refuse_storage() -> NoReturn:
    """Say that a file does not hold what it speaks of."""
    raise PickleError("it names a storage that it does not hold")


def _check_tensor(arguments: object) -> None:
    """Make sure that a tensor lies in its storage: torch would make the storage larger."""
    match arguments:
        case (Storage() as storage, int(offset), tuple(size), tuple(stride), *_) if (
            len(size) == len(stride) and offset >= 0 and _are_counts(size) and _are_counts(stride)
        ):
            # A storage of no type counts bytes, and has no tensors of its own.
            last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
            if 0 not in size and last >= storage.count:
                raise PickleError("it holds a tensor that is larger than its storage")
        case _:
            raise PickleError("it holds a tensor that is made as none is")


def _are_counts(values: tuple[object, ...]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)
