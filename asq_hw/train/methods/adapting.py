"""Choices of what adapts a step, and of where steps start; none needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from asq_hw.network.activation import ADAPTER_RATIO

__all__ = ["ADAPTER_START", "AdapterKind", "AdapterSettings", "StepStart"]

ADAPTER_START = 1e-3
"""Deviation of an adapter's last weights at first."""


class AdapterKind(StrEnum):
    """What beta is a function of a sample's channel means."""

    PAPER = "paper"
    """Two linear layers, with ReLUs and a floor."""
    LOG_LINEAR = "log-linear"
    """2 to a linear function of the standardized means."""


class StepStart(StrEnum):
    """Where a learned step starts."""

    LSQ = "lsq"
    """At LSQ's formula, from the mean magnitude."""
    LEAST_SQUARES = "least-squares"
    """Where the squared error is least."""
    MIN_MAX = "min-max"
    """Where the largest code, or level, is the largest value: nothing is clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSettings:
    """What an adapter is made as.

    Parameters
    ----------
    kind : AdapterKind
        What it computes.
    start : float
        Deviation of the last weights at first.
    ratio : int
        Of the paper's adapter, channels for each hidden value.
    """

    kind: AdapterKind = AdapterKind.PAPER
    start: float = ADAPTER_START
    ratio: int = ADAPTER_RATIO
