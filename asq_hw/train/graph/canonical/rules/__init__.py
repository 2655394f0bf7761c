"""What each of ATen's operators becomes, by its name."""

from __future__ import annotations

from asq_hw.train.graph.canonical.call import Rule
from asq_hw.train.graph.canonical.rules import (
    elementwise,
    functions,
    moving,
    pooling,
    rearranging,
    refused,
    weighted,
)

__all__ = ["RULES"]

RULES: dict[str, Rule] = {
    **refused.RULES,
    **weighted.RULES,
    **elementwise.RULES,
    **functions.RULES,
    **pooling.RULES,
    **rearranging.RULES,
    **moving.RULES,
}
"""The rule for every operator that is known; others are refused by their name."""
