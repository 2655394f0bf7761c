"""Emitted Verilog against its software model, and both against the network's own arithmetic."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asq_hw.numbers.fixedpoint import wrap
from rtl.design import Design, MacDesign, Rows
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import to_verilog
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.pace import check_pace
from rtl.verify.products import ProductTable, products
from rtl.verify.simulators import Bench, BenchResult, Simulator, installed

__all__ = ["COSIM_CYCLES", "cosim", "exhaustive_mac", "extreme_runs", "simulate"]

COSIM_CYCLES = 1_000_000
"""Operations of the long run at least; gaps come on top."""

MOST_EXTREME = 4_000_000
"""Operations that reaching the ends of one accumulator may take; wider ones are left out."""


def simulate(
    vectors: Mapping[Design, Vectors],
    *,
    verilog: Mapping[Design, str] | None = None,
    simulator: Simulator = Simulator.VERILATOR,
) -> dict[Design, BenchResult]:
    """Compile designs into one program and run their vectors through their emitted Verilog."""
    sources = {design: to_verilog(design) for design in vectors} | dict(verilog or {})
    longest = max(given.cycles for given in vectors.values())
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as folder:
        bench = Bench(sources, Path(folder), most_cycles=longest, simulator=simulator)
        return bench.run(vectors)


def exhaustive_mac(designs: Sequence[MacDesign]) -> list[Check]:
    """Every weight code times every activation: oracle = software model = emitted Verilog.

    The Verilog runs in Verilator, and in Icarus too where that is installed.
    """
    return _checked(designs, Method.EXHAUSTIVE, "products", _all_products, installed())


def cosim(designs: Sequence[MacDesign], *, operations: int = COSIM_CYCLES) -> list[Check]:
    """One uninterrupted run of random sums, then to both ends of each accumulator and past them.

    Units that state an interval are also held to it.
    """
    checks = _checked(designs, Method.COSIM, "sums", lambda design: _sums(design, operations))
    return [*checks, *check_pace(designs)]


_Prepared = tuple[Vectors, str]
"""Vectors, and what the software model was found to do wrong, if anything."""


def _checked(
    designs: Sequence[MacDesign],
    method: Method,
    what: str,
    prepare: Callable[[MacDesign], _Prepared],
    simulators: Sequence[Simulator] = (Simulator.VERILATOR,),
) -> list[Check]:
    """One check for each design; all of them run in one program, whose time they share."""
    prepared = {design: prepare(design) for design in designs}
    outcomes: dict[Design, Outcome] = {}

    def run_all() -> Outcome:
        vectors: dict[Design, Vectors] = {design: given for design, (given, _) in prepared.items()}
        runs = {each: simulate(vectors, simulator=each) for each in simulators}
        for design, (given, wrong) in prepared.items():
            failed = [each for each, results in runs.items() if not results[design].passed]
            named = failed or list(simulators)
            outcomes[design] = Outcome(
                cases=given.checked,
                passed=not failed and not wrong,
                detail=wrong or f"{runs[named[0]][design].verdict} ({', '.join(named)})",
            )
        return Outcome(cases=1, passed=True)

    ran = timed("", method, run_all)
    silent = Outcome(cases=0, passed=False, detail=ran.detail)
    found = {design: outcomes.get(design, silent) for design in designs}
    return [
        Check(
            name=f"{design.name} {what}",
            method=method,
            cases=found[design].cases,
            passed=found[design].passed and found[design].cases > 0,
            seconds=ran.seconds / len(designs),
            detail=found[design].detail,
        )
        for design in designs
    ]


def _all_products(design: MacDesign) -> _Prepared:
    table = products(design)
    rows = table.pairs()
    answers = design.reference(rows)
    for port in design.outputs:
        terms = [wrap(term, port.width) for term in table.terms[port.name].reshape(-1).tolist()]
        if not np.array_equal(answers[port.name], np.array(terms, dtype=np.int64)):
            return Vectors.of(design, rows), f"{port.name}: software model and oracle differ"
    return Vectors.of(design, rows), ""


def _sums(design: MacDesign, operations: int) -> _Prepared:
    random = np.random.default_rng(2)
    parts = [design.stimulus(random, operations), *extreme_runs(design)]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    gaps = np.where(random.random(len(rows["start"])) < 1 / 64, random.integers(1, 4), 0)
    vectors = Vectors.of(design, rows, gaps=gaps)
    taken = vectors.columns["valid_in"] == 1
    answers = {port.name: vectors.columns[port.name][taken] for port in design.outputs}
    return vectors, _against_sums(design, rows, answers)


def extreme_runs(design: MacDesign) -> list[dict[str, NDArray[np.int64]]]:
    """For each accumulator: from 0 up to its largest value, past it, and down past its smallest."""
    table = products(design)
    runs = []
    for port in design.outputs:
        terms = table.terms[port.name]
        low, high = port.range
        up, down = int(terms.max()), int(terms.min())
        counts = [(up, high // up + 2)] if up > 0 else []
        counts += [(down, (high - low) // -down + 2)] if down < 0 else []
        if sum(count for _, count in counts) > MOST_EXTREME:
            continue
        runs += [
            _repeated(table, terms, term, count, first=index == 0)
            for index, (term, count) in enumerate(counts)
        ]
    return runs


def _repeated(
    table: ProductTable, terms: NDArray[np.int64], term: int, count: int, *, first: bool
) -> dict[str, NDArray[np.int64]]:
    """The pair that makes `term`, `count` times; the first product begins a sum, or goes on."""
    weight, activation = np.argwhere(terms == term)[0]
    start = np.zeros(count, dtype=np.int64)
    start[0] = first
    row = table.row(weight, activation)
    return {"start": start, **{name: np.full(count, value) for name, value in row.items()}}


def _against_sums(design: MacDesign, rows: Rows, answers: Rows) -> str:
    """Hold the software model's answers against cumulative sums of the oracle's products."""
    table = products(design)
    begins = np.flatnonzero(rows["start"])
    sum_of = np.cumsum(rows["start"])
    for port in design.outputs:
        terms = table.terms_of(port.name, rows)
        running = np.cumsum(terms)
        before = np.concatenate([[0], running[begins] - terms[begins]])
        sums = running - before[sum_of]
        half = 1 << (port.width - 1)
        wrapped = ((sums + half) & (2 * half - 1)) - half
        if not np.array_equal(answers[port.name], wrapped):
            return f"{port.name}: software model and sums of the oracle's products differ"
    return ""
