"""Names of layers and networks."""

from __future__ import annotations

import re

from asq_hw.errors import InputError

__all__ = ["MAX_NAME_LENGTH", "check_name"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")
MAX_NAME_LENGTH = 64
"""Most characters of a layer's or a network's name."""


def check_name(name: str) -> str:
    """`name` if it is letters, digits, ``_`` and inner dots, at most 64 characters."""
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InputError(
            f"a layer's name must be letters, digits, '_' and inner dots, at most "
            f"{MAX_NAME_LENGTH} characters, not {str(name)[:80]!r}",
            rule="R-name",
        )
    return name
