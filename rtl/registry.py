"""Registries of kinds: the project's own, and those that installed distributions bring.

A distribution registers an object through a Python entry point in the registry's group. One that
cannot be used stands in nobody's way: it is named with its distribution, and the others work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, Protocol, TypeVar

from asq_hw.errors import InputError

__all__ = ["Named", "Registry"]

_NAME = re.compile(r"[a-z][a-z0-9-]*")


class Named(Protocol):
    """What a registry holds: an object with a name."""

    @property
    def name(self) -> str:
        """A word of the command line."""


_Kind = TypeVar("_Kind", bound=Named)


class Registry(Generic[_Kind]):
    """Kinds by name: the project's own first, then those of other distributions.

    Parameters
    ----------
    what : str
        What one of them is called in messages.
    kind : type
        What an entry point must lead to.
    group : str
        Group of the entry points.
    own : sequence
        The project's own.
    objection : callable, optional
        What stands against a kind from elsewhere beside those before it; empty if nothing.
    """

    def __init__(
        self,
        what: str,
        kind: type[_Kind],
        *,
        group: str,
        own: Sequence[_Kind],
        objection: Callable[[_Kind, Sequence[_Kind]], str] = lambda kind, others: "",
    ) -> None:
        self.group = group
        self._what = what
        self._kind = kind
        self._own = own
        self._objection = objection

    def __iter__(self) -> Iterator[_Kind]:
        return iter(self._loaded[0].values())

    @property
    def names(self) -> list[str]:
        """Names in their order."""
        return list(self._loaded[0])

    @property
    def origins(self) -> Mapping[str, str]:
        """The distribution that a kind is of, by its name, where it is not the project's own."""
        return self._loaded[2]

    @property
    def problems(self) -> Mapping[str, str]:
        """Why a kind cannot be used, one line each, by the name of its entry point."""
        return self._loaded[1]

    def find(self, name: str) -> _Kind:
        """The kind of that name.

        Raises
        ------
        InputError
            If there is none, or it cannot be used.

        Examples
        --------
        >>> from rtl.units.registry import UNITS
        >>> UNITS.find("mac").title
        'a multiply-accumulate unit'
        """
        kinds, problems, _ = self._loaded
        if name in kinds:
            return kinds[name]
        if name in problems:
            raise InputError(problems[name])
        raise InputError(f"{self._what} must be one of {', '.join(kinds)}, not {name!r}")

    @cached_property
    def _loaded(self) -> tuple[dict[str, _Kind], dict[str, str], dict[str, str]]:
        kinds = {kind.name: kind for kind in self._own}
        problems: dict[str, str] = {}
        origins: dict[str, str] = {}
        points = sorted(entry_points(group=self.group), key=lambda each: (each.name, each.value))
        for point in points:
            try:
                kinds[point.name] = self._load(point, kinds)
                origins[point.name] = _distribution(point)
            except _UnusableError as error:
                problems[point.name] = self.complaint(point.name, _distribution(point), error)
        return kinds, problems, origins

    def complaint(self, name: str, origin: str, error: Exception) -> str:
        """Why a kind cannot be used, in one line."""
        return " ".join(f"{self._what} {name} of {origin} cannot be used: {error}".split())

    def _load(self, point: EntryPoint, before: Mapping[str, _Kind]) -> _Kind:
        """What an entry point leads to, or an _UnusableError with the reason."""
        if not _NAME.fullmatch(point.name):
            raise _UnusableError("its name must be small letters, digits and '-'")
        if point.name in before:
            raise _UnusableError("the name is taken")
        try:
            made = point.load()
        except (Exception, SystemExit) as error:  # whatever a stranger's module does
            raise _UnusableError(f"{type(error).__name__}: {error}") from error
        if not isinstance(made, self._kind):
            wanted = f"{self._kind.__module__}.{self._kind.__qualname__}"
            raise _UnusableError(f"{point.value} must be a {wanted}, not a {type(made).__name__}")
        if made.name != point.name:
            raise _UnusableError(f"{point.value} calls itself {made.name!r}")
        if reason := self._objection(made, list(before.values())):
            raise _UnusableError(reason)
        return made


class _UnusableError(Exception):
    """Why a kind cannot be used."""


def _distribution(point: EntryPoint) -> str:
    return (
        "an unknown distribution"
        if point.dist is None
        else f"{point.dist.name} {point.dist.version}"
    )
