"""A design as Verilog that Vivado, Yosys, Verilator and Icarus read."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from amaranth.back import rtlil

from asq_hw import __version__
from rtl.design import Design, Direction, Port
from rtl.identifiers import check_identifier
from rtl.pace import pace_lines
from rtl.tools import produced, run_yosys

__all__ = ["WAIVERS", "cell_models", "header", "to_rtlil", "to_verilog", "whole_verilog"]

# Processes become registers and expressions, which reads better than Amaranth's own blocks, and
# Yosys' numbered names (_00_) replace its $-names. The circuit is not optimized beyond that.
_SCRIPT = """
read_verilog -lib cells.v
read_rtlil design.il
hierarchy -check -top {top}
proc -norom
memory_collect
opt_expr
opt_clean
opt_dff
opt_clean
attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy
write_verilog -noattr -simple-lhs design.v
"""
_MODULE = re.compile(r"^module \\(\S+)$", re.MULTILINE)
_INITIAL = re.compile(
    r"^(  reg(?: signed)?(?: \[\d+:\d+\])?) (\\\S+ |\w[\w$]*) = ([^;]+);$", re.MULTILINE
)
"""A register with its value at power-up, which is written as a block of its own instead: Verilator
warns of a value in a declaration."""

WAIVERS = {
    "WIDTH": "operands that are narrower than their result are extended, as Verilog defines it",
    "CASEOVERLAP": "a selector has one bit set: the order of its cases does not matter",
    "UNUSED": "names of the source are kept for waveforms, and a sum's carry may go nowhere",
    "DECLFILENAME": "the parts of a unit stand in the unit's file, so that one file is the unit",
}
"""What Verilator would warn of (``-Wall``) and why it may: written into the Verilog."""
_PORT = re.compile(r"^(  wire .*(?:input|output) )\d+( .*\\(\w+))$", re.MULTILINE)


def to_rtlil(design: Design) -> str:
    """Amaranth's RTLIL of the design, ports in the order of `Design.ports`."""
    top = check_identifier("a design's name", design.name)
    text = str(rtlil.convert(design.component(), name=top, emit_src=False))
    return _flat_names(_ordered_ports(text, design), top)


def to_verilog(design: Design) -> str:
    """Verilog-2001 of the design under a comment that names its parameters and ports.

    Where it is made of `Design.cells`, they are instances of modules that a chip's maker has, and
    whose function `cell_models` says.

    Raises
    ------
    MissingToolError
        If Yosys is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="asq-hw-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(to_rtlil(design), encoding="utf-8")
        (folder / "cells.v").write_text(cell_models(design), encoding="utf-8")
        run_yosys(_SCRIPT.format(top=design.name), folder=folder)
        text = produced(folder / "design.v", "Yosys").read_text(encoding="utf-8")
    body = re.sub(r"\A/\*.*?\*/\s*", "", text, flags=re.DOTALL)
    body = _INITIAL.sub(r"\1 \2;\n  initial \2 = \3;", body)
    return f"{header(design)}\n{_waivers('off')}\n`timescale 1ns / 1ps\n\n{body}\n{_waivers('on')}"


def cell_models(design: Design) -> str:
    """Verilog of what the cells in a design compute; empty where it is portable."""
    if design.cells is None:
        return ""
    return f"{_waivers('off')}\n`timescale 1ns / 1ps\n\n{design.cells.model}\n{_waivers('on')}"


def whole_verilog(design: Design) -> str:
    """`to_verilog`, and the modules that it has instances of."""
    return to_verilog(design) + cell_models(design)


def _waivers(switch: str) -> str:
    """Verilator's comments that turn what is waived off, each under its reason, or on again."""
    lines = []
    for code, reason in WAIVERS.items():
        lines += [f"// {code}: {reason}.\n"] if switch == "off" else []
        lines += [f"/* verilator lint_{switch} {code} */\n"]
    return "".join(lines)


def header(design: Design) -> str:
    """Header comment: what it is, made with which parameters, and what its ports mean."""
    lines = [
        f"{design.name}: {design.title}",
        "",
        f"Made by asq-hw {__version__} with",
        *([f"  layer = {json.dumps(design.layer)}"] if design.layer else []),
        *(f"  {name} = {_text(value)}" for name, value in design.parameters.items()),
        f"  digest = {design.digest}",
        "",
        f"One operation in a cycle with valid_in high; its result {_cycles(design.latency_cyc)}"
        " later with valid_out high.",
        *pace_lines(design.interval_cyc, design.pause),
        "",
        "  input  clk                         rising edge",
        "  input  rst                         synchronous, active high",
        *(_port_line(port) for port in design.ports),
    ]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines)


def _port_line(port: Port) -> str:
    way = "input " if port.direction is Direction.IN else "output"
    sign = "signed " if port.signed else ""
    size = f"{sign}[{port.width - 1}:0] " if port.width > 1 or port.signed else ""
    return f"  {way} {size + port.name:<27} {port.meaning}"


def _cycles(count: int) -> str:
    return f"{count} cycle" + ("s" if count != 1 else "")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _ordered_ports(text: str, design: Design) -> str:
    """Number the top module's ports from 1; Amaranth's number 0 makes Yosys misplace the first."""
    names = ["clk", "rst", *(port.name for port in design.ports)]
    order = {name: index for index, name in enumerate(names, start=1)}
    start = text.index(f"module \\{design.name}\n")
    end = text.find("\nmodule ", start)
    end = len(text) if end < 0 else end
    top = _PORT.sub(
        lambda m: f"{m[1]}{order[m[3]]}{m[2]}",
        text[start:end],
    )
    return text[:start] + top + text[end:]


def _flat_names(text: str, top: str) -> str:
    """Call the module of a part ``top_part``, where Amaranth's ``top.part`` needs escaping."""
    names = sorted(_MODULE.findall(text), key=len, reverse=True)
    taken: set[str] = {top}
    for name in names:
        if name == top:
            continue
        plain = re.sub(r"\W+", "_", name)
        while plain in taken:
            plain += "_"
        taken.add(plain)
        text = re.sub(rf"(?<=\\){re.escape(name)}(?=\s)", plain, text)
    return text
