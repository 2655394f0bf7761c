"""Options of units that read or write features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asq_hw.numbers.widths import MAX_FEATURE_BITS, MAX_SHIFT, MIN_FEATURE_BITS
from rtl.quantizer.activation import StepQuantizer
from rtl.units.option import Option, default_of
from rtl.verify.quantizer import STEPS

__all__ = ["FEATURE_BITS", "STEPS_OF", "shift_of", "stated"]

FEATURE_BITS = Option(
    name="feature_bits",
    flags=("--feature-bits",),
    help=f"Width of a feature X, {MIN_FEATURE_BITS} to {MAX_FEATURE_BITS}; default: "
    f"{default_of(StepQuantizer, 'feature_bits')}, or the layer's.",
)
STEPS_OF = {
    tried: Option(
        name="steps",
        flags=("--steps",),
        default=STEPS,
        help=f"{what} that every {tried} is tried with.",
    )
    for tried, what in (("feature", "Steps"), ("value", "Multipliers"))
}
"""How many, by what they are tried with."""


def shift_of(design: type) -> Option:
    """The right shift of a design, which has a default."""
    return Option(
        name="shift",
        flags=("--shift",),
        help=f"Right shift, 0 to {MAX_SHIFT}; default: {default_of(design, 'shift')}, "
        "or the layer's.",
    )


def stated(sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were asked for; a design has defaults for the others."""
    return {name: value for name, value in sizes.items() if value is not None}
