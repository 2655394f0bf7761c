"""Means, spreads and paired differences of the ablation's runs, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from analysis.paper.ablation_results import TABLE5, WIDTHS, Result, Variant
from asq_hw.errors import InputError

__all__ = ["STUDENT_T", "Difference", "ablation_report", "paired_difference"]

STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t at 97.5 % for 1 to 9 degrees of freedom, that is for 2 to 10 seeds."""

_BASELINE = TABLE5[0]
_ALL = (*TABLE5, *WIDTHS)
Scores = Mapping[int, float]
"""Top-1 accuracy in percent, by seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Mean difference of two rows over their common seeds, in percentage points.

    Parameters
    ----------
    mean : float
        Of the differences at equal seeds.
    half_width : float
        Of the 95 % confidence interval around it, by Student's t.
    """

    mean: float
    half_width: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.mean) > self.half_width


def paired_difference(scores: Scores, baseline: Scores) -> Difference | None:
    """Compare two rows seed by seed: runs of one seed share start, order and augmentation.

    None with fewer than two common seeds.

    Raises
    ------
    InputError
        If there are more than ten.
    """
    differences = [scores[seed] - baseline[seed] for seed in scores.keys() & baseline.keys()]
    count = len(differences)
    if count < 2:
        return None
    if count - 1 > len(STUDENT_T):
        raise InputError(f"seeds of a row must be at most {len(STUDENT_T) + 1}, not {count}")
    error = stdev(differences) / math.sqrt(count)
    return Difference(mean=fmean(differences), half_width=STUDENT_T[count - 2] * error)


def ablation_report(results: Sequence[Result]) -> str:
    """Both tables, with the order of the rows below the first.

    Raises
    ------
    InputError
        If there is no result, or one of a row that no table has.
    """
    if not results:
        raise InputError("results must hold at least one run, not none")
    scores = _scores(results)
    parts = [_starts(results), _table5(scores), _order(scores), _widths(scores)]
    return "\n".join(part for part in parts if part)


def _scores(results: Sequence[Result]) -> dict[str, dict[int, float]]:
    known = {variant.key for variant in _ALL}
    scores: dict[str, dict[int, float]] = {}
    for result in results:
        if result.variant not in known:
            raise InputError(f"variant must be one of the tables' rows, not {result.variant!r}")
        scores.setdefault(result.variant, {})[result.seed] = result.top1
    return scores


def _starts(results: Sequence[Result]) -> str:
    starts = {result.seed: 100 * result.start_correct / result.images for result in results}
    listed = ", ".join(f"{top1:.2f} % (seed {seed})" for seed, top1 in sorted(starts.items()))
    return f"Floating-point starts: {listed}.\n"


def _table5(scores: Mapping[str, Scores]) -> str:
    lines = [
        "| row (4 bits) | top-1, mean | standard deviation | runs | difference to LSQ (95 %) "
        "| the paper's difference |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    baseline = scores.get(_BASELINE.key, {})
    for variant in TABLE5:
        own = scores.get(variant.key)
        if own is None:
            continue
        compared = _compared(own, baseline, is_baseline=variant is _BASELINE)
        lines.append(f"| {variant.label} | {_spread(own)} | {compared} | {_paper(variant)} |")
    return "\n".join(lines) + "\n"


def _paper(variant: Variant) -> str:
    assert variant.paper_top1 is not None and _BASELINE.paper_top1 is not None
    return "" if variant is _BASELINE else f"{variant.paper_top1 - _BASELINE.paper_top1:+.1f}"


def _order(scores: Mapping[str, Scores]) -> str:
    """Say which order came out, which one the paper has, and what the spread lets one say."""
    rows = [variant for variant in TABLE5 if variant.key in scores]
    ours = sorted(rows, key=lambda row: -fmean(scores[row.key].values()))
    papers = sorted(rows, key=lambda row: -(row.paper_top1 or 0.0))
    baseline = scores.get(_BASELINE.key, {})
    differences = {row.label: paired_difference(scores[row.key], baseline) for row in rows[1:]}
    clear = [label for label, found in differences.items() if found and found.is_clear]
    return (
        f"Order by mean: {' > '.join(row.label for row in ours)}\n"
        f"The paper's order: {' > '.join(row.label for row in papers)}\n"
        f"Differences to LSQ whose interval leaves out zero: {', '.join(clear) or 'none'}\n"
    )


def _widths(scores: Mapping[str, Scores]) -> str:
    lines = [
        "| bits | row | top-1, mean | standard deviation | runs "
        "| difference to LSQ of the same width (95 %) |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    names = {variant.methods: variant.label for variant in WIDTHS}
    rows = [variant for variant in _ALL if variant.methods in names and variant.key in scores]
    for variant in sorted(rows, key=lambda row: row.bits):
        baseline = scores.get(replace(_BASELINE, bits=variant.bits).key, {})
        own = scores[variant.key]
        is_baseline = variant.methods == _BASELINE.methods
        compared = _compared(own, baseline, is_baseline=is_baseline)
        lines.append(f"| {variant.bits} | {names[variant.methods]} | {_spread(own)} | {compared} |")
    return "\n".join(lines) + "\n"


def _spread(own: Scores) -> str:
    values = list(own.values())
    deviation = f"{stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f} % | {deviation} | {len(values)}"


def _compared(own: Scores, baseline: Scores, *, is_baseline: bool) -> str:
    found = None if is_baseline else paired_difference(own, baseline)
    return "" if found is None else f"{found.mean:+.2f} ± {found.half_width:.2f}"
