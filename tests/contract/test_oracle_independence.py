"""The oracle shares no arithmetic with the simulator: a fault of one shows in the other."""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from asq_hw import oracle
from asq_hw.conformance.models import EXAMPLES, Example
from asq_hw.network import activation, bounds, graph, log_linear, shared_exponent
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import weighted, windows
from asq_hw.numbers import fixedpoint, grids, odd_codes, products
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.grids import _levels as original_levels
from asq_hw.numbers.levels import Level
from asq_hw.numbers.products import Product
from asq_hw.numbers.schemes import (
    UNIFORM,
    GridShape,
    apot,
    exponential,
    post,
    pot,
    symmetric,
    uniform,
)
from asq_hw.numbers.schemes.exponential import exponential_levels
from asq_hw.sim import TraceBatch, simulate
from tests.helpers.networks import LAYER_KINDS, random_images, random_network

SHARED = (
    activation,
    apot,
    bounds,
    exponential,
    fixedpoint,
    graph,
    grids,
    log_linear,
    odd_codes,
    post,
    pot,
    products,
    shared_exponent,
    symmetric,
    uniform,
    weighted,
    windows,
)
"""Modules that the simulator takes arithmetic from."""


def replace_everywhere(
    patch: pytest.MonkeyPatch, module: ModuleType, name: str, replacement: object
) -> None:
    """Put `replacement` in the place of a function, under every name that a module has for it."""
    original = getattr(module, name)
    places = [
        (loaded, key)
        for loaded in list(sys.modules.values())
        if (getattr(loaded, "__name__", "") or "").startswith("asq_hw")
        for key, value in list(vars(loaded).items())
        if value is original
    ]
    assert (module, name) in places
    for loaded, key in places:
        patch.setattr(loaded, key, replacement)


# Nothing shared is called


def _poison(*_: object, **__: object) -> Any:
    raise AssertionError("the oracle called shared arithmetic")


def _poison_everything(patch: pytest.MonkeyPatch) -> int:
    """Let every function, method and property of the shared modules fail; returns how many."""
    count = 0
    for module in SHARED:
        for name, value in list(vars(module).items()):
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(value) or isinstance(value, functools._lru_cache_wrapper):
                replace_everywhere(patch, module, name, _poison)
                count += 1
            elif inspect.isclass(value):
                for key, member in list(vars(value).items()):
                    # Names of maps are no arithmetic.
                    plain = not key.startswith("__") and key != "source_names"
                    if plain and inspect.isfunction(member):
                        patch.setattr(value, key, _poison)
                        count += 1
                    elif plain and isinstance(member, property):
                        patch.setattr(value, key, property(_poison))
                        count += 1
    # Whether a network may be run is not the oracle's to say.
    patch.setattr(IntegerNetwork, "check_product", lambda *_: None)
    return count


def test_the_oracle_runs_with_all_shared_arithmetic_gone() -> None:
    cases = []
    for seed in range(12):
        net = random_network(seed, [*LAYER_KINDS[seed:], *LAYER_KINDS[:seed]][:6])
        images = random_images(net, 2, seed)
        cases.append((net, images, oracle.trace(net, images).tensors()))
    with pytest.MonkeyPatch.context() as patch:
        assert _poison_everything(patch) > 60
        with pytest.raises(AssertionError, match="shared arithmetic"):
            cases[0][0].feature_maps()
        for net, images, expected in cases:
            made = oracle.trace(net, images).tensors()
            assert list(made) == list(expected)
            assert all(np.array_equal(made[name], expected[name]) for name in made)


# Mutants in shared arithmetic


def _first_difference(example: Example) -> str | None:
    """The first tensor in which simulator and oracle differ."""
    batches: list[TraceBatch] = []
    expected = oracle.trace(example.network, example.images, example.product).tensors()
    simulate(
        example.network, example.images, product=example.product, threads=1, trace=batches.append
    )
    for name, values in expected.items():
        made = np.concatenate([batch.tensors[name] for batch in batches])
        if made.shape != values.shape or not np.array_equal(made, values):
            return name
    return None


@pytest.fixture
def fresh_grids() -> Iterator[None]:
    """No level is remembered from before a mutant, or after it."""
    for cached in (grids._levels, grids._common_shift):
        cached.cache_clear()
    yield
    for cached in (grids._levels, grids._common_shift):
        cached.cache_clear()


def apot_exponents_in_blocks(magnitude_bits: int) -> list[list[int]]:
    pairs, single = divmod(magnitude_bits, 2)
    middle = [2 * pairs + 1] if single else []
    left = [e for e in range(1, 3 * pairs + single + 1) if e not in middle]
    terms = [left[3 * term : 3 * term + 3] for term in range(pairs)]
    return [*terms, middle] if single else terms


