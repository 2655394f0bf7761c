"""Whether a unit needs the pauses that it states: kept they suffice, and without them it fails."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rtl.design import Design
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import to_verilog
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.simulators import Bench, Simulator

__all__ = ["check_pace", "closer", "first_failure"]

OPERATIONS = 4096


def check_pace(
    designs: Sequence[Design], *, simulator: Simulator = Simulator.VERILATOR
) -> list[Check]:
    """For each unit that states an interval or a pause: it suffices, and some cycles less do not.

    A unit that takes an operation in every cycle has no such check: its other runs show it.
    """
    return [
        timed(f"{design.name} pace", Method.COSIM, partial(_outcome, design, simulator))
        for design in designs
        if design.interval_cyc > 1 or design.pause is not None
    ]


def closer(design: Design, cycles: int, operations: int = OPERATIONS) -> Vectors:
    """Random operations, each so many cycles closer to the one before than the design allows.

    With 0 they are as close as it allows, without any gap beside its own; an operation is never
    closer than the next cycle.
    """
    rows = design.stimulus(np.random.default_rng(3), operations)
    return Vectors.of(design, rows, gaps=-np.minimum(design.idle_cyc(rows), cycles))


def first_failure(
    design: Design, *, simulator: Simulator = Simulator.VERILATOR, operations: int = OPERATIONS
) -> int | None:
    """The least number of cycles closer, of 0, 1, 2, 3, ..., at which results are wrong.

    0 is a unit that its stated pauses do not suffice, None one that does without them. A statement
    may be some cycles longer than what one kind of stimulus shows to be needed.
    """
    kept = closer(design, 0, operations)
    most = int(design.idle_cyc({p.name: kept.columns[p.name] for p in design.inputs}).max())
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        verilog = {design: to_verilog(design)}
        bench = Bench(verilog, Path(name), most_cycles=kept.cycles, simulator=simulator)
        for cycles in range(most + 1):
            result = bench.run({design: closer(design, cycles, operations)})[design]
            if result.is_failure:
                return cycles
            if not result.passed:
                raise RuntimeError(f"{design.name} pace: {result.verdict}")
    return None


def _outcome(design: Design, simulator: Simulator) -> Outcome:
    cycles = first_failure(design, simulator=simulator)
    said = "never fails" if cycles is None else f"fails from {cycles} cycles closer on"
    return Outcome(
        cases=closer(design, 0).checked, passed=bool(cycles), detail=f"as close as stated, {said}"
    )
