"""Proofs about quantizers, requantizer, pooling and adapter, each beside twins that it refutes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path

from amaranth.back import rtlil

from rtl.design import Design
from rtl.emit.verilog import to_verilog
from rtl.tools import ToolError, run_yosys
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.formal import PROOF_TIMEOUT_S, Answer, read_answer
from rtl.verify.unit import HARNESS, UNIT, Bug, UnitHarness

__all__ = ["HarnessOf", "Part", "prove_part", "prove_unit"]

HarnessOf = Callable[[Bug | None], UnitHarness]
"""Makes the harness of a unit, or of its twin with a bug."""

_READ = """
read_verilog unit.v
read_rtlil {top}.il
hierarchy -check -top {top}
proc
flatten
memory_map
{probes}
wreduce
opt_dff
opt -full
{merges}
opt_clean
"""


class Part(StrEnum):
    """The two parts of a proof."""

    STATE = "state"
    """By induction from the reset: registers hold what the operations so far must put there."""
    RESULTS = "results"
    """From any such state, with any inputs: what comes out is right."""


def prove_unit(design: Design, harness: HarnessOf, bugs: Mapping[Part, Bug]) -> list[Check]:
    """Prove those parts that `bugs` has a twin's bug for."""
    verilog = to_verilog(design)
    return [
        timed(
            f"{design.name} {part}",
            Method.FORMAL,
            partial(_with_twin, part, harness, bug, verilog),
        )
        for part, bug in bugs.items()
    ]


def _with_twin(part: Part, harness: HarnessOf, bug: Bug, verilog: str) -> Outcome:
    """The proof, and the same on a unit with one bug: it counts only if that one is refuted."""
    answer, cases = prove_part(part, harness(None), verilog)
    twin, _ = prove_part(part, harness(bug), verilog)
    return Outcome(
        cases=cases,
        passed=answer is Answer.PROVEN and twin is Answer.REFUTED,
        detail=f"{answer} for all inputs; twin with a bug {twin}",
    )


def prove_part(part: Part, harness: UnitHarness, verilog: str) -> tuple[Answer, int]:
    """Prove a part of a harness's claims; also the number of proofs that it was cut into."""
    module, ports = harness.module()
    text = rtlil.convert(module, name=HARNESS, ports=ports, emit_src=False)
    probes = "\n".join(
        f"connect -set {signal.name} \\{UNIT}.{name}" for name, signal in harness.probes.items()
    )
    commands = _commands(part, harness.latency_cyc, [len(port) for port in ports[-2:]])
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        folder = Path(name)
        (folder / "unit.v").write_text(verilog, encoding="utf-8")
        (folder / f"{HARNESS}.il").write_text(text, encoding="utf-8")
        # What harness and unit both delay becomes one register, stage after stage.
        merges = "\n".join(["opt_merge -share_all"] * harness.latency_cyc)
        script = _READ.format(top=HARNESS, probes=probes, merges=merges)
        script += "\n".join(commands) + "\n"
        try:
            log = run_yosys(script, folder=folder, timeout_s=PROOF_TIMEOUT_S)
        except ToolError as error:
            log = error.log
    return read_answer(log, sum("sat" in command for command in commands)), len(commands) - 1


def _commands(part: Part, latency: int, claims: Sequence[int]) -> list[str]:
    """Yosys' commands, one of which is not a proof; `claims` are the bits of astray and wrong."""
    things, results = claims
    # Without initial values the registers hold anything.
    anything = "setattr -unset init w:*"
    match part:
        case Part.STATE:
            steps = [
                f"sat -seq 2 -prove-skip 1 -set legal 1 -set-at 1 astray 0 -prove astray[{i}] 0"
                for i in range(things)
            ]
            return ["sat -seq 1 -set legal 1 -prove astray 0", anything, *steps]
        case Part.RESULTS:
            window = f"-seq {latency + 1} -prove-skip {latency}"
            proof = f"sat {window} -set legal 1 -set astray 0"
            return [anything, *(f"{proof} -prove wrong[{i}] 0" for i in range(results))]
