"""Samples that stand where an adapter's step changes, by what that means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from asq_hw.network.activation import AdapterStage
from rtl.quantizer.thresholds import samples_at_thresholds


def stage(
    weight: Sequence[Sequence[int]], bias: Sequence[int], multiplier: int, minimum: int
) -> AdapterStage:
    return AdapterStage(
        weight=np.array(weight),
        bias=np.array(bias),
        multiplier=multiplier,
        shift=16,
        minimum=minimum,
        maximum=65535,
    )


LAST = stage([[12, -90, 35, 7]], [9_000_000], 40, 3)
HIDDEN = stage(
    [
        [50, -3, 17, 90, -8, 1, -60, 22],
        [-7, 44, 9, -31, 5, 70, 12, -2],
        [1, 0, -88, 13, 64, -5, 30, 41],
        [-19, 6, 2, 5, -77, 28, 3, 100],
    ],
    [100, -2000, 30_000, 0],
    700,
    0,
)
ALONE = stage([[50, -3, 17, 90, -8, 1, -60, 22]], [1_000_000], 40, 3)


def output(stage: AdapterStage, total: int) -> int:
    """``clamp(floor(total * multiplier / 2**16 + 1/2), minimum, maximum)``."""
    return min(max((total * stage.multiplier + 32768) // 65536, stage.minimum), stage.maximum)


def steps(stages: Sequence[AdapterStage], sample: list[int]) -> tuple[int, set[int]]:
    """The sample's step, and those with one sum of the first stage off by 1."""
    first, *others = stages
    sums = (first.weight @ np.array(sample) + first.bias).tolist()

    def step(totals: list[int]) -> int:
        values = [output(first, total) for total in totals]
        for later in others:
            values = [output(later, int(later.weight[0] @ np.array(values) + later.bias[0]))]
        return values[0]

    off = {
        step([*sums[:place], sums[place] + change, *sums[place + 1 :]])
        for place in range(len(sums))
        for change in (-1, 1)
    }
    return step(sums), off


@pytest.mark.parametrize("stages", [(ALONE,), (HIDDEN, LAST)], ids=["one stage", "two stages"])
def test_one_more_in_a_sum_is_another_step(stages: tuple[AdapterStage, ...]) -> None:
    samples = samples_at_thresholds(stages, 16, np.random.default_rng(5), 256)
    assert len(samples) >= 16
    assert samples.min() >= -32768
    assert samples.max() < 32768
    made = [steps(stages, sample) for sample in samples.tolist()]
    assert all(off - {step} for step, off in made)
    assert len({step for step, _ in made}) > 5
    # Both sides of an edge: the step falls for some and rises for others.
    assert any(min(off) < step for step, off in made)
    assert any(max(off) > step for step, off in made)


def test_the_sums_that_are_hardest_to_round_are_among_them() -> None:
    """Of all sums, one times 40 is 8 below where it would round up: no other is closer."""
    samples = samples_at_thresholds((ALONE,), 16, np.random.default_rng(5), 64)
    totals = samples @ ALONE.weight[0] + int(ALONE.bias[0])
    rest = (totals * 40 + 32768) % 65536
    assert (65536 - rest).min() == 8  # 40 and 65536 are multiples of 8
    assert rest.min() == 0


def test_a_step_that_never_changes_has_no_such_sample() -> None:
    still = stage([[1, 2]], [0], 0, 7)
    assert samples_at_thresholds((still,), 16, np.random.default_rng(5), 8).shape == (0, 2)
