"""The errors that the command line turns into one line, and the check that most input fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ExternalToolError", "InputError", "StorageError", "check_range", "citing"]


class InputError(ValueError):
    """Input that cannot be used: one line naming the thing, its value and the rule.

    The command line prints the message as it is and exits with status 2, so a message is a
    single sentence for the person who typed the input.

    Parameters
    ----------
    message : str
        The sentence.
    rule : str, optional
        Name of the rule of docs/arithmetic.md that is broken, where one is.
    """

    def __init__(self, message: str, *, rule: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule


@contextmanager
def citing(rule: str) -> Iterator[None]:
    """Name the rule in every InputError that leaves the block and names none yet."""
    try:
        yield
    except InputError as error:
        error.rule = error.rule or rule
        raise


def check_range(what: str, value: int, low: int, high: int) -> None:
    """Raise InputError unless `value` is an integer in ``low .. high``.

    Parameters
    ----------
    what : str
        The value's name in the message.
    value : int
        What is checked; a bool is no integer.
    low, high : int
        Both ends are allowed.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{what} must be an integer in {low}..{high}, not {value!r}")


class ExternalToolError(RuntimeError):
    """Another program failed or ran out of time: nothing that other input would mend."""


class StorageError(RuntimeError):
    """A disk is full or failed: nothing that other input would mend."""
