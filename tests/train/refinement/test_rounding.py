"""Adaptive rounding: a layer's outputs change less than with the nearest levels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import asq_hw
from asq_hw.errors import InputError
from asq_hw.train.quantizers.layers import QuantLinear
from asq_hw.train.refinement.moments import InputMoments, input_parts
from asq_hw.train.refinement.rounding import adapted_weight, check_adaptable
from tests.interface.test_prepare import layer


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def quantized(module: nn.Module, **how: Any) -> Any:
    """A single layer, as `prepare` makes it."""
    return layer(asq_hw.prepare(nn.Sequential(module), **how), "0")


def test_two_inputs_that_are_one_share_their_error() -> None:
    """0.4 and 0.4 of one input are 0.8: 1 and 0 miss it by 0.2, the nearest levels by 0.8."""
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.4, 0.4]]))
    made = quantized(linear, edge_bits=2)
    made.weight_quantizer.learned.initialize(torch.tensor([[1.0]]))
    moments = InputMoments(made)
    x = drawn(4000, 1)
    moments.add(torch.cat([x, x], 1))
    assert sorted(adapted_weight(made, moments).flatten().tolist()) == [0, 1]


CONVOLUTIONS = [
    nn.Conv2d(4, 6, 3, padding=1),
    nn.Conv2d(4, 6, (1, 3), stride=(1, 2), padding=(0, 2), bias=False),
    nn.Conv2d(4, 8, 3, stride=2, groups=2),
    nn.Conv2d(4, 4, 2, groups=4, padding=1),
    nn.Conv2d(4, 6, 2, dilation=2, padding=1),
    nn.Conv2d(4, 6, 3, padding="same", padding_mode="circular"),
]


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_the_covariance_tells_the_variance_of_any_outputs(conv: nn.Conv2d) -> None:
    made, x = quantized(conv), drawn(5, 4, 9, 7)
    moments = InputMoments(made)
    moments.add(x[:2])
    moments.add(x[2:])
    weight = drawn(*conv.weight.shape, seed=1)
    outputs = nn.Conv2d._conv_forward(made, x, weight, None)
    assert moments.count == outputs[:, 0].numel()
    covariance = moments.covariance()
    diagonal = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    width = covariance.shape[1]
    covariance = diagonal + (covariance - diagonal) * (1 + width / moments.count)
    rows = weight.reshape(conv.groups, -1, width)
    found = torch.einsum("gok,gkl,gol->go", rows, covariance, rows).flatten()
    wanted = outputs.var((0, 2, 3), correction=0)
    assert torch.allclose(found, wanted, rtol=1e-4)


def error(weight: Tensor, made: Any, x: Tensor) -> Tensor:
    """Variance of what each output is off by."""
    difference = weight - made.weight
    if isinstance(made, QuantLinear):
        return functional.linear(x, difference).detach().var(0, correction=0)
    return nn.Conv2d._conv_forward(made, x, difference, None).detach().var((0, 2, 3), correction=0)


@pytest.mark.parametrize("weights", ["lsq", "pot", "post", "apot"])
@pytest.mark.parametrize("module", [nn.Linear(12, 5), nn.Conv2d(4, 6, 3, groups=2)])
def test_no_output_is_further_off_and_all_together_much_less(
    weights: str, module: nn.Module
) -> None:
    name = {"0": {"weights": weights, "bits": 3}}
    made = quantized(module, layers=name)
    mixed = drawn(4, 4, seed=2) if isinstance(module, nn.Conv2d) else drawn(12, 12, seed=2)
    shape = (40, 4, 8, 8) if isinstance(module, nn.Conv2d) else (4000, 12)
    x = torch.einsum("nc...,cd->nd...", drawn(*shape), mixed) + 1
    moments = InputMoments(made)
    moments.add(x)
    adapted = adapted_weight(made, moments)
    nearest, better = error(made.quantized_weight(), made, x), error(adapted, made, x)
    assert bool((better <= 1.02 * nearest).all())
    assert float(better.sum()) < 0.8 * float(nearest.sum())
    assert torch.allclose(made.weight_quantizer(adapted), adapted)  # they are levels


def test_no_single_weight_could_do_better() -> None:
    made = quantized(nn.Linear(6, 3), edge_bits=3)
    x = drawn(5000, 6) @ drawn(6, 6, seed=3)
    moments = InputMoments(made)
    moments.add(x)
    adapted = adapted_weight(made, moments)
    step, best = made.weight_quantizer.step().detach(), error(adapted, made, x)
    for k in range(6):
        for code in range(-4, 4):
            other = adapted.clone()
            other[:, k] = code * step[:, 0]
            # The variances that it adds leave room for a hundredth of them.
            room = 0.02 * x.var(0).mean() * (other - made.weight).square().sum(1)
            assert bool((error(other, made, x) + room >= best).all())


def test_what_is_too_wide_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asq_hw.train.refinement.moments._WIDEST", 10)
    made = quantized(nn.Conv2d(8, 4, 3, groups=2), layers={"0": {"bits": 3}})
    assert input_parts(made) == 2 * 4
    x = drawn(30, 8, 6, 6) + 1
    moments = InputMoments(made)
    moments.add(x)
    adapted = adapted_weight(made, moments)
    assert adapted.shape == made.weight.shape
    assert torch.allclose(made.weight_quantizer(adapted), adapted)
    assert float(error(adapted, made, x).sum()) <= float(
        error(made.quantized_weight(), made, x).sum()
    )


def test_inputs_that_never_vary_leave_the_nearest_levels() -> None:
    made = quantized(nn.Linear(4, 3), edge_bits=4)
    moments = InputMoments(made)
    moments.add(torch.ones(50, 4))
    assert torch.allclose(adapted_weight(made, moments), made.quantized_weight())


def test_levels_that_depend_on_the_weights_are_refused() -> None:
    for weights in ("lsq", "post", "lsq+", "dsq", "daq"):
        check_adaptable("0", quantized(nn.Linear(9, 4), layers={"0": {"weights": weights}}))
    with pytest.raises(InputError, match="layer 0: adaptive rounding needs weights whose levels"):
        check_adaptable(
            "0", quantized(nn.Linear(9, 4), layers={"0": {"weights": "dorefa", "bits": 4}})
        )
