"""How the values of settings are checked, and shown in messages."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from asq_hw.errors import InputError
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS

__all__ = ["Choices", "check_width", "choose", "require", "shown"]

Choices = type[StrEnum] | tuple[str, ...]

_MOST_LETTERS = 80


def shown(value: object) -> str:
    """A value for a message; what is long or deep, or a number of thousands of digits, is cut."""
    try:
        text = repr(str(value) if isinstance(value, StrEnum) else value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def require(holds: bool, key: str, value: object, rule: str) -> None:
    """Raise InputError unless a rule holds for the value of a key.

    Parameters
    ----------
    holds : bool
        Whether it does.
    key : str
        What the value is called.
    value : object
        What is shown.
    rule : str
        What it must be.
    """
    if not holds:
        raise InputError(f"{key} must be {rule}, not {shown(value)}")


def check_width(key: str, bits: object) -> None:
    """Raise InputError unless the value of a key is the width of codes."""
    is_integer = isinstance(bits, int) and not isinstance(bits, bool)
    require(is_integer and MIN_BITS <= bits <= MAX_BITS, key, bits, f"{MIN_BITS}..{MAX_BITS}")  # type: ignore[operator]


def choose(key: str, value: object, choices: Choices) -> Any:
    """Read a value that has a name, as a member of its enumeration where it has one.

    Raises
    ------
    InputError
        If it is none of the names.
    """
    if not isinstance(value, str) or value not in list(choices):
        raise InputError(f"{key} must be one of {', '.join(choices)}, not {shown(value)}")
    if isinstance(choices, tuple):
        return choices[choices.index(value)]
    return choices(str(value))
