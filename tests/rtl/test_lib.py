"""The hardware library: every value, against integer arithmetic written in another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import floor

import pytest
from amaranth.hdl import Module, Shape, Signal, Value, signed, unsigned
from amaranth.sim import Simulator

from rtl.lib.arithmetic import clamp, round_half_up, saturate
from rtl.lib.delay import delay, delay_line, register

SHAPES = [signed(6), unsigned(6)]


def values_of(shape: Shape) -> range:
    half = 1 << (shape.width - 1)
    return range(-half, half) if shape.signed else range(2 * half)


def answers(shape: Shape, circuit: Callable[[Value], Value]) -> list[int]:
    """What a circuit without registers gives for every value of the shape."""
    m = Module()
    given = Signal(shape)
    made = circuit(given)
    result = Signal(made.shape())
    m.d.comb += result.eq(made)
    got: list[int] = []

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for value in values_of(shape):
            ctx.set(given, value)
            got.append(ctx.get(result))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return got


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@pytest.mark.parametrize("shift", [0, 1, 2, 5, 6, 9])
def test_ties_go_up(shape: Shape, shift: int) -> None:
    exact = [floor(Fraction(value, 1 << shift) + Fraction(1, 2)) for value in values_of(shape)]
    assert answers(shape, lambda value: round_half_up(value, shift)) == exact


def test_ties_by_hand() -> None:
    by_value = dict(
        zip(values_of(signed(4)), answers(signed(4), lambda v: round_half_up(v, 1)), strict=True)
    )
    assert [by_value[value] for value in (-3, -2, -1, 0, 1, 3)] == [-1, -1, 0, 0, 1, 2]


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@pytest.mark.parametrize(
    ("low", "high"), [(None, None), (-5, None), (None, 9), (-5, 9), (3, 3), (-200, 200)]
)
def test_values_beyond_a_bound_become_the_bound(
    shape: Shape, low: int | None, high: int | None
) -> None:
    nearest = [
        sorted((-999 if low is None else low, value, 999 if high is None else high))[1]
        for value in values_of(shape)
    ]
    assert answers(shape, lambda value: clamp(value, low=low, high=high)) == nearest


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_saturation_is_to_two_s_complement(shape: Shape) -> None:
    for bits in (2, 4, 6, 7):
        ends = -(2**bits) // 2, 2**bits // 2 - 1
        wanted = [sorted((*ends, value))[1] for value in values_of(shape)]
        assert answers(shape, lambda value, bits=bits: saturate(value, bits)) == wanted


def later(build: Callable[[Module, Value], Sequence[Value]], count: int) -> list[list[int]]:
    """What a circuit's outputs are in each cycle while 1, 2, 3, ... come in."""
    m = Module()
    given = Signal(signed(8))
    values = build(m, given)
    outputs = [Signal(value.shape()) for value in values]
    m.d.comb += [output.eq(value) for output, value in zip(outputs, values, strict=True)]
    got: list[list[int]] = []

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for number in range(1, count + 1):
            ctx.set(given, -number)
            got.append([ctx.get(output) for output in outputs])
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return got


def test_a_delay_line_holds_the_last_values_and_begins_with_zeros() -> None:
    seen = later(lambda m, value: delay_line(m, value, 3, "x"), 5)
    assert seen == [
        [-1, 0, 0, 0],
        [-2, -1, 0, 0],
        [-3, -2, -1, 0],
        [-4, -3, -2, -1],
        [-5, -4, -3, -2],
    ]


def test_a_delay_is_the_end_of_its_line() -> None:
    seen = later(lambda m, value: [delay(m, value, 2, "x"), delay(m, value, 0, "y")], 4)
    assert seen == [[0, -1], [0, -2], [-1, -3], [-2, -4]]
    assert later(lambda m, value: [register(m, value, "x")], 2) == [[0], [-1]]


def test_registers_are_numbered_from_where_one_says() -> None:
    names: list[str] = []

    def build(m: Module, value: Value) -> list[Value]:
        line = delay_line(m, value, 2, "last", first=0)
        names.extend(each.name for each in line if isinstance(each, Signal))
        return line

    later(build, 1)
    assert names == ["given", "last0", "last1"]
