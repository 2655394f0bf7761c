"""A dot-product unit's emitted Verilog against sums of the network's own products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.numbers.fixedpoint import wrap
from rtl.design import Rows
from rtl.emit.vectors import Vectors
from rtl.mac.dot_product import DotProduct
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.products import products
from rtl.verify.simulation import extreme_runs, simulate

__all__ = ["DOT_OPERATIONS", "cosim_dot_product", "oracle_sums"]

DOT_OPERATIONS = 2_000_000
"""Operations of a long run: half of them are a sum of their own, which makes a million results."""


def cosim_dot_product(design: DotProduct, *, operations: int = DOT_OPERATIONS) -> list[Check]:
    """One uninterrupted run: short and long sums, then to both ends of each accumulator and past.

    Oracle = software model = emitted Verilog.
    """

    def run() -> Outcome:
        rows = _rows(design, operations)
        answers, emits = design.reference(rows), design.emits(rows)
        vectors = Vectors.of(design, rows)
        for name, sums in oracle_sums(design, rows).items():
            if not np.array_equal(answers[name][emits], sums[emits]):
                detail = f"{name}: software model and sums of the oracle's products differ"
                return Outcome(cases=vectors.checked, passed=False, detail=detail)
        result = simulate({design: vectors})[design]
        return Outcome(cases=vectors.checked, passed=result.passed, detail=result.verdict)

    return [timed(f"{design.name} sums", Method.COSIM, run)]


def oracle_sums(design: DotProduct, rows: Rows) -> dict[str, NDArray[np.int64]]:
    """Sums after each operation, from the products that `asq_hw.oracle` computes."""
    table = products(design.mac)
    ends = np.flatnonzero(rows["last"])
    sum_of = np.cumsum(rows["last"]) - rows["last"]  # how many sums have ended before
    sums = {}
    for port in design.outputs:
        added = np.zeros(len(rows["last"]), dtype=np.int64)
        for lane in range(design.lanes):
            added += table.terms_of(port.name, rows, str(lane))
        running = np.cumsum(added)
        before = np.concatenate([[0], running[ends]])[sum_of]
        wrapped = [wrap(value, port.width) for value in (running - before).tolist()]
        sums[port.name] = np.array(wrapped, dtype=np.int64)
    return sums


def _rows(design: DotProduct, operations: int) -> dict[str, NDArray[np.int64]]:
    """Random operations, then those that repeat one extreme product in every lane."""
    parts = [design.stimulus(np.random.default_rng(2), operations)]
    for run in extreme_runs(design.mac):
        count = -(-len(run["start"]) // design.lanes)
        part = {
            f"{name}{lane}": run[name][:count]
            for lane in range(design.lanes)
            for name in (*design.mac.operands, "weight")
        }
        part["last"] = np.zeros(count, dtype=np.int64)
        part["last"][-1] = 1
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
