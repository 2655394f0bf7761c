"""Rounding in compiled loops and with PyTorch's own operations: the same numbers."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from asq_hw.cli.app import app
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import APOT, POST, POT
from asq_hw.train.compiled import fake_quantize
from asq_hw.train.compiled.rounding import CompiledRounding
from asq_hw.train.quantizers.levels import level_table, table_of
from asq_hw.train.quantizers.rounding import round_to_levels, round_uniform

ROOT = Path(__file__).parents[3]
BOUNDS = (-8, 7)
LOOPS = ("round_uniform", "uniform_gradients", "round_to_levels", "level_gradients")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The loops that have been called."""
    names: list[str] = []

    def watched(name: str) -> Callable[..., None]:
        loop = getattr(fake_quantize, name)

        def call(*arguments: Any) -> None:
            names.append(name)
            loop(*arguments)

        return call

    fake_quantize.compile_loops()
    monkeypatch.setattr(fake_quantize, "compile_loops", lambda: None)
    for name in LOOPS:
        monkeypatch.setattr(fake_quantize, name, watched(name))
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


def to_integers(x: Tensor, step: Tensor, **options: Any) -> Tensor:
    return round_uniform(x, step, *BOUNDS, **options)


def both(function: Any, *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    return outcome(function, *inputs), outcome(partial(function, loops=CompiledRounding()), *inputs)


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
    assert_same(*both(to_integers, x, step))
    assert calls == ["round_uniform", "uniform_gradients"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(5, 6), (7, 8, 80, 81)])
def test_each_samples_step_is_the_same(
    calls: list[str], shape: tuple[int, ...], threads: int
) -> None:
    x, step = leaf(drawn(*shape)), leaf(torch.tensor(0.125))
    beta = leaf(drawn(shape[0], seed=5).abs() + 0.5)
    floor = torch.tensor(0.25)  # acts in the step's place

    def rounded(x: Tensor, step: Tensor, beta: Tensor, **options: Any) -> Tensor:
        options |= {"beta": beta, "floor": floor, "gradient_factor": 0.5}
        return round_uniform(x, step, *BOUNDS, **options)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(*both(rounded, x, step, beta))
    finally:
        torch.set_num_threads(before)
    assert calls == ["round_uniform", "uniform_gradients"]


@pytest.mark.parametrize(
    "grid",
    [
        Grid(scheme=APOT, bits=4),
        *(
            Grid(scheme=scheme, bits=4, encoding=encoding)
            for scheme in (POT, POST)
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
    plain, compiled = both(partial(round_to_levels, table=table), leaf(w), alpha)
    assert calls == ["round_to_levels", "level_gradients"]
    for wanted, found in zip(plain[:2], compiled[:2], strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
    w[0, 0] = 0
    assert_same(*both(partial(round_to_levels, table=table), leaf(w), alpha))


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
    plain, compiled = both(to_integers, leaf(x), leaf(step))
    assert all(torch.equal(*pair) for pair in zip(plain, compiled, strict=True))
    assert calls == []


def test_more_levels_than_are_worth_comparing_are_looked_up(calls: list[str]) -> None:
    table, w, alpha = table_of(torch.linspace(-1, 1, 65)), leaf(drawn(4, 50)), leaf(torch.ones(()))
    plain, compiled = both(partial(round_to_levels, table=table), w, alpha)
    assert all(torch.equal(*pair) for pair in zip(plain, compiled, strict=True))
    assert calls == []


def test_a_gradient_that_lies_otherwise_is_left_to_pytorch(calls: list[str]) -> None:
    x, step = leaf(drawn(4, 6)), leaf(torch.tensor(0.1))
    gradient = drawn(6, 4, seed=7).t()
    found = []
    for loops in (None, CompiledRounding()):
        rounded = to_integers(x, step, loops=loops)
        found.append(torch.autograd.grad(rounded, (x, step), gradient))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert calls == ["round_uniform"]


def train(recipe: str, folder: Path) -> None:
    changes = [part for change in ("epochs=1", "training_images=64") for part in ("--set", change)]
    arguments = ["train", "--recipe", recipe, "--output", str(folder), *changes]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output


def test_the_command_train_uses_them(calls: list[str], tmp_path: Path) -> None:
    train("digits-asq-post-w4a4", tmp_path / "run")
    assert set(calls) == set(LOOPS)


def test_a_training_without_quantizers_does_not_load_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(fake_quantize, "compile_loops", lambda: loaded.append("loops"))
    train("digits-float", tmp_path / "run")
    assert loaded == []


WITHOUT_CACHE = """
import sys
from numba.core.caching import CacheImpl
CacheImpl._locator_classes = []  # no folder that could be written to
from asq_hw.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_machine_without_a_place_for_a_cache_trains(tmp_path: Path) -> None:
    changes = ["--set", "epochs=1", "--set", "training_images=64"]
    arguments = ["train", "--recipe", "digits-asq-post-w4a4", "-o", str(tmp_path), *changes]
    command = [sys.executable, "-c", WITHOUT_CACHE, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "last.pt").exists()
