"""Switched energy beside area: designs at work on a layer of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from analysis.studies.jobs import side_by_side
from analysis.studies.study import Heading, Planned
from analysis.studies.workload import Workload
from rtl.energy.flows import check_flow, flow_of
from rtl.energy.switching import Switched, switch
from rtl.tools import find_iverilog

__all__ = ["ENERGY_COLUMNS", "check_work", "switch_each", "with_energy"]

ENERGY_COLUMNS = (
    Heading("energy_pj", "pJ / product", ".3f"),
    Heading("clock_pj", "of them the clock", ".3f"),
    Heading("energy_ratio", "pJ / best uniform", ".3f"),
    Heading("changes", "changes / product", ".1f"),
    Heading("changes_ratio", "changes / best uniform", ".3f"),
)

Row = dict[str, object]


def check_work(planned: Sequence[Planned], workload: Workload) -> None:
    """Raise what `switch_each` would, as far as it is known before any work is done."""
    find_iverilog()
    for target, design in planned:
        check_flow(target)
        workload.check(design)
    for target in {each.name: each for each, _ in planned}.values():
        flow_of(target)


def switch_each(
    planned: Sequence[Planned],
    workload: Workload,
    *,
    jobs: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Switched]:
    """Let each design do the work; `jobs` of them at a time.

    Parameters
    ----------
    planned : sequence of Planned
        Designs with their targets.
    workload : Workload
        The same for all.
    jobs : int, optional
        Default: cores.
    progress : callable, optional
        Told how many are done.

    Raises
    ------
    InputError
        If a target has no cells with delays, or a design cannot do such work: before any is done.
    """
    check_work(planned, workload)
    flows = {target.name: flow_of(target) for target, _ in planned}
    prepared = [workload.vectors(design) for _, design in planned]

    def one(place: int) -> Switched:
        target, design = planned[place]
        return switch(design, flows[target.name], prepared[place])

    return side_by_side(one, len(planned), jobs=jobs, progress=progress)


def with_energy(
    rows: Sequence[Mapping[str, object]],
    switched: Sequence[Switched],
    products: int,
    peers: Sequence[str],
    is_base: Callable[[Mapping[str, object]], bool],
) -> list[Row]:
    """Rows with what switched for each product, and over the best uniform unit among their peers.

    Parameters
    ----------
    rows : sequence of mapping
        A row for each design.
    switched : sequence of Switched
        What switched in each.
    products : int
        Of the work; weights of 0 are among them.
    peers : sequence of str
        Keys that rows must share to be compared.
    is_base : callable
        Whether a row is a uniform one.
    """
    made = [dict(row) | _of(each, products) for row, each in zip(rows, switched, strict=True)]
    for row in made:
        bases = [
            other
            for other in made
            if is_base(other) and all(other.get(key) == row.get(key) for key in peers)
        ]
        for key, ratio in (("energy_pj", "energy_ratio"), ("changes", "changes_ratio")):
            known = [cast(float, base[key]) for base in bases if base[key] is not None]
            mine = row[key]
            row[ratio] = cast(float, mine) / min(known) if known and mine is not None else None
    return made


def _of(switched: Switched, products: int) -> Row:
    logic, clock = switched.logic_pj, switched.clock_pj
    known = logic is not None and clock is not None
    return {
        "energy_pj": (cast(float, logic) + cast(float, clock)) / products if known else None,
        "clock_pj": cast(float, clock) / products if known else None,
        "changes": switched.changes / products,
    }
