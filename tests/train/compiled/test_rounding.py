"""Training with compiled loops and with PyTorch's own operations: the same numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from asq_hw.acceleration import accelerated_training, compiled_loops
from asq_hw.cli.app import app
from asq_hw.numbers.grids import Encoding, Grid, Scheme
from asq_hw.train.compiled import rounding as loops
from asq_hw.train.compiled.fake_quantize import FakeQuantizeLoops
from asq_hw.train.quantizers.functions import round_to_levels, round_uniform
from asq_hw.train.quantizers.levels import level_table, table_of

BOUNDS = (-8, 7)
METHODS = ("round", "gradients", "round_to_levels", "level_gradients")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The loops that have been called."""
    names: list[str] = []

    def watched(name: str) -> Any:
        loop = getattr(FakeQuantizeLoops, name)

        def call(self: FakeQuantizeLoops, *arguments: Any) -> None:
            names.append(name)
            loop(self, *arguments)

        return call

    compiled_loops()  # their own calls, which compile
    monkeypatch.setattr(FakeQuantizeLoops, "_compile", lambda self: None)
    for name in METHODS:
        monkeypatch.setattr(FakeQuantizeLoops, name, watched(name))
    return names


def drawn(*shape: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)


def leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()


def outcome(function: Any, *inputs: Tensor) -> list[Tensor]:
    """The result and the gradients of a weighted sum of it."""
    result = function(*inputs)
    weighting = drawn(*result.shape, seed=7).to(result.dtype)
    if result.dim() == 4:
        weighting = weighting.to(memory_format=torch.channels_last)
    if result.is_contiguous():
        weighting = weighting.contiguous()
    return [result, *torch.autograd.grad(result, inputs, weighting)]


def both(function: Any, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    plain = outcome(function, *inputs)
    with accelerated_training():
        return plain, outcome(function, *inputs)


def assert_same(plain: list[Tensor], compiled: list[Tensor]) -> None:
    """The result and the input's gradient are the same bits, scales' sums are close."""
    for wanted, found in zip(plain[:2], compiled[:2], strict=True):
        assert found.stride() == wanted.stride()
        assert torch.equal(found, wanted)
    for wanted, found in zip(plain[2:], compiled[2:], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(), (4, 1, 1, 1)])
def test_rounding_is_the_same(
    calls: list[str], channels_last: bool, shape: tuple[int, ...]
) -> None:
    x = drawn(4, 3, 25, 31)
    x = leaf(x.to(memory_format=torch.channels_last) if channels_last else x)
    step = leaf(drawn(*shape, seed=5).abs() * 0.1 + 0.1)
    assert_same(*both(lambda x, step: round_uniform(x, step, *BOUNDS), x, step))
    assert calls == ["round", "gradients"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(5, 6), (7, 8, 80, 81)])
def test_each_samples_step_is_the_same(
    calls: list[str], shape: tuple[int, ...], threads: int
) -> None:
    x, step = leaf(drawn(*shape)), leaf(torch.tensor(0.125))
    beta = leaf(drawn(shape[0], seed=5).abs() + 0.5)
    floor = torch.tensor(0.25)  # acts in the step's place

    def rounded(x: Tensor, step: Tensor, beta: Tensor) -> Tensor:
        return round_uniform(x, step, *BOUNDS, beta=beta, floor=floor, gradient_factor=0.5)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(*both(rounded, x, step, beta))
    finally:
        torch.set_num_threads(before)
    assert calls == ["round", "gradients"]


@pytest.mark.parametrize(
    "grid",
    [
        Grid(scheme=Scheme.APOT, bits=4),
        *(
            Grid(scheme=scheme, bits=4, encoding=encoding)
            for scheme in (Scheme.POT, Scheme.POST)
            for encoding in Encoding
        ),
    ],
    ids=lambda grid: f"{grid.scheme} {grid.encoding}",
)
@pytest.mark.parametrize("shape", [(), (6, 1, 1, 1)])
def test_levels_are_the_same(calls: list[str], grid: Grid, shape: tuple[int, ...]) -> None:
    table = level_table(grid, torch.zeros(()))
    w = drawn(6, 40, 3, 3)
    w[0, 0].view(-1)[:3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    w[1, : len(table.midpoints), 0, 0] = table.midpoints  # ties
    alpha = leaf(torch.ones(shape))
    plain, compiled = both(lambda w, alpha: round_to_levels(w, alpha, table), leaf(w), alpha)
    assert calls == ["round_to_levels", "level_gradients"]
    for wanted, found in zip(plain[:2], compiled[:2], strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
    w[0, 0] = 0
    assert_same(*both(lambda w, alpha: round_to_levels(w, alpha, table), leaf(w), alpha))


@pytest.mark.parametrize(
    ("x", "step"),
    [
        (drawn(4, 5).double(), torch.tensor(0.1).double()),
        (drawn(4, 5).bfloat16(), torch.tensor(0.1)),
        (drawn(5, 4).t(), torch.tensor(0.1)),
        (drawn(4, 10)[:, ::2], torch.tensor(0.1)),
        (drawn(4, 5, 2, 2), torch.full((1, 5, 1, 1), 0.1)),
    ],
    ids=["float64", "bfloat16", "transposed", "with gaps", "steps of columns"],
)
def test_what_the_loops_cannot_do_is_left_to_pytorch(
    calls: list[str], x: Tensor, step: Tensor
) -> None:
    plain, compiled = both(lambda x, step: round_uniform(x, step, *BOUNDS), leaf(x), leaf(step))
    assert all(torch.equal(*pair) for pair in zip(plain, compiled, strict=True))
    assert calls == []


def test_more_levels_than_are_worth_comparing_are_looked_up(calls: list[str]) -> None:
    table, w, alpha = table_of(torch.linspace(-1, 1, 65)), leaf(drawn(4, 50)), leaf(torch.ones(()))
    plain, compiled = both(lambda w, alpha: round_to_levels(w, alpha, table), w, alpha)
    assert all(torch.equal(*pair) for pair in zip(plain, compiled, strict=True))
    assert calls == []


def test_a_gradient_that_lies_otherwise_is_left_to_pytorch(calls: list[str]) -> None:
    x, step = leaf(drawn(4, 6)), leaf(torch.tensor(0.1))
    gradient = drawn(6, 4, seed=7).t()
    found = []
    for loop in (None, compiled_loops()):
        with loops.use(loop):
            rounded = round_uniform(x, step, *BOUNDS)
            found.append(torch.autograd.grad(rounded, (x, step), gradient))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert calls == ["round"]


def test_the_loops_are_put_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), accelerated_training():
        raise ZeroDivisionError
    x, step = drawn(4, 5), torch.tensor(0.1)
    assert loops.rounded(x, step, BOUNDS) is None
    with accelerated_training():
        assert loops.rounded(x, step, BOUNDS) is not None


def train(recipe: str, folder: Path) -> None:
    changes = [part for change in ("epochs=1", "training_images=64") for part in ("--set", change)]
    arguments = ["train", "--recipe", recipe, "--output", str(folder), *changes]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output


def test_the_command_train_uses_them(calls: list[str], tmp_path: Path) -> None:
    train("digits-asq-post-w4a4", tmp_path / "run")
    assert set(calls) == set(METHODS)


def test_a_training_without_quantizers_does_not_load_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(FakeQuantizeLoops, "__init__", lambda self: loaded.append("loops"))
    train("digits-float", tmp_path / "run")
    assert loaded == []
