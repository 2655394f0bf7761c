"""Mutation: every small change to a circuit is noticed by its vectors or changes nothing at all.

All mutants stand in one module, where a number selects one of them, so that one compilation serves
them all. A mutant that the emitted folder's own vectors let pass must be proven to be equal to the
unit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rtl.design import Design, Direction, Port
from rtl.emit.folder import DEFAULT_OPERATIONS
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import whole_verilog
from rtl.tools import run_yosys
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.equivalence import Comparison, to_gates
from rtl.verify.narrow import Word, narrowed
from rtl.verify.proofs import Answer
from rtl.verify.simulators import Bench, Simulator

__all__ = ["MUTANTS", "MutationResult", "mutate", "mutation", "narrow_words"]

MUTANTS = 120
"""Mutants of each design, evenly sampled from all that Yosys' ``mutate`` can make."""

_SELECT = ("mutant", 12)
_CONTROL_OF = " ".join(map(str, _SELECT))
_MUTANTS = "mutants"
_CONTROL = re.compile(r"-ctrl mutant \d+ \d+ ")

_FLAT = """
read_verilog unit.v
hierarchy -check -top {top}
proc
flatten
memory_collect
memory_map
setundef -zero
opt_clean
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationResult:
    """What became of a design's mutants; numbers from 1 name them."""

    mutants: int
    killed: tuple[int, ...]
    equivalent: tuple[int, ...]
    missed: tuple[int, ...]
    """Told from the design by legal operations, and not by the vectors."""
    unknown: tuple[int, ...]


def mutation(designs: Sequence[Design], *, mutants: int = MUTANTS) -> list[Check]:
    """For each design: each mutant is killed by the emitted vectors or proven equivalent."""
    return [
        timed(f"{design.name} mutants", Method.MUTATION, partial(_outcome, design, mutants))
        for design in designs
    ]


def _outcome(design: Design, mutants: int) -> Outcome:
    result = mutate(design, mutants)
    detail = (
        f"{len(result.killed)} killed, {len(result.equivalent)} proven equivalent, "
        f"{len(result.missed)} missed by the vectors, {len(result.unknown)} unknown"
    )
    passed = not result.missed and not result.unknown
    return Outcome(cases=result.mutants, passed=passed, detail=detail)


def mutate(
    design: Design, mutants: int = MUTANTS, *, operations: int = DEFAULT_OPERATIONS
) -> MutationResult:
    """Make mutants of the design's emitted Verilog and run the emitted vectors through each.

    Raises
    ------
    RuntimeError
        If the vectors already fail on the design without a mutation.
    """
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        folder = Path(name)
        made = _make(design, mutants, folder)
        killed = _killed(design, range(1, made + 1), Vectors.random(design, operations), folder)
        survivors = [number for number in range(1, made + 1) if number not in killed]
        comparison = Comparison(design, _MUTANTS, select=_SELECT, folder=folder)
        answers = {number: comparison.answer(number) for number in survivors}

    def those(answer: Answer) -> tuple[int, ...]:
        return tuple(number for number in survivors if answers[number] is answer)

    return MutationResult(
        mutants=made,
        killed=killed,
        equivalent=those(Answer.PROVEN),
        missed=those(Answer.REFUTED),
        unknown=those(Answer.UNKNOWN),
    )


def narrow_words(
    design: Design,
    vectors: Vectors,
    *,
    inputs: Collection[str] | None = None,
    simulator: Simulator = Simulator.VERILATOR,
) -> dict[Word, bool]:
    """Every data input and register wider than a bit, and whether the vectors tell it narrowed.

    Parameters
    ----------
    design : Design
        The unit.
    vectors : Vectors
        Operations and what they must give.
    inputs : collection of str, optional
        Narrow these data inputs alone.
    simulator : Simulator
        What runs them.

    Raises
    ------
    RuntimeError
        If the vectors already fail on the design as it is.
    """
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        folder = Path(name)
        (folder / "unit.v").write_text(whole_verilog(design), encoding="utf-8")
        flat = _FLAT.format(top=design.name)
        words = narrowed(design, flat, _MUTANTS, _SELECT, folder)
        chosen = {
            number: word
            for number, word in enumerate(words, start=1)
            if inputs is None or (word.is_input and word.name in inputs)
        }
        killed = _killed(design, tuple(chosen), vectors, folder, simulator)
    return {word: number in killed for number, word in chosen.items()}


def _killed(
    design: Design,
    numbers: Sequence[int],
    vectors: Vectors,
    folder: Path,
    simulator: Simulator = Simulator.VERILATOR,
) -> tuple[int, ...]:
    """Numbers of the variants in the folder's module that the vectors tell from the design."""
    text = _selector(design) + (folder / f"{_MUTANTS}.v").read_text(encoding="utf-8")
    bench = Bench({design: text}, folder, most_cycles=vectors.cycles, simulator=simulator)
    if not bench.run({design: vectors})[design].passed:
        raise RuntimeError(f"{design.name} fails without a mutation")
    rows = {design: vectors.cycles}
    return tuple(
        number
        for number in numbers
        if not bench.run_again(rows, f"+mutant={number}")[design].passed
    )


def _make(design: Design, mutants: int, folder: Path) -> int:
    """Write a module with all mutants in `folder`; the number of them."""
    (folder / "unit.v").write_text(whole_verilog(design), encoding="utf-8")
    flat = _FLAT.format(top=design.name)
    run_yosys(
        f"{flat}mutate -list {2 * mutants} -seed 1 -o list.txt -ctrl {_CONTROL_OF} 1\n",
        folder=folder,
    )
    # A gated clock would only show how a simulator orders events.
    lines = (folder / "list.txt").read_text(encoding="utf-8").splitlines()
    chosen = [line for line in lines if " -port CLK " not in line][:mutants]
    numbered = [
        _CONTROL.sub(f"-ctrl {_CONTROL_OF} {number} ", line)
        for number, line in enumerate(chosen, start=1)
    ]
    script = flat + "\n".join(numbered)
    run_yosys(
        f"{script}\nrename {design.name} {_MUTANTS}\nwrite_verilog -noattr {_MUTANTS}.v\n",
        folder=folder,
    )
    to_gates(_MUTANTS, folder=folder)
    return len(chosen)


def _selector(design: Design) -> str:
    """Verilog of a module with the design's name and ports, that picks a mutant by plusarg."""
    ports = [_declaration(port) for port in design.ports]
    connections = [f".{port.name}({port.name})" for port in design.ports]
    return f"""\
`timescale 1ns / 1ps
module {design.name}(
  input clk, input rst,
  {", ".join(ports)});
  reg [{_SELECT[1] - 1}:0] mutant;
  initial if (!$value$plusargs("mutant=%d", mutant)) mutant = 0;
  {_MUTANTS} mutants (.clk(clk), .rst(rst), .mutant(mutant), {", ".join(connections)});
endmodule
"""


def _declaration(port: Port) -> str:
    way = "input" if port.direction is Direction.IN else "output"
    return f"{way} [{port.width - 1}:0] {port.name}"
