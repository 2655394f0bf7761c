"""What a network returns: one tensor, or tuples, lists and dicts of tensors, and their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from asq_hw.errors import InputError
from asq_hw.network.names import check_name

__all__ = ["ONLY", "mapped", "named"]

ONLY = "output"
"""Name of a network's only tensor, and beginning of the names of those that have but a number."""


def named(returned: object) -> dict[str, Any]:
    """The tensors in what a network returns, or what stands for them, by name.

    A name is made of the keys, the fields' names and the places, from 0 on, that lead to it, with
    dots between them. What is None is left out.

    Raises
    ------
    InputError
        If there is none, or two have one name.

    Examples
    --------
    >>> named({"boxes": 1, "heads": (2, None, 3)})
    {'boxes': 1, 'heads.0': 2, 'heads.2': 3}
    >>> named((1, 2)), named(1)
    ({'output.0': 1, 'output.1': 2}, {'output': 1})
    """
    found: dict[str, Any] = {}
    for path, value in _leaves(returned, ()):
        name = check_name(_name(path))
        if name in found:
            raise InputError(f"two of the tensors that a network returns are called {name}")
        found[name] = value
    if not found:
        raise InputError("a network must return a tensor, not nothing")
    return found


def mapped(returned: object, function: Callable[[Any], Any]) -> Any:
    """The same tuples, lists and dicts of what a function makes of each tensor."""
    if returned is None:
        return None
    if isinstance(returned, Mapping):
        return {key: mapped(value, function) for key, value in returned.items()}
    if isinstance(returned, tuple | list):
        values = [mapped(value, function) for value in returned]
        if hasattr(returned, "_fields"):
            return type(returned)(*values)
        return tuple(values) if isinstance(returned, tuple) else values
    return function(returned)


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, Mapping):
        parts = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, tuple | list):
        keys = getattr(value, "_fields", range(len(value)))
        parts = [(str(key), part) for key, part in zip(keys, value, strict=True)]
    else:
        if value is not None:
            yield path, value
        return
    for key, part in parts:
        yield from _leaves(part, (*path, key))


def _name(path: tuple[str, ...]) -> str:
    """A valid name of what stands at the end of a path."""
    if not path:
        return ONLY
    words = ".".join(re.sub(r"[^A-Za-z0-9_]+", "_", part) or "_" for part in path)
    return f"{ONLY}.{words}" if words[0].isdigit() else words
