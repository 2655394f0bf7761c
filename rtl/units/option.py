"""An option of a unit, as plain data: the command line makes its parameters of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, Final

from asq_hw.errors import InputError

__all__ = ["ALL", "REQUIRED", "Given", "Option", "default_of"]

Given = Mapping[str, Any]
"""What was asked for, by the options' names."""

REQUIRED: Final = object()
"""Default of an option that must be given."""

ALL: Final = "all"
"""In place of a list: everything that there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option.

    Parameters
    ----------
    name : str
        Key of its value.
    flags : tuple of str
        What it is called on the command line; those behind the first are other names for it.
    help : str
        A sentence.
    type : type
        int, str, or bool for a flag without a value.
    metavar : str
        What stands for the value in help texts.
    default : int, str, bool or None
        The value where the option is not given, or `REQUIRED`.
    choices : sequence of str
        The only values that there are; empty where the unit itself says what it takes.
    is_list : bool
        Whether several values may stand between commas. The value is a tuple then, or `ALL` where
        that is the default; a default is written as it would be given.
    """

    name: str
    flags: tuple[str, ...]
    help: str
    type: type[int] | type[str] | type[bool] = int
    metavar: str = "N"
    default: int | str | bool | object | None = None
    choices: Sequence[str] = ()
    is_list: bool = False

    def with_default(self, default: object, help: str = "") -> Option:
        """The same option with another default, and perhaps another sentence."""
        return replace(self, default=default, help=help or self.help)

    def several(self, default: object, help: str = "") -> Option:
        """The same option for a list of values."""
        metavar = f"{self.metavar},{self.metavar},..."
        return replace(self, default=default, help=help or self.help, metavar=metavar, is_list=True)

    def value(self, given: Any) -> Any:
        """What the unit is given, of what was written.

        Raises
        ------
        InputError
            If a list is none, or something is not one of the choices.
        """
        if given is None or (self.is_list and given == ALL == self.default):
            return given
        if not self.is_list:
            return self._checked(given)
        parts = given.split(",")
        if self.type is str:
            return tuple(self._checked(part) for part in parts)
        try:
            return tuple(int(part) for part in parts)
        except ValueError:
            raise InputError(
                f"{self._what} must be integers such as 2,3,4, not {given!r}"
            ) from None

    def _checked(self, given: Any) -> Any:
        if self.choices and given not in self.choices:
            known = ", ".join(self.choices)
            raise InputError(f"{self._what} must be one of {known}, not {given!r}")
        return given

    @property
    def _what(self) -> str:
        return self.flags[0].removeprefix("--").replace("-", " ")


def default_of(design: type, name: str) -> Any:
    """Default of a field of a design, which an option repeats."""
    (found,) = (field.default for field in fields(design) if field.name == name)
    assert found is not MISSING, f"{design.__name__}.{name} has no default"
    return found
