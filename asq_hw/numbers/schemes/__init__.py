"""Quantization schemes: the families that grids come from, one a module.

A new scheme is a module here and a member of `SCHEMES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from asq_hw.errors import InputError
from asq_hw.numbers.schemes.apot import APOT
from asq_hw.numbers.schemes.post import POST
from asq_hw.numbers.schemes.pot import POT
from asq_hw.numbers.schemes.scheme import GridShape, Scheme
from asq_hw.numbers.schemes.symmetric import SYMMETRIC
from asq_hw.numbers.schemes.uniform import UNIFORM

__all__ = [
    "APOT",
    "POST",
    "POT",
    "SCHEMES",
    "SYMMETRIC",
    "UNIFORM",
    "GridShape",
    "Scheme",
    "scheme_named",
]

SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {scheme.name: scheme for scheme in (UNIFORM, SYMMETRIC, POT, POST, APOT)}
)
"""Every scheme by its name."""


def scheme_named(name: str | Scheme) -> Scheme:
    """The registered scheme of the name, or the scheme itself; InputError if there is none.

    Examples
    --------
    >>> scheme_named("post").title
    'POST'
    """
    try:
        return SCHEMES[str(name)]
    except KeyError:
        known = ", ".join(SCHEMES)
        raise InputError(f"scheme must be one of {known}, not {str(name)[:80]!r}") from None
