"""A feature's place among thresholds in tables: bisection, one comparison in each stage."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import memory

__all__ = ["bisect", "numbers_in"]


def numbers_in(stage: int, bits: int) -> list[int]:
    """Which thresholds, counted from 1 up to ``2**bits - 1``, a stage's table holds, in order."""
    return [(2 * place + 1) << (bits - stage - 1) for place in range(1 << stage)]


def bisect(
    m: Module, tables: Sequence[memory.Memory], feature: Value, valid: Value
) -> tuple[Value, Value]:
    """How many thresholds a feature reaches, and whether that is valid, a cycle for each table.

    Parameters
    ----------
    m : Module
        Where it is found.
    tables : sequence of Memory
        One for each stage: 1, 2, 4, ... thresholds, as `numbers_in` says.
    feature, valid : Value
        What comes in.
    """
    found: Value = Const(0, 0)
    for stage, table in enumerate(tables):
        port = table.read_port(domain="comb")
        if stage:
            m.d.comb += port.addr.eq(found)
        reached = feature >= port.data
        later = Signal(stage + 1, name=f"found{stage + 1}", reset_less=True)
        shape = feature.shape()
        later_feature = Signal(shape, name=f"feature{stage + 1}", reset_less=True)
        later_valid = Signal(name=f"valid{stage + 1}")
        m.d.sync += [
            later.eq(Cat(reached, found)),
            later_feature.eq(feature),
            later_valid.eq(valid),
        ]
        feature, found, valid = later_feature, later, later_valid
    return found, valid