def sqrt2_rounded_down(value: int, fraction_bits: int) -> int:
    magnitude = math.isqrt(2 * value * value << (2 * fraction_bits))
    return magnitude if value >= 0 else -magnitude


def sqrt2_rounded_to_plus_infinity(value: int, fraction_bits: int) -> int:
    floor = math.isqrt(2 * value * value << (2 * fraction_bits))
    return floor + 1 if value > 0 else -floor


def powers_rounded_down() -> tuple[int, ...]:
    return tuple(math.floor(2 ** (15 + f / 256)) for f in range(256))


def exponent_of_one_bit_less(self: activation.ActivationQuantizer) -> int:
    return self.step_fraction_bits + 2 - self.grid.bits + self.grid.signed


def odd_power_with_the_lower_shift(n: int) -> tuple[int, int, int]:
    return (1, 0, n // 2) if n % 2 == 0 else (0, 1, n // 2)


def negative_levels_first(shape: GridShape, power: exponential.Power) -> list[Level]:
    return [
        Level(code=level.code, even=-level.even, odd=-level.odd, shift=level.shift)
        for level in exponential_levels(shape, power)
    ]


@cache
def code_of_sign_and_magnitude(grid: Grid) -> tuple[Level, ...]:
    levels = original_levels(grid)
    if grid.scheme is not UNIFORM:
        return levels
    high = 1 << (grid.bits - 1)
    made = [
        Level(code=high | -level.even, even=level.even, odd=0, shift=level.shift)
        if -high < level.even < 0
        else level
        for level in levels
        if level.even > -high
    ]
    return (*made, Level(code=high, even=0, odd=0, shift=grid.bits - 1))


def one_window_less(size: int, kernel: int, stride: int, padding: int) -> int:
    return max(1, (size + 2 * padding - kernel - 1) // stride + 1)


def symmetric_range(bits: int, *, signed: bool = True) -> tuple[int, int]:
    high = (1 << (bits - 1)) - 1
    return (-high, high) if signed else (0, (1 << bits) - 1)


def weights_without_their_scale(self: Grid, level: Level) -> tuple[int, int]:
    scale = max(0, self.shift - level.shift - 1)
    return level.even << scale, level.odd << scale


def three_fraction_bits(self: Product, grid: Grid) -> int:
    if self.has_pair(grid):
        return 3
    return self.lut_fraction_bits if self.uses_lut(grid) else 0


def odd_codes_rounded_up(grid: Grid) -> tuple[int, int]:
    return -math.isqrt(2 * grid.minimum**2), math.isqrt(2 * grid.maximum**2) + 1


MUTANTS: dict[str, tuple[object, str, object]] = {
    "apot exponents dealt in blocks": (apot, "_exponents", apot_exponents_in_blocks),
    "sqrt2 entries rounded down": (fixedpoint, "sqrt2_times", sqrt2_rounded_down),
    "sqrt2 entries rounded up": (fixedpoint, "sqrt2_times", sqrt2_rounded_to_plus_infinity),
    "powers of two rounded down": (fixedpoint, "exp2_table", powers_rounded_down),
    "a shared exponent of one bit less": (
        activation.ActivationQuantizer,
        "exponent_shift",
        property(exponent_of_one_bit_less),
    ),
    "odd powers of post twice as large": (post, "_power", odd_power_with_the_lower_shift),
    "sign bit 1 for positive": (exponential, "exponential_levels", negative_levels_first),
    "sign and magnitude for uniform": (grids, "_levels", code_of_sign_and_magnitude),
    "pairs half as large": (Grid, "integer_pair", weights_without_their_scale),
    "activation codes from -Qp": (
        Grid,
        "minimum",
        property(lambda grid: -grid.maximum if grid.signed else 0),
    ),
    "unsigned activation codes end one lower": (
        Grid,
        "maximum",
        property(lambda grid: (1 << (grid.bits - grid.signed)) - 1 - (not grid.signed)),
    ),
    "saturation to a symmetric range": (fixedpoint, "integer_range", symmetric_range),
    "the last window left out": (windows, "window_positions", one_window_less),
    "odd codes that end one higher": (odd_codes, "odd_code_range", odd_codes_rounded_up),
    "three fraction bits of post-split": (Product, "fraction_bits", three_fraction_bits),
}


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.usefixtures("fresh_grids")
def test_a_mutant_in_shared_arithmetic_is_caught(mutant: str) -> None:
    owner, name, replacement = MUTANTS[mutant]
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(owner, ModuleType):
            replace_everywhere(patch, owner, name, replacement)
        else:
            patch.setattr(owner, name, replacement)
        assert any(_first_difference(example) for example in EXAMPLES), mutant


def test_without_a_mutant_nothing_differs() -> None:
    assert [_first_difference(example) for example in EXAMPLES] == [None] * len(EXAMPLES)
