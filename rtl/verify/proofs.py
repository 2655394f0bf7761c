"""Proofs about emitted Verilog, for all inputs: what one is, and the one way in which all are run.

A proof is a circuit around the unit's Verilog and commands for Yosys' ``sat``. It counts only
beside its twin: the same proof of a unit with one bug, which has to be refuted.
"""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Signal

from rtl.design import Design
from rtl.emit.verilog import whole_verilog
from rtl.tools import ToolError, run_yosys
from rtl.verify.checks import Check, Method, Outcome, timed

__all__ = [
    "HARNESS",
    "PROOF_TIMEOUT_S",
    "Answer",
    "Proof",
    "Setup",
    "check_proof",
    "check_proofs",
    "prove",
    "read_answer",
]

PROOF_TIMEOUT_S = 600
"""A proof that takes longer has failed."""

HARNESS = "harness"
"""Name of the top module of a proof."""

_READ = f"""
read_verilog unit.v
read_rtlil {HARNESS}.il
hierarchy -check -top {HARNESS}
proc
flatten
memory_map
"""
_VERDICT = re.compile(r"^(?:SAT .*|Induction .*|Reached .*)(SUCCESS!|FAIL!|proof failed\.)", re.M)


class Answer(StrEnum):
    """What became of a proof."""

    PROVEN = "proven"
    REFUTED = "refuted"
    UNKNOWN = "unknown"
    """Out of time or of steps, or the tool failed: never counted as either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A circuit, and what Yosys does with it.

    Parameters
    ----------
    circuit : Elaboratable
        The unit's instance, and what it must compute beside it.
    ports : sequence of Signal
        The circuit's ports, beside clock and reset.
    prepare : sequence of str
        Commands that simplify the circuit.
    claims : sequence of str
        ``sat`` with the claim, once for each case that it is cut into.
    """

    circuit: Elaboratable
    ports: Sequence[Signal]
    prepare: Sequence[str]
    claims: Sequence[str]


class Proof(ABC):
    """One thing to prove of a unit."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What is proven, in a word."""

    @abstractmethod
    def setup(self, *, twin: bool) -> Setup:
        """How it is proven.

        Parameters
        ----------
        twin : bool
            Whether the unit has a bug there, with which the proof has to be refuted.
        """


def check_proofs(design: Design, proofs: Sequence[Proof]) -> list[Check]:
    """A check for each proof of the design's emitted Verilog."""
    emitted = cache(partial(whole_verilog, design))

    def check(proof: Proof) -> Outcome:
        return check_proof(proof, emitted())

    return [
        timed(f"{design.name} {proof.name}", Method.FORMAL, partial(check, proof))
        for proof in proofs
    ]


def check_proof(proof: Proof, verilog: str) -> Outcome:
    """The proof, and the same on a unit with one bug: it counts only if that one is refuted."""
    answer, cases = prove(proof, verilog)
    twin, _ = prove(proof, verilog, twin=True)
    return Outcome(
        cases=cases,
        passed=answer is Answer.PROVEN and twin is Answer.REFUTED,
        detail=f"{answer} for all inputs; twin with a bug {twin}",
    )


def prove(proof: Proof, verilog: str, *, twin: bool = False) -> tuple[Answer, int]:
    """Prove it of a unit's Verilog; also the number of cases that it was cut into."""
    setup = proof.setup(twin=twin)
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        folder = Path(name)
        (folder / "unit.v").write_text(verilog, encoding="utf-8")
        text = rtlil.convert(setup.circuit, name=HARNESS, ports=setup.ports, emit_src=False)
        (folder / f"{HARNESS}.il").write_text(text, encoding="utf-8")
        lines = "\n".join([*setup.prepare, *setup.claims])
        try:
            log = run_yosys(f"{_READ}{lines}\n", folder=folder, timeout_s=PROOF_TIMEOUT_S)
        except ToolError as error:
            log = error.log
    return read_answer(log, len(setup.claims)), len(setup.claims)


def read_answer(log: str, proofs: int) -> Answer:
    """One refuted case refutes the claim; it is proven only if every case has said so."""
    said = [found[1] for found in _VERDICT.finditer(log)]
    if "FAIL!" in said:
        return Answer.REFUTED
    if said == ["SUCCESS!"] * proofs:
        return Answer.PROVEN
    return Answer.UNKNOWN
