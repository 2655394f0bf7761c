"""Means, spreads and paired differences of the ablation's runs, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from statistics import fmean, stdev

from analysis.paper.paired import NATS, POINTS, Difference, Scores, paired_difference
from analysis.paper.results import Result
from analysis.paper.rows import TABLES, Gate, Table, Variant
from asq_hw.errors import InputError

__all__ = ["ablation_report"]

Results = Mapping[str, Mapping[int, Result]]
"""By row and seed."""


def ablation_report(results: Sequence[Result], tables: Sequence[Table]) -> str:
    """Tables, each with its gates above it and its differences below.

    A table of which no row has been trained is left out.

    Raises
    ------
    InputError
        If there is no result, or one of a row that no table has.
    """
    if not results:
        raise InputError("results must hold at least one run, not none")
    known = {row.key for table in (*TABLES.values(), *tables) for row in table.trained}
    found: dict[str, dict[int, Result]] = {}
    for result in results:
        if result.variant not in known:
            raise InputError(f"variant must be one of the tables' rows, not {result.variant!r}")
        found.setdefault(result.variant, {})[result.seed] = result
    parts = [_conditions(results)]
    for table in tables:
        if any(row.key in found for row in table.rows):
            parts += [_gate(gate, found) for gate in table.gates]
            parts += [_table(table, found), _differences(table, found), _order(table, found)]
    return "\n".join(part for part in parts if part)


def _conditions(results: Sequence[Result]) -> str:
    """Say what all rows have in common, and what they started from."""
    first = results[0]
    starts = {result.start_recipe: result for result in results}
    listed = ", ".join(
        f"{name} ({100 * start.start_correct / start.images:.2f} %"
        f"{f', {start.start}' if start.start else ''})"
        for name, start in sorted(starts.items())
    )
    commits = sorted({word for result in results for word in result.commit.split()})
    return (
        f"Data set: {first.dataset}, {first.images:,} test images. Recipe: {first.recipe} "
        f"({first.settings}).\n"
        f"Floating-point start{'s' if len(starts) > 1 else ''}: {listed}. "
        f"Program: {', '.join(commits) or 'not noted'}.\n"
    )


def _top1(results: Results, row: Variant) -> Scores:
    return {seed: result.top1 for seed, result in results.get(row.key, {}).items()}


def _loss(results: Results, row: Variant) -> Scores:
    own = results.get(row.key, {})
    return {seed: result.loss for seed, result in own.items() if result.loss is not None}


def _gate(gate: Gate, results: Results) -> str:
    """Say whether the table can say anything of what the gate is about."""
    found = [_told_by(fast, gate.plain, results) for fast in gate.fast]
    told = {verdict for _, verdict in found}
    if _Told.UNCONVERGED in told:
        end = f"The baseline has not converged: nothing can be said of {gate.about}"
    elif _Told.CONVERGED in told:
        end = f"{gate.about} may be compared"
    else:
        end = f"Nothing can be said of {gate.about}"
    texts = "; ".join(text for text, _ in found)
    return f"Gate, against {gate.plain.label} ({gate.plain.bits} bits): {texts}. {end}.\n"


class _Told(Enum):
    """What a row that learns faster tells of its plain one."""

    NOTHING = auto()
    CONVERGED = auto()
    UNCONVERGED = auto()


def _told_by(fast: Variant, plain: Variant, results: Results) -> tuple[str, _Told]:
    top1 = paired_difference(_top1(results, fast), _top1(results, plain))
    loss = paired_difference(_loss(results, fast), _loss(results, plain))
    if top1 is None:
        return f"{fast.label} has not been measured with two seeds", _Told.NOTHING
    text = f"{fast.label} {top1.text(POINTS)} points"
    text += "" if loss is None else f", loss {loss.text(NATS)}"
    gains = [top1.mean] if top1.is_clear else []
    gains += [-loss.mean] if loss is not None and loss.is_clear else []
    if not gains:
        reach = f"{top1.visible:.2f} points would be seen four times of five"
        return f"{text}, no difference beyond noise ({reach})", _Told.CONVERGED
    if max(gains) > 0:
        return f"{text}, better beyond noise", _Told.UNCONVERGED
    return f"{text}, worse beyond noise: too fast to tell", _Told.NOTHING


def _table(table: Table, results: Results) -> str:
    lines = [
        f"{table.title}.\n",
        "| bits | row | top-1, mean | deviation | loss, mean | runs | the paper's top-1 |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for row in table.rows:
        top1, loss = list(_top1(results, row).values()), list(_loss(results, row).values())
        if not top1:
            continue
        cells = [
            f"{fmean(top1):.2f} %",
            f"{stdev(top1):.2f}" if len(top1) > 1 else "",
            f"{fmean(loss):.4f}" if loss else "",
            str(len(top1)),
            "" if row.paper_top1 is None else f"{row.paper_top1:.1f} %",
        ]
        lines.append(f"| {row.bits} | {row.label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _differences(table: Table, results: Results) -> str:
    """What each row differs from another by, how sure that is, and what could have been seen."""
    lines = [
        "| bits | row | against | top-1, points (95 %) | loss (95 %) | seeds | the paper's "
        "| power to see the paper's | seen four times of five |",
        "|--:|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row, other, found in _found_differences(table.rows, results):
        loss = paired_difference(_loss(results, row), _loss(results, other))
        paper = _papers_difference(row, other)
        cells = [
            found.text(POINTS),
            "" if loss is None else loss.text(NATS),
            str(found.count),
            "" if paper is None else f"{paper:+.1f}",
            "" if paper is None else f"{found.power(paper):.2f}",
            f"{found.visible:.2f}",
        ]
        lines.append(f"| {row.bits} | {row.label} | {other.label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _found_differences(
    rows: Sequence[Variant], results: Results
) -> Iterator[tuple[Variant, Variant, Difference]]:
    """Rows, what each is held against, and how they differ, where both have two seeds."""
    for row in rows:
        for other in row.against:
            found = paired_difference(_top1(results, row), _top1(results, other))
            if found is not None:
                yield row, other, found


def _papers_difference(row: Variant, other: Variant) -> float | None:
    if row.paper_top1 is None or other.paper_top1 is None:
        return None
    return row.paper_top1 - other.paper_top1


def _order(table: Table, results: Results) -> str:
    """Say which order came out, which one the paper has, and what the spread lets one say."""
    lines = []
    for bits in dict.fromkeys(row.bits for row in table.rows):
        rows = [row for row in table.rows if row.bits == bits and row.key in results]
        known = [row for row in rows if row.paper_top1 is not None]
        ours = sorted(rows, key=lambda row: -fmean(_top1(results, row).values()))
        papers = sorted(known, key=lambda row: -(row.paper_top1 or 0.0))
        found = list(_found_differences(rows, results))
        clear = [f"{row.label} - {other.label}" for row, other, d in found if d.is_clear]
        if len(rows) > 1:
            lines += [f"Order by mean at {bits} bits: {' > '.join(row.label for row in ours)}"]
        if len(known) > 1:
            lines += [f"The paper's order at {bits} bits: {' > '.join(r.label for r in papers)}"]
        if found:
            lines += [
                f"Differences whose interval leaves out zero at {bits} bits: "
                f"{', '.join(clear) or 'none'}"
            ]
    return "\n".join(lines) + "\n" if lines else ""
