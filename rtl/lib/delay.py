"""Registers and delay lines."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value

__all__ = ["delay", "delay_line", "register"]


def register(m: Module, value: Value, name: str) -> Signal:
    """`value` of the cycle before; 0 in the first cycle and after a reset.

    Latency is 1 cycle, throughput a value each cycle.
    """
    later = Signal(value.shape(), name=name)
    m.d.sync += later.eq(value)
    return later


def delay_line(m: Module, value: Value, cycles: int, name: str, *, first: int = 1) -> list[Value]:
    """`value` of 0, 1, ... `cycles` cycles ago; 0 before the first cycle and after a reset.

    Latency is the index, throughput a value each cycle.

    Parameters
    ----------
    m : Module
        Where the registers are.
    value : Value
        What is delayed, of any shape.
    cycles : int
        Registers in a row; 0 for none.
    name : str
        Beginning of the registers' names; a number follows.
    first : int
        The first register's number.
    """
    values: list[Value] = [value]
    for number in range(first, first + cycles):
        values.append(register(m, values[-1], f"{name}{number}"))
    return values


def delay(m: Module, value: Value, cycles: int, name: str, *, first: int = 1) -> Value:
    """`value` of `cycles` cycles ago: the end of a `delay_line`.

    Parameters are those of `delay_line`.
    """
    return delay_line(m, value, cycles, name, first=first)[-1]
