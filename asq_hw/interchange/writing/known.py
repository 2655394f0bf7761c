"""Fields of layers that a writer knows: what it does not know must not be passed over."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from asq_hw.errors import InputError

__all__ = ["check_known"]


def check_known(layer: str, thing: Any, known: frozenset[str]) -> None:
    """Refuse a layer, quantizer or step whose fields mean more than a writer knows.

    Parameters
    ----------
    layer : str
        For the message.
    thing : dataclass
        What is written.
    known : frozenset of str
        Fields that its writer takes into account.

    Raises
    ------
    InputError
        If a field beside these has another value than its default.
    """
    for field in fields(thing):
        if field.name in known:
            continue
        value = getattr(thing, field.name)
        if field.default is MISSING or value != field.default:
            raise InputError(
                f"{layer}: {field.name} = {value!r} of {type(thing).__name__} has no form in ONNX"
            )
