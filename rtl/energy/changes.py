"""How often each net of a netlist changes between 0 and 1, from a simulator's record (VCD)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rtl.tools import ToolError

__all__ = ["count_changes"]

_HEADER_END = b"$enddefinitions"
_LONGEST_CODE = 4
"""Characters that stand for a name in the record: enough for 78 million names."""


def count_changes(record: bytes, nets: Mapping[str, list[int | str]]) -> Mapping[int, int]:
    """Changes of each net, by its number; what comes from or goes to X or Z is none.

    Parameters
    ----------
    record : bytes
        What the simulator wrote.
    nets : mapping of list
        Bits of each name in the record, the lowest first.

    Raises
    ------
    ToolError
        If a net is not in the record.
    """
    header, _, body = record.partition(_HEADER_END)
    places = _places(header.decode(errors="replace").splitlines(), nets)
    recorded = {number for numbers in places.values() for number in numbers}
    missing = [name for name, bits in nets.items() if not recorded.issuperset(_numbers(bits))]
    if missing:
        raise ToolError(f"the record of changes lacks {missing[0]} and {len(missing) - 1} others")
    if max(map(len, places), default=0) > _LONGEST_CODE:
        raise ToolError(f"the record of changes has a code of more than {_LONGEST_CODE} characters")
    bits, vectors = _lines(body)
    changes = _of_vectors(vectors, places)
    for code, times in _of_bits(*bits).items():
        for number in places.get(code, []):
            if number >= 0:
                changes[number] += times
    return changes


def _lines(
    body: bytes,
) -> tuple[tuple[NDArray[np.uint32], NDArray[np.uint8]], list[tuple[str, str]]]:
    """Codes and values of the lines for one bit, in their order; values and codes of the others."""
    text = np.frombuffer(body + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    first = text[starts]
    wide = first == ord("b")
    vectors = [
        (value, code)
        for start, end in zip(starts[wide].tolist(), ends[wide].tolist(), strict=True)
        for value, code in [body[start + 1 : end].decode().split()]
    ]
    single = np.isin(first, np.frombuffer(b"01xz", dtype=np.uint8))
    starts, ends = starts[single], ends[single]
    codes = np.zeros(len(starts), dtype=np.uint32)
    for place in range(_LONGEST_CODE):
        at = starts + 1 + place
        inside = at < ends
        codes[inside] |= text[at[inside]].astype(np.uint32) << np.uint32(8 * place)
    return (codes, first[single]), vectors


def _of_bits(codes: NDArray[np.uint32], values: NDArray[np.uint8]) -> dict[str, int]:
    """Changes between 0 and 1 of each code: of neighbours, once each code's lines are together."""
    order = np.argsort(codes, kind="stable")
    codes, values = codes[order], values[order].astype(np.int64)
    same = codes[1:] == codes[:-1]
    changed = same & (values[1:] + values[:-1] == ord("0") + ord("1"))
    found, counts = np.unique(codes[1:][changed], return_counts=True)
    return {
        code.to_bytes(_LONGEST_CODE, "little").rstrip(b"\0").decode(): times
        for code, times in zip(found.tolist(), counts.tolist(), strict=True)
    }


def _of_vectors(
    lines: Sequence[tuple[str, str]], places: Mapping[str, Sequence[int]]
) -> Counter[int]:
    before: dict[int, str] = {}
    changes: Counter[int] = Counter()
    for bits, code in lines:
        numbers = places.get(code)
        if numbers is None:
            continue
        filled = bits.rjust(len(numbers), bits[0] if bits[0] in "xz" else "0")
        for number, bit in zip(numbers, reversed(filled), strict=True):
            if number < 0:
                continue
            if {before.get(number), bit} == {"0", "1"}:
                changes[number] += 1
            before[number] = bit
    return changes


def _numbers(bits: list[int | str]) -> set[int]:
    return {bit for bit in bits if isinstance(bit, int)}


def _places(lines: Iterable[str], nets: Mapping[str, list[int | str]]) -> dict[str, list[int]]:
    """Nets of each of the record's codes, the lowest bit first; -1 for one counted elsewhere."""
    places: dict[str, list[int]] = {}
    taken: set[int] = set()
    for line in lines:
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
