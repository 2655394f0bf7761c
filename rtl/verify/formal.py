"""Proofs about emitted Verilog, for all inputs, each beside a twin with a bug that it refutes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np
from amaranth.back import rtlil

from asq_hw.numbers.schemes import APOT
from rtl.design import MacDesign
from rtl.emit.verilog import to_verilog
from rtl.tools import ToolError, run_yosys
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.harness import HARNESS, Claim, Harness, Pair
from rtl.verify.products import products

__all__ = ["PROOF_TIMEOUT_S", "Answer", "prove", "prove_mac", "read_answer"]

PROOF_TIMEOUT_S = 600
"""A proof that takes longer has failed."""

_WHOLE_APOT_BITS = 11
"""Operand bits up to which an APoT product is proven at once; above, for each weight code by
itself. Other schemes' products are proven at once at every width."""

_READ = f"""
read_verilog unit.v
read_rtlil {HARNESS}.il
hierarchy -check -top {HARNESS}
proc
flatten
memory_map
opt -full
opt_clean
"""
_VERDICT = re.compile(r"^(?:SAT .*|Induction .*|Reached .*)(SUCCESS!|FAIL!|proof failed\.)", re.M)


class Answer(StrEnum):
    """What became of a proof."""

    PROVEN = "proven"
    REFUTED = "refuted"
    UNKNOWN = "unknown"
    """Out of time or of steps, or the tool failed: never counted as either."""


def prove_mac(designs: Sequence[MacDesign]) -> list[Check]:
    """Prove each unit's products and sums, and that its longest sum cannot overflow."""
    checks = []
    for design in designs:
        verilog = to_verilog(design)
        for claim in Claim:
            proof = partial(_with_twin, design, claim, verilog)
            checks.append(timed(f"{design.name} {claim}", Method.FORMAL, proof))
        checks.append(timed(f"{design.name} overflow", Method.FORMAL, partial(_overflow, design)))
    return checks


def _with_twin(design: MacDesign, claim: Claim, verilog: str) -> Outcome:
    """The proof, and the same on a unit with one bug: it counts only if that one is refuted."""
    answers, cases = prove(design, claim, verilog)
    twin, _ = prove(design, claim, verilog, bug=_bug(design))
    return Outcome(
        cases=cases,
        passed=answers is Answer.PROVEN and twin is Answer.REFUTED,
        detail=f"{answers} for all inputs; twin with a bug {twin}",
    )


def prove(
    design: MacDesign, claim: Claim, verilog: str, *, bug: Pair | None = None
) -> tuple[Answer, int]:
    """Prove a claim about a unit's Verilog; also the number of proofs that it was cut into."""
    harness = Harness(design, claim, bug)
    commands = _commands(design, claim, bug)
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        folder = Path(name)
        (folder / "unit.v").write_text(verilog, encoding="utf-8")
        text = rtlil.convert(harness, name=HARNESS, ports=harness.ports, emit_src=False)
        (folder / f"{HARNESS}.il").write_text(text, encoding="utf-8")
        try:
            log = run_yosys(
                _READ + "\n".join(commands) + "\n", folder=folder, timeout_s=PROOF_TIMEOUT_S
            )
        except ToolError as error:
            log = error.log
    return read_answer(log, len(commands)), len(commands)


def _commands(design: MacDesign, claim: Claim, bug: Pair | None) -> list[str]:
    """Yosys' ``sat``, for each case that the claim is cut into; a bug shows in one of them."""
    latency = design.latency_cyc
    match claim:
        case Claim.PRODUCT:
            # Without initial values the registers hold anything: the claim is about any state.
            proof = (
                f"sat -seq {latency + 1} -prove-skip {latency} "
                "-set legal 1 -set rst 0 -prove wrong 0"
            )
            bits = design.weight_grid.stored_bits + design.activation_grid.bits
            codes = (
                [level.code for level in design.weight_grid.levels] if bug is None else [bug.weight]
            )
            cut = design.weight_grid.scheme is APOT and bits > _WHOLE_APOT_BITS
            cuts = [f" -set-at 1 weight {code}" for code in codes] if cut else [""]
            first = "setattr -unset init w:*\n"
            return [(first if index == 0 else "") + proof + cut for index, cut in enumerate(cuts)]
        case Claim.SUM:
            return [f"sat -tempinduct -maxsteps {latency + 8} -set legal 1 -prove wrong 0"]


def read_answer(log: str, proofs: int) -> Answer:
    """One refuted case refutes the claim; it is proven only if every case has said so."""
    said = [found[1] for found in _VERDICT.finditer(log)]
    if "FAIL!" in said:
        return Answer.REFUTED
    if said == ["SUCCESS!"] * proofs:
        return Answer.PROVEN
    return Answer.UNKNOWN


def _bug(design: MacDesign) -> Pair:
    """The pair with the last weight code and activation, and an activation with another product."""
    table = products(design)
    last = [terms[-1] for terms in table.terms.values()]
    differs = np.logical_or.reduce([terms != terms[-1] for terms in last])
    return Pair(
        activation=int(table.activations[-1]),
        weight=int(table.weights[-1]),
        instead=int(table.activations[np.flatnonzero(differs)[-1]]),
    )


def _overflow(design: MacDesign) -> Outcome:
    """The stated longest sum fits every accumulator; one product more would not fit some."""
    table = products(design)
    length = int(design.parameters["longest_sum"])
    fits, full = True, False
    for port in design.outputs:
        low, high = port.range
        terms = table.terms[port.name]
        smallest, largest = min(0, int(terms.min())), max(0, int(terms.max()))
        fits &= low <= smallest * length and largest * length <= high
        full |= smallest * (length + 1) < low or largest * (length + 1) > high
    return Outcome(
        cases=2 * len(design.outputs),
        passed=fits and full,
        detail=f"sums of {length} products fit, and of {length + 1} do not",
    )
