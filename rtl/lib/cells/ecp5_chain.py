"""Chains of ECP5's carry cells as circuits."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value

__all__ = ["chain"]


def chain(
    m: Module, table: int, inputs: tuple[Value, Value, Value, Value | None], carry: Value, name: str
) -> Value:
    """The sum's bits of cells that have the same table at each bit.

    Parameters
    ----------
    m : Module
        Where the cells are.
    table : int
        Contents of the look-up tables, 16 bits.
    inputs : tuple of Value
        Words for the inputs A, B, C and D; None for a D of ones.
    carry : Value
        Into the lowest cell.
    name : str
        Beginning of the cells' names.
    """
    width = len(inputs[0])
    words = [Const(-1, width) if word is None else word for word in inputs]
    total = Signal(width + width % 2, name=name)
    for low in range(0, width, 2):
        pins = {
            f"i_{pin}{half}": word[low + half] if low + half < width else Const(0, 1)
            for half in range(2)
            for pin, word in zip("ABCD", words, strict=True)
        }
        carry_out = Signal(name=f"{name}_carry{low + 2}")
        m.submodules[f"{name}_cell{low}"] = Instance(
            "CCU2C",
            p_INIT0=Const(table, 16),
            p_INIT1=Const(table, 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            **pins,
            i_CIN=carry,
            o_S0=total[low],
            o_S1=total[low + 1],
            o_COUT=carry_out,
        )
        carry = carry_out
    return Cat(total[place] for place in range(width))
