"""Reading the pickles of CIFAR-10's python archive without running them.

A pickle is a program for a stack machine, and loading it may call anything. The standard
library's `pickletools` splits it into instructions and runs none; the reader here carries out
the twenty-odd that Python 2 wrote a dictionary of lists, strings and NumPy arrays with, and
refuses all others. No function that a file names is ever looked up.

What can be built is bounded: keys are strings or integers, a list holds only those, a tuple stands
in one other at most, and a program has a limited number of instructions. So nothing is deep, holds
itself, or takes long to be looked at or thrown away.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

__all__ = ["PickleError", "read_pickle"]

_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS: Final = {"BININT", "BININT1", "BININT2"}
_STRINGS: Final = {"SHORT_BINSTRING", "BINSTRING"}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NAMES: Final = {
    "numpy.core.multiarray _reconstruct",
    "numpy ndarray",
    "numpy dtype",
}


_MOST_INSTRUCTIONS: Final = 500_000
"""A batch of 10,000 images takes 40,000."""
_MOST_SIZE: Final = 1 << 31
_SCALARS: Final = (bytes, int, bool, type(None))


class PickleError(ValueError):
    """The content is not a pickle of the kind that is read here."""


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
    """Return what a pickle holds.

    That may be None, booleans, integers, bytes, tuples, lists, dictionaries and uint8 arrays.

    Raises
    ------
    PickleError
        If the content is damaged, or holds anything else.
    """
    machine = _Machine()
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
            if count >= _MOST_INSTRUCTIONS:
                raise PickleError(f"it must have at most {_MOST_INSTRUCTIONS} instructions")
            machine.do(instruction.name, argument)
        return machine.result()
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise PickleError(str(error) or "it is damaged") from error


class _Machine:
    """The stack machine; a malformed program ends in one of Python's own lookup errors."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def result(self) -> object:
        if len(self.stack) != 1:
            raise PickleError("it does not end with one value")
        value = self.stack[0]
        return value.values if isinstance(value, _Array) else value

    def do(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _NUMBERS:
            self.stack.append(argument)
        elif name in _STRINGS:
            self.stack.append(argument.encode("latin-1"))
        elif name in _TUPLES:
            self._push_tuple(self._pop(_TUPLES[name]))
        elif name in _METHODS:
            _METHODS[name](self, argument)
        else:
            raise PickleError(f"it holds the instruction {name}, which no batch needs")

    def _pop(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        if start < 0:
            raise IndexError("the stack is empty")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _pop_to_mark(self) -> list[Any]:
        return self._pop(len(self.stack) - self.marks.pop())

    def nothing(self, _: Any) -> None:
        """Do nothing: the version number, and the end."""

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def empty_list(self, _: Any) -> None:
        self.stack.append([])

    def empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def make_tuple(self, _: Any) -> None:
        self._push_tuple(self._pop_to_mark())

    def _push_tuple(self, values: list[Any]) -> None:
        """Put a tuple on the stack: of plain values, and of tuples that hold no other."""
        for value in values:
            inner = value if isinstance(value, tuple) else (value,)
            if any(isinstance(item, tuple | list | dict) for item in inner):
                raise PickleError("it nests tuples, lists and dictionaries as no batch does")
        self.stack.append(tuple(values))

    def append(self, _: Any) -> None:
        self._extend(self._pop(1))

    def appends(self, _: Any) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("values are appended to what is no list")
        if not all(type(value) in _SCALARS for value in values):
            raise PickleError("a list in it must hold numbers and strings only")
        self.stack[-1].extend(values)

    def set_item(self, _: Any) -> None:
        self._update(self._pop(2))

    def set_items(self, _: Any) -> None:
        self._update(self._pop_to_mark())

    def _update(self, pairs: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise TypeError("items are set in what is no dictionary")
        if not all(type(key) in (bytes, int) for key in pairs[0::2]):
            raise PickleError("a key in it must be a string or an integer")
        if any(isinstance(value, dict | tuple) for value in pairs[1::2]):
            raise PickleError("it nests tuples, lists and dictionaries as no batch does")
        values = (value.values if isinstance(value, _Array) else value for value in pairs[1::2])
        self.stack[-1].update(zip(pairs[0::2], values, strict=True))

    def name(self, argument: str) -> None:
        if argument not in _NAMES:
            raise PickleError(f"it names {argument.replace(' ', '.')}, which no batch needs")
        self.stack.append(_Name(argument))

    def call(self, _: Any) -> None:
        """Make what NumPy's two constructors would, without them."""
        function, arguments = self._pop(2)
        match function:
            case _Name("numpy.core.multiarray _reconstruct"):
                self.stack.append(_Array())
            case _Name("numpy dtype"):
                self.stack.append(_Type(arguments[0]))
            case _:
                raise PickleError("it calls what no batch needs")

    def build(self, _: Any) -> None:
        (state,) = self._pop(1)
        target = self.stack[-1]
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


_METHODS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "PROTO": _Machine.nothing,
    "STOP": _Machine.nothing,
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_LIST": _Machine.empty_list,
    "EMPTY_DICT": _Machine.empty_dict,
    "EMPTY_TUPLE": _Machine.empty_tuple,
    "TUPLE": _Machine.make_tuple,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
}
