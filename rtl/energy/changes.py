"""How often each net of a netlist changes between 0 and 1, from a simulator's record (VCD)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rtl.tools import ToolError

__all__ = ["count_changes"]

_HEADER_END = "$enddefinitions"


def count_changes(lines: Iterable[str], nets: Mapping[str, list[int | str]]) -> Mapping[int, int]:
    """Changes of each net, by its number; what comes from or goes to X or Z is none.

    Parameters
    ----------
    lines : iterable of str
        The record.
    nets : mapping of list
        Bits of each name in the record, the lowest first.

    Raises
    ------
    ToolError
        If a net is not in the record.
    """
    lines = iter(lines)
    places = _places(lines, nets)
    recorded = {number for numbers in places.values() for number in numbers}
    missing = [name for name, bits in nets.items() if not recorded.issuperset(_numbers(bits))]
    if missing:
        raise ToolError(f"the record of changes lacks {missing[0]} and {len(missing) - 1} others")
    before: dict[int, str] = {}
    changes: dict[int, int] = {}
    for line in lines:
        if line[:1] in "01xz":
            bits, code = line[0], line[1:].strip()
        elif line[:1] == "b":
            bits, code = line[1:].split()
        else:
            continue
        numbers = places.get(code)
        if numbers is None:
            continue
        filled = bits.rjust(len(numbers), bits[0] if bits[0] in "xz" else "0")
        for number, bit in zip(numbers, reversed(filled), strict=True):
            if number < 0:
                continue
            old = before.get(number)
            if old != bit:
                if old in ("0", "1") and bit in ("0", "1"):
                    changes[number] = changes.get(number, 0) + 1
                before[number] = bit
    return changes


def _numbers(bits: list[int | str]) -> set[int]:
    return {bit for bit in bits if isinstance(bit, int)}


def _places(lines: Iterable[str], nets: Mapping[str, list[int | str]]) -> dict[str, list[int]]:
    """Nets of each of the record's codes, the lowest bit first; -1 for one counted elsewhere."""
    places: dict[str, list[int]] = {}
    taken: set[int] = set()
    for line in lines:
        if line.startswith(_HEADER_END):
            break
        if not line.startswith("$var"):
            continue
        _, _, width, code, name, *rest = line.split()
        bits = nets.get(name.lstrip("\\"))
        if bits is None or code in places:
            continue
        if len(bits) != int(width):  # one bit of a name
            place = int(rest[0].strip("[]")) if rest and rest[0].startswith("[") else 0
            bits = bits[place : place + 1]
        numbers = [bit if isinstance(bit, int) and bit not in taken else -1 for bit in bits]
        taken.update(numbers)
        places[code] = numbers
    return places
