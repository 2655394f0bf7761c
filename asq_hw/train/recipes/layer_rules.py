"""Mixed precision: widths for single layers, by name or by pattern."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from asq_hw.errors import InputError
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS

__all__ = ["LayerRule", "layer_bits", "rules_from_plain", "rules_to_plain"]

_KEYS = ("weight_bits", "activation_bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRule:
    """Widths that replace the recipe's in some layers, the first and the last included.

    Parameters
    ----------
    pattern : str
        A layer's name as in the network's state dict, or a pattern with ``*``, ``?`` and
        ``[...]`` as in a shell.
    weight_bits, activation_bits : int or None
        Width of the codes; None leaves it as it is.
    """

    pattern: str
    weight_bits: int | None = None
    activation_bits: int | None = None

    def __post_init__(self) -> None:
        for key in _KEYS:
            bits = getattr(self, key)
            if bits is None:
                continue
            if type(bits) is not int or not MIN_BITS <= bits <= MAX_BITS:
                raise InputError(
                    f"recipe key layers.{self.pattern!r}.{key} must be "
                    f"{MIN_BITS}..{MAX_BITS}, not {bits!r}"
                )

    def matches(self, name: str) -> bool:
        """Whether the rule holds for a layer."""
        return fnmatchcase(name, self.pattern)


def layer_bits(
    rules: Iterable[LayerRule], name: str, *, weight_bits: int, activation_bits: int
) -> tuple[int, int]:
    """A layer's weight and activation bits; of several rules that match, the last wins.

    Parameters
    ----------
    rules : iterable of LayerRule
        The recipe's rules, in its order.
    name : str
        The layer's name.
    weight_bits, activation_bits : int
        Widths where no rule says otherwise.
    """
    for rule in rules:
        if rule.matches(name):
            weight_bits = rule.weight_bits or weight_bits
            activation_bits = rule.activation_bits or activation_bits
    return weight_bits, activation_bits


def rules_from_plain(value: object) -> tuple[LayerRule, ...]:
    """Read the table ``layers`` of a recipe: widths by pattern.

    Raises
    ------
    InputError
        If it is no such table, or a key or a width cannot be used.
    """
    if not isinstance(value, dict):
        raise InputError(f"recipe key layers must be a table of layers, not {repr(value)[:80]}")
    for pattern, widths in value.items():
        if not isinstance(widths, dict):
            raise InputError(
                f"recipe key layers.{pattern!r} must be a table, not {repr(widths)[:80]}"
            )
        for key in widths:
            if key not in _KEYS:
                known = ", ".join(_KEYS)
                raise InputError(
                    f"recipe key layers.{pattern!r}.{key} is unknown; the keys are {known}"
                )
    return tuple(LayerRule(pattern=pattern, **widths) for pattern, widths in value.items())


def rules_to_plain(rules: Iterable[LayerRule]) -> dict[str, dict[str, int]]:
    """The table that `rules_from_plain` reads."""
    return {
        rule.pattern: {key: getattr(rule, key) for key in _KEYS if getattr(rule, key) is not None}
        for rule in rules
    }
