"""Names that tell circuits apart: a digest of everything that a design was made with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from enum import Enum

import numpy as np

from asq_hw import __version__
from asq_hw.numbers.schemes import Scheme
from rtl.lib.cells import Cells

__all__ = ["DIGEST_DIGITS", "digest", "silent_at", "unit_name"]

DIGEST_DIGITS = 10
"""Hexadecimal digits of a digest in a name: two circuits alike in all else share them by chance
once in 2**40."""

_LAYER_CHARACTERS = 40
_SILENT = "silent at"


def digest(design: object) -> str:
    """SHA-256, 64 hexadecimal digits, of a design: its class and every field, constants included.

    The version of asq-hw is part of it, since another one may build another circuit.

    Parameters
    ----------
    design : dataclass instance
        Fields are numbers, strings, enumerations, integer arrays, dataclasses, and sequences and
        mappings of those.

    Raises
    ------
    TypeError
        If a field is of another kind, which this could not tell apart.
    """
    text = json.dumps([__version__, _plain(design)], sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def silent_at(value: object) -> Mapping[str, object]:
    """Metadata of a field that a digest leaves out where it has this value.

    A choice that few units make is then no part of the names of all others.
    """
    return {_SILENT: value}


def unit_name(stem: str, layer: str, digits: str) -> str:
    """Name of a unit's top module: what it is, the layer in letters and digits, the digest.

    A layer's name is any text; letters and digits of ASCII are kept, 40 characters at most.
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "_", layer)[:_LAYER_CHARACTERS].strip("_")
    return "_".join(part for part in (stem, plain, digits[:DIGEST_DIGITS]) if part)


def _plain(value: object) -> object:
    """The value as lists, texts and numbers; different values, different results."""
    match value:
        case Enum() | Scheme() | Cells():
            return [type(value).__name__, value.name]
        case bool() | int() | str() | float() | None:
            return value
        case np.integer() | np.bool_():
            return value.item()
        case np.ndarray() if value.dtype.kind in "iub":
            return ["array", list(value.shape), value.reshape(-1).tolist()]
        case tuple() | list():
            return ["sequence", *map(_plain, value)]
        case Mapping():
            return ["mapping", *sorted([str(key), _plain(each)] for key, each in value.items())]
        case _ if is_dataclass(value):
            made = {
                field.name: _plain(getattr(value, field.name))
                for field in fields(value)
                if not _is_silent(field, getattr(value, field.name))
            }
            return [type(value).__name__, made]
        case _:
            raise TypeError(f"no digest is defined for {type(value).__name__}")


def _is_silent(field: Field[object], value: object) -> bool:
    return _SILENT in field.metadata and value == field.metadata[_SILENT]
