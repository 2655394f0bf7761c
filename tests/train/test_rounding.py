"""Gradients of the quantizers: against autograd of the plain formula, and by hand."""

import pytest
import torch
from torch import Tensor

from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, POT, Scheme
from asq_hw.train.quantizers.gradients import (
    keep_positive,
    scale_gradient,
    with_channel_means,
    with_gradient_of,
)
from asq_hw.train.quantizers.levels import table_of
from asq_hw.train.quantizers.rounding import round_to_levels, round_uniform

UNSIGNED, SIGNED = (0, 15), (-8, 7)


def straight_through(x: Tensor, rounded: Tensor) -> Tensor:
    """The value of `rounded` with the gradient of `x`."""
    return x + (rounded - x).detach()


def plain_uniform(x: Tensor, step: Tensor, minimum: int, maximum: int) -> Tensor:
    ratio = (x / step).clamp(minimum, maximum)
    return straight_through(ratio, ratio.round()) * step


def plain_levels(w: Tensor, alpha: Tensor, levels: Tensor) -> Tensor:
    ratio = (w / alpha).clamp(levels[0], levels[-1])
    nearest = (ratio[..., None] - levels).abs().argmin(dim=-1)
    return straight_through(ratio, levels[nearest]) * alpha


def gradients_of(result: Tensor, weighting: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad((result * weighting).sum(), inputs)


def drawn(*shape: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def step_of_shape(*shape: int) -> Tensor:
    return (drawn(*shape, seed=5).detach().abs() * 0.1 + 0.1).requires_grad_()


def level_tensor(grid: Grid) -> Tensor:
    return torch.tensor([level.value for level in grid.ordered_levels], dtype=torch.float64)


@pytest.mark.parametrize("bounds", [UNSIGNED, SIGNED, (-2, 1), (0, 3), (-128, 127)])
@pytest.mark.parametrize("shape", [(), (4, 1, 1, 1), (1, 3, 1, 1)])
def test_uniform_agrees_with_autograd(bounds: tuple[int, int], shape: tuple[int, ...]) -> None:
    x, step, weighting = drawn(4, 3, 5, 6), step_of_shape(*shape), drawn(4, 3, 5, 6, seed=7)
    ours, plain = round_uniform(x, step, *bounds), plain_uniform(x, step, *bounds)
    torch.testing.assert_close(ours, plain, rtol=1e-14, atol=1e-14)
    for found, wanted in zip(
        gradients_of(ours, weighting, x, step),
        gradients_of(plain, weighting, x, step),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("scheme", [POT, POST])
@pytest.mark.parametrize("shape", [(), (6, 1, 1, 1)])
def test_levels_agree_with_autograd(
    scheme: Scheme, encoding: Encoding, shape: tuple[int, ...]
) -> None:
    levels = level_tensor(Grid(scheme=scheme, bits=4, encoding=encoding))
    w, alpha, weighting = drawn(6, 4, 3, 3), step_of_shape(*shape), drawn(6, 4, 3, 3, seed=9)
    alpha = (4 * alpha).detach().requires_grad_()
    ours = round_to_levels(w, alpha, table_of(levels))
    plain = plain_levels(w, alpha, levels)
    torch.testing.assert_close(ours, plain, rtol=1e-14, atol=1e-14)
    for found, wanted in zip(
        gradients_of(ours, weighting, w, alpha),
        gradients_of(plain, weighting, w, alpha),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_uniform_by_hand() -> None:
    """Step 1/2, codes 0..3; per element: code, then d/ds of Eq. 7.

    x      -0.30   0.30   0.75    1.40   2.00
    x / s  -0.60   0.60   1.50    2.80   4.00
    code    0      1      2       3      3
    d/ds    0 (Qn) 0.40   0.50    0.20   3 (Qp)
    """
    x = torch.tensor([-0.30, 0.30, 0.75, 1.40, 2.00], dtype=torch.float64, requires_grad=True)
    step = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    quantized = round_uniform(x, step, 0, 3)
    assert quantized.tolist() == [0, 0.5, 1.0, 1.5, 1.5]
    to_x, to_step = gradients_of(quantized, torch.tensor([1.0, 10, 100, 1000, 10000]), x, step)
    assert to_x.tolist() == [0, 10, 100, 1000, 0]
    assert to_step.item() == pytest.approx(0 + 4 + 50 + 200 + 30000)


def test_adapted_step_by_hand() -> None:
    """Eq. 7-9 for two samples with s = 1/4 and beta = 2 and 4, so steps of 1/2 and 1.

    Sample 0 is the row above: d/d(step) = 0.40 for x = 0.30, and 3 for x = 2.00.
    Sample 1: x = 0.30 gives code 0 and -0.30; x = 2.00 gives code 2 and 0.
    """
    x = torch.tensor([[0.30, 2.00], [0.30, 2.00]], dtype=torch.float64)
    s = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    beta = torch.tensor([2.0, 4.0], dtype=torch.float64, requires_grad=True)
    quantized = round_uniform(x, s, 0, 3, beta=beta)
    assert quantized.tolist() == [[0.5, 1.5], [0, 2.0]]
    to_s, to_beta = gradients_of(quantized, torch.ones(2, 2), s, beta)
    assert to_s.item() == pytest.approx((0.40 + 3) * 2 + (-0.30 + 0) * 4)
    assert to_beta.tolist() == pytest.approx([(0.40 + 3) * 0.25, -0.30 * 0.25])


@pytest.mark.parametrize("shape", [(5, 6), (7, 8, 80, 81)], ids=["linear", "in pieces"])
def test_beta_is_each_samples_factor_on_the_step(shape: tuple[int, ...]) -> None:
    x, s, weighting = drawn(*shape), step_of_shape(), drawn(*shape, seed=7)
    beta = (10 * step_of_shape(shape[0])).detach().requires_grad_()
    ours = round_uniform(x, s, *SIGNED, beta=beta)
    plain = plain_uniform(x, (beta * s).view(-1, *(1 for _ in shape[1:])), *SIGNED)
    for found, wanted in zip(
        (ours, *gradients_of(ours, weighting, x, s, beta)),
        (plain, *gradients_of(plain, weighting, x, s, beta)),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_levels_by_hand() -> None:
    """Alpha 2 on the levels -1, -1/2, 0, 1/2, 1.

    w        -3     -1.2   0.1    0.5 (tie, goes down)   1.9
    w / a    -1.5   -0.6   0.05   0.25                   0.95
    level    -1     -0.5   0      0                      1
    d/da     -1      0.1  -0.05  -0.25                   0.05
    """
    w = torch.tensor([-3, -1.2, 0.1, 0.5, 1.9], dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    levels = torch.tensor([-1, -0.5, 0, 0.5, 1], dtype=torch.float64)
    quantized = round_to_levels(w, alpha, table_of(levels))
    assert quantized.tolist() == [-2, -1, 0, 0, 2]
    to_w, to_alpha = gradients_of(quantized, torch.tensor([1.0, 10, 100, 1000, 10000]), w, alpha)
    assert to_w.tolist() == [0, 10, 100, 1000, 10000]
    assert to_alpha.item() == pytest.approx(-1 + 1 - 5 - 250 + 500)


def test_scale_gradient_changes_the_gradient_alone() -> None:
    x, weighting = drawn(5, 7), drawn(5, 7, seed=7)
    scaled = scale_gradient(x, 0.25)
    assert torch.equal(scaled, x)
    (gradient,) = gradients_of(scaled, weighting, x)
    assert torch.equal(gradient, 0.25 * weighting)


def test_bfloat16_input_is_computed_in_float32() -> None:
    """3.05 / 0.02 = 152.5 before bfloat16; its 8 bits of precision would blur the code."""
    x = torch.tensor([3.046875], dtype=torch.bfloat16)
    step = torch.tensor(0.02)
    quantized = round_uniform(x, step, 0, 255)
    assert quantized.dtype == torch.bfloat16
    assert quantized.item() == (152 * step).to(torch.bfloat16).item()


@pytest.mark.parametrize("bad", [-1.0, 0.0, float("nan"), float("inf"), -float("inf"), 1e-9])
def test_keep_positive_puts_the_floor_in_place_of_what_cannot_be(bad: float) -> None:
    parameter = torch.tensor([bad, 0.5], requires_grad=True)
    kept = keep_positive(parameter, torch.tensor([0.125, 0.125]))
    assert kept.tolist() == [0.125, 0.5]
    (gradient,) = torch.autograd.grad(kept, parameter, torch.tensor([3.0, 4.0]))
    assert gradient.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("shape", [(), (7, 1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_large_batch_is_the_sum_of_its_samples(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """The gradients of large tensors are computed piece by piece."""
    x = drawn(7, 8, 80, 81).detach().to(dtype).requires_grad_()
    step = step_of_shape(*shape).detach().float().requires_grad_()
    weighting = drawn(7, 8, 80, 81, seed=7).detach().to(dtype)
    to_x, to_step = gradients_of(round_uniform(x, step, -8, 7), weighting, x, step)
    apart = [
        gradients_of(round_uniform(part, part_step, -8, 7), wanted, part, step)
        for part, wanted, part_step in zip(
            x.split(1), weighting.split(1), step.split(1) if shape else [step] * 7, strict=True
        )
    ]
    assert torch.equal(to_x, torch.cat([part for part, _ in apart]))
    whole = sum(part for _, part in apart)
    torch.testing.assert_close(to_step, whole, rtol=1e-5, atol=1e-5)


def test_a_value_with_the_gradient_of_another() -> None:
    x = torch.tensor([-1.5, 0.4, 2.5], requires_grad=True)
    rounded = with_gradient_of(2 * x, x.round())
    assert rounded.tolist() == [-2, 0, 2]
    (gradient,) = torch.autograd.grad(rounded, x, torch.tensor([1.0, 2.0, 3.0]))
    assert gradient.tolist() == [2, 4, 6]


def test_channel_means_are_means_with_their_gradient() -> None:
    x, weighting, more = drawn(2, 3, 4, 5), drawn(2, 3, seed=7), drawn(2, 3, 4, 5, seed=8)
    same, means = with_channel_means(x)
    assert torch.equal(same, x)
    torch.testing.assert_close(means, x.mean(dim=(2, 3)))
    step = step_of_shape()
    loss = (means * weighting).sum() + (round_uniform(same, step, -8, 7) * more).sum()
    plain = (x.mean(dim=(2, 3)) * weighting).sum() + (round_uniform(x, step, -8, 7) * more).sum()
    (found,), (wanted,) = torch.autograd.grad(loss, x), torch.autograd.grad(plain, x)
    torch.testing.assert_close(found, wanted)
