"""A unit with one of its words one bit too narrow: what a width that was chosen wrong would do.

Every data input and every register that is wider than a bit can lose its highest bit: what reads
it then sees the next lower bit in its place (signed) or a 0. All variants stand in one module,
where a number selects one of them, as mutants do (`rtl.verify.mutation`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rtl.design import Design
from rtl.tools import run_yosys

__all__ = ["Word", "narrowed"]

_REGISTER = re.compile(
    r"^  cell \$(?:dff|dffe|sdff|sdffe|sdffce) \S+\n(?:    .*\n)*?  end\n", re.MULTILINE
)
_WIDTH = re.compile(r"^    parameter \\WIDTH (\d+)$", re.MULTILINE)
_OUTPUT = re.compile(r"^    connect \\Q (.*)$", re.MULTILINE)
_WIRE = re.compile(r"^  wire (.*?)(\\\S+|\$\S+)$", re.MULTILINE)
_NAME = re.compile(r"[\\$][^\s{}]+")
_LAST_PORT = 9999
_CELLS = """\
  cell $eq \\narrow_eq{number}
    parameter \\A_SIGNED 0
    parameter \\B_SIGNED 0
    parameter \\A_WIDTH {bits}
    parameter \\B_WIDTH {bits}
    parameter \\Y_WIDTH 1
    connect \\A \\{select}
    connect \\B {bits}'{code}
    connect \\Y \\narrow_on{number}
  end
  cell $mux \\narrow_mux{number}
    parameter \\WIDTH 1
    connect \\A {full} [{high}]
    connect \\B {instead}
    connect \\S \\narrow_on{number}
    connect \\Y \\narrow_top{number}
  end
  connect {seen} {{ \\narrow_top{number} {full} [{low}:0] }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """An input or a register: its name, whether it is an input, and its width."""

    name: str
    is_input: bool
    width: int


def narrowed(
    design: Design, flat: str, module: str, select: tuple[str, int], folder: Path
) -> list[Word]:
    """Write ``MODULE.v`` in `folder`, a module with every variant; number 1 is the first word's.

    Parameters
    ----------
    design : Design
        The unit.
    flat : str
        Yosys commands that read the unit's Verilog and flatten it.
    module : str
        Name of the module that is made.
    select : tuple of str and int
        Name and width of the input that selects a variant; 0 selects none.
    folder : Path
        Where ``unit.v`` stands.
    """
    run_yosys(
        f"{flat}setattr -unset init w:*\nwrite_rtlil flat.il\n",
        folder=folder,
    )
    text = (folder / "flat.il").read_text(encoding="utf-8")
    variants = _Variants(select)
    text = _narrow_inputs(design, text, variants)
    text = _narrow_registers(text, variants)
    first = text.index("\n", text.index("\nmodule ") + 1) + 1
    last = text.rindex("end")
    wires, cells = "".join(variants.wires), "".join(variants.cells)
    made = text[:first] + wires + text[first:last] + cells + text[last:]
    (folder / "narrow.il").write_text(made, encoding="utf-8")
    run_yosys(
        f"read_rtlil narrow.il\nrename {design.name} {module}\nhierarchy -top {module}\n"
        f"opt_clean\nwrite_verilog -noattr {module}.v\n",
        folder=folder,
    )
    return variants.words


class _Variants:
    """Words that can be narrowed, with the wires and cells that do it."""

    def __init__(self, select: tuple[str, int]) -> None:
        self.words: list[Word] = []
        self._select, self._bits = select
        self.wires = [f"  wire width {self._bits} input {_LAST_PORT} \\{self._select}\n"]
        self.cells: list[str] = []

    def add(self, word: Word, full: str, seen: str, *, signed: bool) -> None:
        """Make `seen` of `full`, its highest bit replaced where the word is selected."""
        self.words.append(word)
        number, high = len(self.words), word.width - 1
        self.wires += [f"  wire \\narrow_on{number}\n", f"  wire \\narrow_top{number}\n"]
        self.cells.append(
            _CELLS.format(
                number=number,
                select=self._select,
                bits=self._bits,
                code=f"{number:0{self._bits}b}",
                full=full,
                seen=seen,
                high=high,
                low=high - 1,
                instead=f"{full} [{high - 1}]" if signed else "1'0",
            )
        )

    def wire(self, name: str, width: int) -> None:
        """Declare a wire."""
        self.wires.append(f"  wire width {width} {name}\n")


def _narrow_inputs(design: Design, text: str, variants: _Variants) -> str:
    """Let every reader of a data input see a copy of it that can be narrowed."""
    for port in design.inputs:
        if port.width == 1:
            continue
        name, copy = f"\\{port.name}", f"\\{port.name}_narrow"
        head, mark, body = text.partition("\n  cell ")
        # Wires are declared above the first cell; what stands below reads the copy.
        reader = copy.replace("\\", r"\\")
        text = head + mark + re.sub(rf"{re.escape(name)}(?=[\s}}])", reader, body)
        variants.wire(copy, port.width)
        word = Word(name=port.name, is_input=True, width=port.width)
        variants.add(word, name, copy, signed=port.signed)
    return text


def _narrow_registers(text: str, variants: _Variants) -> str:
    """Let every register drive a wire of its own, which reaches its readers narrowed."""
    signed = {found[2] for found in _WIRE.finditer(text) if "signed" in found[1].split()}

    def change(found: re.Match[str]) -> str:
        cell = found[0]
        width, output = _WIDTH.search(cell), _OUTPUT.search(cell)
        assert width is not None and output is not None
        target = output[1]
        name = _NAME.search(target)
        assert name is not None
        if int(width[1]) == 1:
            return cell
        full = f"\\narrow_full{len(variants.words) + 1}"
        variants.wire(full, int(width[1]))
        word = Word(name=name[0].lstrip("\\"), is_input=False, width=int(width[1]))
        variants.add(word, full, target, signed=name[0] in signed)
        return cell.replace(f"connect \\Q {target}\n", f"connect \\Q {full}\n")

    return _REGISTER.sub(change, text)
