"""Single layers with methods and widths of their own, by name or by pattern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from asq_hw.errors import InputError
from asq_hw.train.methods.catalog import ACTIVATION_NAMES, WEIGHT_NAMES
from asq_hw.train.recipes.values import check_width, choose, shown

__all__ = ["LayerRule", "rules_from_plain", "rules_to_plain"]

_METHODS = {"weights": WEIGHT_NAMES, "activations": ACTIVATION_NAMES}
_WIDTHS = ("weight_bits", "activation_bits")
_BOTH = "bits"
"""Sets both widths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRule:
    """What replaces the settings of all layers in some, the first and the last included.

    Parameters
    ----------
    pattern : str
        A layer's name as in the network's state dict, or a pattern with ``*``, ``?`` and
        ``[...]`` as in a shell.
    weights, activations : str or None
        Methods; None leaves them as they are.
    weight_bits, activation_bits : int or None
        Width of the codes; None leaves it as it is.
    """

    pattern: str
    weights: str | None = None
    activations: str | None = None
    weight_bits: int | None = None
    activation_bits: int | None = None

    def __post_init__(self) -> None:
        for key, names in _METHODS.items():
            if getattr(self, key) is not None:
                choose(f"layers.{self.pattern!r}.{key}", getattr(self, key), names)
        for key in _WIDTHS:
            if getattr(self, key) is not None:
                check_width(f"layers.{self.pattern!r}.{key}", getattr(self, key))

    def matches(self, name: str) -> bool:
        """Whether the rule holds for a layer."""
        return fnmatchcase(name, self.pattern)

    def replaced(self) -> dict[str, str | int]:
        """What it replaces, by key."""
        values = {key.name: getattr(self, key.name) for key in fields(self)}
        del values["pattern"]
        return {key: value for key, value in values.items() if value is not None}


def rules_from_plain(value: object) -> tuple[LayerRule, ...]:
    """Read a table of layers: methods and widths by pattern.

    Raises
    ------
    InputError
        If it is no such table, or a key, a method or a width cannot be used.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"layers must be a table of layers, not {shown(value)}")
    return tuple(_rule(pattern, settings) for pattern, settings in value.items())


def _rule(pattern: object, settings: object) -> LayerRule:
    if not isinstance(pattern, str):
        raise InputError(f"layers must name layers by strings, not {shown(pattern)}")
    if not isinstance(settings, Mapping):
        raise InputError(f"layers.{pattern!r} must be a table, not {shown(settings)}")
    known = (*_METHODS, _BOTH, *_WIDTHS)
    for key in settings:
        if key not in known:
            raise InputError(
                f"layers.{pattern!r}.{key} is unknown; the keys are {', '.join(known)}"
            )
    own = dict(settings)
    both = own.pop(_BOTH, None)
    if both is not None:
        own = dict.fromkeys(_WIDTHS, both) | own
    return LayerRule(pattern=pattern, **own)


def rules_to_plain(rules: Iterable[LayerRule]) -> dict[str, dict[str, str | int]]:
    """The table that `rules_from_plain` reads."""
    return {rule.pattern: rule.replaced() for rule in rules}
