"""Samples that stand exactly where an adapter's step changes: one more in a sum, and it is another.

Drawn means hardly ever meet such a place: a step changes once in thousands of values of a sum, and
a sum that is wrong in its lowest bits gives the right step everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asq_hw.network.activation import AdapterStage
from asq_hw.numbers.fixedpoint import shift_right_half_up

__all__ = ["samples_at_thresholds"]

_MOVES, _MOVED, _ROUNDS = 2048, 3, 12
"""How many ways there are to move how many means, and how often the best one is taken."""
_CLOSEST = 4
"""Outputs whose least sum is hardest to tell from the one below it."""
_MOST_REST = 1 << 40
"""Of a sum, before means are moved: more is nothing that moving them could mend."""


def samples_at_thresholds(
    stages: Sequence[AdapterStage], mean_bits: int, random: np.random.Generator, count: int
) -> NDArray[np.int64]:
    """Samples whose step changes with one sum of the first stage by 1, int64 (n, channels).

    The last sum is the least one that reaches a step, or the one below it. With two stages, so is
    one sum of the first for its own output, the one whose next value moves the last sum across.

    Parameters
    ----------
    stages : sequence of AdapterStage
        One or two.
    mean_bits : int
        Width of a mean, signed.
    random : numpy.random.Generator
        What draws them.
    count : int
        Tries; n is at most as large, since some have no such means.
    """
    half = 1 << (mean_bits - 1)
    first, last = stages[0], stages[-1]
    bounds = (-half, half - 1) if first is last else (first.minimum, first.maximum)
    steps = _Outputs(last, bounds)
    finder = _FirstStage(first, mean_bits, random)
    made = []
    for _ in range(count):
        values = _drawn(random, last.weight.shape[1], *bounds)
        is_reached = bool(random.integers(2))
        target = steps.edge_near(values, is_reached, random)
        if target is None:
            continue
        if first is last:
            sample = _with_sum(last, values, target, bounds, random)
        else:
            wanted = _wanted_sums(first, last, values, target, is_reached, random)
            sample = None if wanted is None else finder.means(*wanted)
        if sample is not None:
            made.append(sample)
    return np.array(made, dtype=np.int64).reshape(len(made), first.weight.shape[1])


def _wanted_sums(
    first: AdapterStage,
    last: AdapterStage,
    values: list[int],
    target: int,
    is_reached: bool,
    random: np.random.Generator,
) -> tuple[list[int], list[int]] | None:
    """Sums of the first stage, and how far each may be off; None without luck.

    One output is about to rise or to fall, and with it the last sum crosses its edge.
    """
    moved = int(random.integers(len(values)))
    weight = int(last.weight[0, moved])
    if weight == 0 or first.multiplier == 0:
        return None
    rises = is_reached != (weight > 0)
    bounds = (first.minimum, first.maximum)
    outputs = _with_sum(last, values, target, bounds, random)
    if outputs is None or outputs[moved] == (first.maximum if rises else first.minimum):
        return None
    least = [_edge(first, output) for output in outputs]
    most = [_edge(first, output + 1) - 1 for output in outputs]
    slack = [(high - low) // 2 for low, high in zip(least, most, strict=True)]
    if min(slack) < 0:  # a sum that is 1 more has an output that is 2 more
        return None
    sums = [(low + high) // 2 for low, high in zip(least, most, strict=True)]
    sums[moved] = most[moved] if rises else least[moved]
    slack[moved] = 0
    return sums, slack


class _Outputs:
    """Where a stage's output changes, for inputs of some range, and where that is hardest to see.

    A sum times the multiplier is rounded. It is closest to the next output's least value for one
    sum in thousands; a rounding that is a little off is wrong there, and nowhere else.
    """

    def __init__(self, stage: AdapterStage, bounds: tuple[int, int]) -> None:
        self._stage = stage
        weights = stage.weight[0].tolist()
        reach = [sorted((weight * bounds[0], weight * bounds[1])) for weight in weights]
        low, high = (
            min(max(self._output(sum(ends)), stage.minimum), stage.maximum)
            for ends in zip(*reach, strict=True)
        )
        outputs = range(low + 1, high + 1) if stage.multiplier else range(0)
        half = 1 << stage.shift >> 1
        above = {y: _edge(stage, y) * stage.multiplier + half - (y << stage.shift) for y in outputs}
        self._closest = {
            True: sorted(above, key=above.__getitem__)[:_CLOSEST],
            False: sorted(above, key=above.__getitem__, reverse=True)[:_CLOSEST],
        }

    def _output(self, total: int) -> int:
        """Not limited, of a sum without the bias."""
        stage = self._stage
        return shift_right_half_up((total + int(stage.bias[0])) * stage.multiplier, stage.shift)

    def edge_near(
        self, values: list[int], is_reached: bool, random: np.random.Generator
    ) -> int | None:
        """The least sum that reaches an output, or the one below it, less the bias.

        The output is near that of the values, or, half of the time, one of those that are hardest
        to tell; None where the stage has only one.
        """
        stage = self._stage
        closest = self._closest[is_reached]
        if not closest:
            return None
        output = self._output(
            sum(w * v for w, v in zip(stage.weight[0].tolist(), values, strict=True))
        )
        output = min(max(output, stage.minimum + 1), stage.maximum)
        if random.integers(2):
            output = closest[int(random.integers(len(closest)))]
        return _edge(stage, output) - int(stage.bias[0]) - (0 if is_reached else 1)


def _drawn(random: np.random.Generator, count: int, low: int, high: int) -> list[int]:
    """Values of one magnitude, which is drawn as well."""
    drop = int(random.integers(max(1, (high - low).bit_length())))
    return [min(max(int(v) >> drop, low), high) for v in random.integers(low, high + 1, count)]


def _edge(stage: AdapterStage, output: int) -> int:
    """The least sum whose output, if it is not limited, is at least this one."""
    half = 1 << stage.shift >> 1
    return -((half - (output << stage.shift)) // stage.multiplier)


def _with_sum(
    stage: AdapterStage,
    values: list[int],
    target: int,
    bounds: tuple[int, int],
    random: np.random.Generator,
) -> list[int] | None:
    """The stage's inputs, changed so that they have a sum; None without luck.

    All of them go a part of the way, and two the rest.
    """
    weights = stage.weight[0].tolist()
    made = list(values)
    for place in random.permutation(len(weights)).tolist():
        rest = target - sum(w * v for w, v in zip(weights, made, strict=True))
        if weights[place]:
            made[place] = min(max(made[place] + rest // weights[place], bounds[0]), bounds[1])
    values = made
    rest = target - sum(w * v for w, v in zip(weights, values, strict=True))
    order = [place for place in random.permutation(len(weights)).tolist() if weights[place]]
    for one, other in zip(order, order[1:] + order[:1], strict=True):
        for change in range(-abs(weights[one]), abs(weights[one])):
            left = rest - weights[other] * change
            if left % weights[one] or (one == other and change):
                continue
            made = list(values)
            made[other] += change
            made[one] += left // weights[one]
            if all(bounds[0] <= value <= bounds[1] for value in made):
                return made
    return None


class _FirstStage:
    """Finds means that give the sums of a stage."""

    def __init__(self, stage: AdapterStage, mean_bits: int, random: np.random.Generator) -> None:
        self._half = 1 << (mean_bits - 1)
        self._random = random
        self._bias = stage.bias.astype(object)
        self._weight = stage.weight.astype(object)
        self._inverse = np.linalg.pinv(stage.weight.astype(np.float64))
        self._moves = np.zeros((_MOVES, stage.weight.shape[1]), dtype=np.int64)
        for _ in range(_MOVED):
            places = random.integers(0, self._moves.shape[1], _MOVES)
            self._moves[np.arange(_MOVES), places] += random.integers(-1, 2, _MOVES)
        self._shifts = self._moves @ stage.weight.T

    def means(self, sums: list[int], slack: list[int]) -> list[int] | None:
        """Means with these sums, each within its slack; None where none were found.

        Real numbers that have them, rounded, and then a few of them moved at a time until the
        rounding does no harm.
        """
        drawn = _drawn(self._random, self._weight.shape[1], -self._half, self._half - 1)
        means = np.array(drawn, dtype=object)
        target = np.array(sums, dtype=object) - self._bias
        for _ in range(2):  # the second time for what a float of a large difference leaves
            rest = (target - self._weight @ means).astype(np.float64)
            means = means + np.array([round(value) for value in self._inverse @ rest], dtype=object)
        rest = target - self._weight @ means
        if max(abs(value) for value in rest) >= _MOST_REST:
            return None
        rest = rest.astype(np.int64)
        for _ in range(_ROUNDS):
            excess = np.maximum(np.abs(rest - self._shifts) - slack, 0)
            best = int((excess * excess).sum(axis=1).argmin())
            means, rest = means + self._moves[best], rest - self._shifts[best]
            if not excess[best].any():
                made = [int(mean) for mean in means]
                return made if all(-self._half <= mean < self._half for mean in made) else None
        return None
