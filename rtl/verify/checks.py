"""The outcome of one check, and how a check is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from rtl.tools import ToolError

__all__ = ["Check", "Method", "Outcome", "timed"]


class Method(StrEnum):
    """A rung of the verification ladder."""

    EXHAUSTIVE = "exhaustive"
    """Every weight code times every activation, every accumulator value: emitted Verilog, run."""
    COSIM = "cosim"
    """A million and more random and directed cycles, through the accumulators' whole range."""
    NETWORK = "network"
    """What the network's layer before gives: its range's ends, and traced tensors."""
    FORMAL = "formal"
    """Proofs for all inputs, each with a twin that has a bug and must be refuted."""
    MUTATION = "mutation"
    """Every small change to the circuit is noticed by the vectors or proven to change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a check found: how many cases it went through, whether all hold, and what did not."""

    cases: int
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of one design.

    Parameters
    ----------
    name : str
        The design and what of it was checked.
    method : Method
        How.
    cases : int
        Input combinations, cycles, proofs or mutants, as `detail` says.
    passed : bool
        Whether everything holds.
    seconds : float
        Wall time.
    detail : str
        One line for people.
    """

    name: str
    method: Method
    cases: int
    passed: bool
    seconds: float
    detail: str = ""


def timed(name: str, method: Method, function: Callable[[], Outcome]) -> Check:
    """Run a check. One that went through no case, or whose tool failed, has not passed."""
    begin = time.perf_counter()
    try:
        outcome = function()
    except ToolError as error:
        outcome = Outcome(cases=0, passed=False, detail=str(error))
    return Check(
        name=name,
        method=method,
        cases=outcome.cases,
        passed=outcome.passed and outcome.cases > 0,
        seconds=time.perf_counter() - begin,
        detail=outcome.detail,
    )
