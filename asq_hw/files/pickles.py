"""Walking through a pickle without running it.

A pickle is a program for a stack machine, and loading it may call anything. The standard
library's `pickletools` splits it into instructions and runs none. The machine here carries out
the few that data needs and refuses all others; no function that a file names is ever looked up.
What a value is to it, and what may be made of it, is for each kind of file to say.
"""

from __future__ import annotations

import pickletools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar, Final, Generic, NoReturn, TypeVar

__all__ = ["PickleError", "PickleMachine"]

Value = TypeVar("Value")


class PickleError(ValueError):
    """The content is not a pickle of the kind that is read."""


class PickleMachine(ABC, Generic[Value]):
    """The stack machine, for pickles of one kind of file.

    Parameters
    ----------
    most_instructions : int
        How long a program may be.

    Attributes
    ----------
    stack : list
        What the program has made so far.
    kind : str
        What no instruction but those of the machine is needed for, for messages.
    names : frozenset of str
        Functions and classes that may be named: module, blank, name.
    more_instructions : frozenset of str
        What files of this kind need beside what each data structure is written with.
    """

    kind: ClassVar[str]
    names: ClassVar[frozenset[str]]
    more_instructions: ClassVar[frozenset[str]]

    def __init__(self, most_instructions: int) -> None:
        self.stack: list[Value] = []
        self._most_instructions = most_instructions
        self._marks: list[int] = []
        self._memo: dict[int, Value] = {}

    def run(self, program: bytes | BinaryIO) -> None:
        """Walk through a program; of a file, from where it stands to behind the program's end.

        Raises
        ------
        PickleError
            If it is too long, or holds an instruction or a name that files of this kind do not
            need.
        ValueError, LookupError, TypeError, OverflowError
            If it is malformed.
        """
        for count, (instruction, argument, _) in enumerate(pickletools.genops(program)):
            if count >= self._most_instructions:
                raise PickleError(f"it must have at most {self._most_instructions} instructions")
            self._do(instruction.name, argument)

    @abstractmethod
    def literal(self, value: object) -> Value:
        """What a number, a string, a constant or an empty collection is to the machine."""

    @abstractmethod
    def tuple_of(self, values: list[Value]) -> Value:
        """What a tuple of such values is."""

    @abstractmethod
    def named(self, name: str) -> Value:
        """What a function or a class is, which is only ever compared."""

    @abstractmethod
    def call(self, function: Value, arguments: Value) -> Value:
        """What a call would return."""

    @abstractmethod
    def extend(self, target: Value, values: list[Value]) -> None:
        """Put values at the end of a list."""

    @abstractmethod
    def update(self, target: Value, items: list[Value]) -> None:
        """Set keys and values, in turn, in a dictionary."""

    @abstractmethod
    def build(self, target: Value, state: Value) -> None:
        """Give an object its state."""

    def stored_elsewhere(self, identity: Value) -> Value:
        """What a value is that lies outside the pickle."""
        del identity
        raise PickleError(f"it holds a value that lies elsewhere, which no {self.kind} needs")

    def _do(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _OF_SOME_FILES and name not in self.more_instructions:
            self._refuse(name)
        if name in _LITERALS:
            self.stack.append(self.literal(_LITERALS[name](argument)))
        elif name in _TUPLES:
            self.stack.append(self.tuple_of(self._pop(_TUPLES[name])))
        elif name in _METHODS:
            _METHODS[name](self, argument)
        else:
            self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise PickleError(f"it holds the instruction {name}, which no {self.kind} needs")

    def _pop(self, count: int) -> list[Value]:
        start = len(self.stack) - count
        if start < 0:
            raise IndexError("the stack is empty")
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _pop_to_mark(self) -> list[Value]:
        return self._pop(len(self.stack) - self._marks.pop())

    def _nothing(self, _: Any) -> None:
        """Do nothing: the version number, and the end."""

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self.stack))

    def _put(self, index: int) -> None:
        self._memo[index] = self.stack[-1]

    def _get(self, index: int) -> None:
        self.stack.append(self._memo[index])

    def _tuple(self, _: Any) -> None:
        self.stack.append(self.tuple_of(self._pop_to_mark()))

    def _append(self, _: Any) -> None:
        values = self._pop(1)
        self.extend(self.stack[-1], values)

    def _appends(self, _: Any) -> None:
        values = self._pop_to_mark()
        self.extend(self.stack[-1], values)

    def _set_item(self, _: Any) -> None:
        items = self._pop(2)
        self.update(self.stack[-1], items)

    def _set_items(self, _: Any) -> None:
        items = self._pop_to_mark()
        self.update(self.stack[-1], items)

    def _global(self, name: str) -> None:
        if name not in self.names:
            raise PickleError(f"it names {name.replace(' ', '.')}, which no {self.kind} needs")
        self.stack.append(self.named(name))

    def _reduce(self, _: Any) -> None:
        function, arguments = self._pop(2)
        self.stack.append(self.call(function, arguments))

    def _build(self, _: Any) -> None:
        (state,) = self._pop(1)
        self.build(self.stack[-1], state)

    def _persistent(self, _: Any) -> None:
        (identity,) = self._pop(1)
        self.stack.append(self.stored_elsewhere(identity))


_Method = Callable[[PickleMachine[Any], Any], None]


def _itself(argument: Any) -> object:
    return argument


def _bytes(argument: str) -> object:
    return argument.encode("latin-1")


_OF_SOME_FILES: Final = frozenset(
    {
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINFLOAT",
        "LONG1",
        "BINPERSID",
    }
)
_LITERALS: Final[dict[str, Callable[[Any], object]]] = {
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
    "EMPTY_TUPLE": lambda _: (),
    "BININT": _itself,
    "BININT1": _itself,
    "BININT2": _itself,
    "LONG1": _itself,
    "BINFLOAT": _itself,
    "BINSTRING": _bytes,
    "SHORT_BINSTRING": _bytes,
    "BINUNICODE": _itself,
    "SHORT_BINUNICODE": _itself,
}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_METHODS: Final[dict[str, _Method]] = {
    "PROTO": PickleMachine._nothing,
    "STOP": PickleMachine._nothing,
    "MARK": PickleMachine._mark,
    "BINPUT": PickleMachine._put,
    "LONG_BINPUT": PickleMachine._put,
    "BINGET": PickleMachine._get,
    "LONG_BINGET": PickleMachine._get,
    "TUPLE": PickleMachine._tuple,
    "APPEND": PickleMachine._append,
    "APPENDS": PickleMachine._appends,
    "SETITEM": PickleMachine._set_item,
    "SETITEMS": PickleMachine._set_items,
    "GLOBAL": PickleMachine._global,
    "REDUCE": PickleMachine._reduce,
    "BUILD": PickleMachine._build,
    "BINPERSID": PickleMachine._persistent,
}
