"""The program's own `analysis` and `rtl`, and not somebody else's of these common names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import asq_hw
from asq_hw.errors import InputError

__all__ = ["NEIGHBORS", "require_own_neighbors"]

NEIGHBORS = ("analysis", "rtl")
"""Import packages that are installed beside `asq_hw`."""


def require_own_neighbors() -> None:
    """Let any later import of a neighbor that is not ours end in one line.

    Nothing is imported here: a command that needs no neighbor runs wherever it is started.

    Raises
    ------
    InputError
        If somebody else's is imported already.
    """
    for name in NEIGHBORS:
        loaded = sys.modules.get(name)
        if loaded is not None:
            _check(name, loaded.__spec__)
    if not any(isinstance(finder, _Guard) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Guard())


class _Guard(MetaPathFinder):
    """Looks where a neighbor would come from, and leaves finding it to the others."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
        /,
    ) -> ModuleSpec | None:
        if fullname in NEIGHBORS:
            _check(fullname, self._found(fullname))
        return None

    def _found(self, name: str) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find_spec = None if finder is self else getattr(finder, "find_spec", None)
            spec = None if find_spec is None else find_spec(name, None)
            if spec is not None:
                return spec  # type: ignore[no-any-return]  # finders are untyped
        return None


def _check(name: str, spec: ModuleSpec | None) -> None:
    """Raise InputError unless the spec is that of the package beside `asq_hw`."""
    own = Path(asq_hw.__file__).resolve().parents[1] / name / "__init__.py"
    if spec is None:
        raise InputError(f"the package {name!r} is missing; it is installed with asq-hw, at {own}")
    if spec.origin is not None and Path(spec.origin).resolve() == own:
        return
    where = spec.origin or ", ".join(spec.submodule_search_locations or ()) or "the import path"
    raise InputError(
        f"{where} is in the way of asq-hw's own package {name!r}: rename it, or take its folder "
        f"off Python's path"
    )
