"""Reading the pickles of CIFAR-10's python archive without running them.

What Python 2 wrote a dictionary of lists, strings and NumPy arrays with is built by hand; all else
is refused.

What can be built is bounded: keys are strings or integers, a list holds only those, a tuple stands
in one other at most, and a program has a limited number of instructions. So nothing is deep, holds
itself, or takes long to be looked at or thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from asq_hw.files.pickles import PickleError, PickleMachine

__all__ = ["read_pickle"]

_MOST_INSTRUCTIONS: Final = 500_000
"""A batch of 10,000 images takes 40,000."""
_MOST_SIZE: Final = 1 << 31
_SCALARS: Final = (bytes, int, bool, type(None))


@dataclass(frozen=True, slots=True)
class _Name:
    """A function or class that the pickle refers to; only ever compared."""

    text: str


@dataclass(slots=True)
class _Array:
    """An array in the making: ``_reconstruct`` makes it empty, its state fills it."""

    values: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class _Type:
    """An array's element type, by NumPy's code."""

    code: object


def read_pickle(content: bytes) -> object:
    """What a pickle holds.

    That may be None, booleans, integers, bytes, tuples, lists, dictionaries and uint8 arrays.

    Raises
    ------
    PickleError
        If the content is damaged, or holds anything else.
    """
    machine = _BatchMachine(_MOST_INSTRUCTIONS)
    try:
        machine.run(content)
        return machine.result()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise PickleError(str(error) or "it is damaged") from error


class _BatchMachine(PickleMachine[Any]):
    """Builds what a pickle holds."""

    kind = "batch"
    names = frozenset({"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"})
    more_instructions = frozenset({"BINSTRING", "SHORT_BINSTRING"})

    def result(self) -> object:
        if len(self.stack) != 1:
            raise PickleError("it does not end with one value")
        value = self.stack[0]
        return value.values if isinstance(value, _Array) else value

    def literal(self, value: object) -> Any:
        return value

    def tuple_of(self, values: list[Any]) -> Any:
        """Make a tuple of plain values, and of tuples that hold no other."""
        for value in values:
            inner = value if isinstance(value, tuple) else (value,)
            if any(isinstance(item, tuple | list | dict) for item in inner):
                raise PickleError("it nests tuples, lists and dictionaries as no batch does")
        return tuple(values)

    def named(self, name: str) -> Any:
        return _Name(name)

    def call(self, function: Any, arguments: Any) -> Any:
        """Make what NumPy's two constructors would, without them."""
        match function:
            case _Name("numpy.core.multiarray _reconstruct"):
                return _Array()
            case _Name("numpy dtype"):
                return _Type(arguments[0])
            case _:
                raise PickleError("it calls what no batch needs")

    def extend(self, target: Any, values: list[Any]) -> None:
        if not isinstance(target, list):
            raise TypeError("values are appended to what is no list")
        if not all(type(value) in _SCALARS for value in values):
            raise PickleError("a list in it must hold numbers and strings only")
        target.extend(values)

    def update(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, dict):
            raise TypeError("items are set in what is no dictionary")
        if not all(type(key) in (bytes, int) for key in items[0::2]):
            raise PickleError("a key in it must be a string or an integer")
        if any(isinstance(value, dict | tuple) for value in items[1::2]):
            raise PickleError("it nests tuples, lists and dictionaries as no batch does")
        values = (value.values if isinstance(value, _Array) else value for value in items[1::2])
        target.update(zip(items[0::2], values, strict=True))

    def build(self, target: Any, state: Any) -> None:
        if isinstance(target, _Array):
            target.values = _array(state)
        elif not isinstance(target, _Type):
            _refuse_state()


def _array(state: object) -> NDArray[np.uint8]:
    """The array of a state ``(version, shape, type, column-major, bytes)``."""
    match state:
        case (int(), tuple(shape), _Type(b"u1"), bool(columns_first), bytes(data)) if all(
            type(size) is int and 0 <= size < _MOST_SIZE for size in shape
        ):
            flat = np.frombuffer(data, dtype=np.uint8)
            return flat.reshape(shape, order="F" if columns_first else "C")
        case _:
            _refuse_state()


def _refuse_state() -> NoReturn:
    raise PickleError("it holds an array that is not of unsigned bytes")
