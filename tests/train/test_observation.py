"""What a histogram keeps of many batches is enough for a step, and never grows."""

from __future__ import annotations

import pytest
import torch

from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM
from asq_hw.train.data.loaders import EvenSample
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.quantizers.initial_scales import least_squares_step
from asq_hw.train.quantizers.observation import Observation


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def seen_of(*batches: torch.Tensor) -> Observation:
    seen = Observation()
    for batch in batches:
        seen.add(batch)
    return seen


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_step_is_that_of_all_values_together(signed: bool, bits: int) -> None:
    grid = Grid(scheme=UNIFORM, bits=bits, signed=signed)
    x = drawn(40, 500) if signed else drawn(40, 500).relu()
    x *= torch.logspace(-3, 1, 40)[:, None]  # batches of growing range
    wanted = float(least_squares_step(x, grid))
    found = float(seen_of(*x.split(1)).step(grid, StepStart.LEAST_SQUARES))
    assert found == pytest.approx(wanted, rel=1 / 32)


def test_bins_merge_exactly_and_never_grow_in_number() -> None:
    """0.3 and -0.3 in bins up to 1, then 100: both lie in the right bin of up to 128."""
    seen = seen_of(torch.tensor([[0.3, -0.3, 0.9]]), torch.tensor([[100.0]]))
    values, counts = seen.centers()
    width = 128 / 8192
    assert counts.tolist() == [1, 1, 1, 1]
    # Each stands for its bin's middle, give or take half a bin of the first, narrow ones.
    assert (values - torch.tensor([-0.3, 0.3, 0.9, 100])).abs().max() <= 0.51 * width
    assert (seen.low, seen.high, seen.samples) == (pytest.approx(-0.3), 100, 2)


def test_extremes_are_those_of_every_value() -> None:
    x = torch.zeros(3 << 20)
    x[1], x[2] = 7, -3  # between those that are counted
    seen = seen_of(x[None])
    assert (seen.low, seen.high) == (-3, 7)
    grid = Grid(scheme=UNIFORM, bits=3, signed=True)
    assert float(seen.step(grid, StepStart.MIN_MAX)) == pytest.approx(7 / 3)
    low = seen_of(torch.tensor([[-8.0, 3.0]]))
    assert float(low.step(grid, StepStart.MIN_MAX)) == pytest.approx(2)


def test_zeros_start_from_one() -> None:
    seen, grid = seen_of(torch.zeros(2, 4)), Grid(scheme=UNIFORM, bits=4, signed=False)
    assert [float(seen.step(grid, how)) for how in StepStart] == [1, 1, 1]
    assert float(seen.drawn().abs().max()) == 0


def test_what_is_drawn_has_the_quantiles_of_what_was_seen() -> None:
    x = drawn(20, 1000)
    found = seen_of(*x.split(4)).drawn()
    at = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    assert torch.allclose(found.quantile(at), x.flatten().quantile(at), atol=0.01)
    assert float(found.min()) == float(x.min()) and float(found.max()) == float(x.max())


def test_channel_means_are_kept_of_the_first_samples_alone() -> None:
    x = drawn(300, 3, 2, 2)
    assert torch.allclose(seen_of(x[:200], x[200:]).means(), x[:256].mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="values must be finite"):
        seen_of(torch.tensor([[1.0, value]]))


def test_a_sample_is_drawn_from_all_that_comes() -> None:
    sample = EvenSample(8)
    for part in torch.arange(100.0).reshape(100, 1, 1, 1).split(7):
        sample.add(part)
    places = sample.images().flatten().tolist()
    assert places == [0, 16, 32, 48, 64, 80, 96]
