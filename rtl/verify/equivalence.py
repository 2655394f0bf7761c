"""Whether two circuits give the same results for ever, for all that they may be given.

The question becomes an and-inverter graph, which ABC's ``dprove`` decides. It looks for signals of
the two circuits that are equal in every state reached, and proves them by induction all together
(van Eijk, Sequential equivalence checking based on structural similarities, 2000): registers that
a difference cannot reach, and what is selected where they can differ and do not matter.
"""

from __future__ import annotations

import re
from pathlib import Path

from rtl.design import VALID_OUT, Design, Direction
from rtl.tools import ToolTimeoutError, run_abc, run_yosys
from rtl.verify.legal import LEGAL, legal_monitor
from rtl.verify.proofs import Answer

__all__ = ["EQUIVALENCE_TIMEOUT_S", "compare", "to_gates"]

EQUIVALENCE_TIMEOUT_S = 120
"""A comparison that takes longer is undecided."""

_PAIR = "pair"
# Registers without an initial value begin at 0; the claim begins at a reset.
_TO_GATES = """
techmap
opt_clean
setundef -undriven -zero
setundef -init -zero
dfflegalize -cell $_DFF_P_ 01
simplemap
aigmap
opt_clean
"""
_VERDICT = re.compile(r"^Networks are (not )?equivalent\.", re.IGNORECASE | re.MULTILINE)


def to_gates(module: str, *, folder: Path) -> None:
    """Turn the flat module of that name and file, Verilog, into gates, for `compare` to read.

    Both circuits become gates before they meet and before anything is known of their inputs: what
    is written alike is then made of the same gates.
    """
    script = f"read_verilog {module}.v\nhierarchy -check -top {module}\nproc\nmemory_map\n"
    run_yosys(f"{script}{_TO_GATES}write_rtlil {module}.il\n", folder=folder)


def compare(design: Design, first: str, second: str, *, connect: str = "", folder: Path) -> Answer:
    """Whether two circuits with the design's ports have equal results, from a reset and for ever.

    Both get the same operations: any that the design may be given (`legal_monitor`), with anything
    in idle cycles, and resets at any time. ``valid_out`` must be equal in every cycle, and the
    outputs where it is 1.

    Parameters
    ----------
    design : Design
        Whose ports and rules the circuits have.
    first, second : str
        Modules that `to_gates` has written to the folder.
    connect : str
        Verilog of more connections of the second one: ``, .number(3)``.
    folder : Path
        For what the tools read and write.

    Returns
    -------
    Answer
        Proven; refuted, where there are operations that tell the two apart; or unknown, where time
        ran out.

    Raises
    ------
    ToolError
        If Yosys or ABC fails.
    """
    text = _pair(design, first, second, connect) + legal_monitor(design)
    (folder / f"{_PAIR}.v").write_text(text, encoding="utf-8")
    graph = (
        f"read_rtlil {first}.il\nread_rtlil {second}.il\nread_verilog {_PAIR}.v\n"
        f"hierarchy -check -top {_PAIR}\nproc\nflatten\n{_TO_GATES}write_aiger -zinit {_PAIR}.aig\n"
    )
    try:
        run_yosys(graph, folder=folder, timeout_s=EQUIVALENCE_TIMEOUT_S)
        script = f"read_aiger {_PAIR}.aig; strash; dprove"
        log = run_abc(script, folder=folder, timeout_s=EQUIVALENCE_TIMEOUT_S)
    except ToolTimeoutError:
        return Answer.UNKNOWN
    said = _VERDICT.search(log)
    if said is None:
        return Answer.UNKNOWN
    return Answer.REFUTED if said[1] else Answer.PROVEN


def _pair(design: Design, first: str, second: str, connect: str) -> str:
    """Verilog of both side by side; ``wrong`` where a result differs and all was legal so far."""
    inputs = [port for port in design.ports if port.direction is Direction.IN]
    outputs = [VALID_OUT, *design.outputs]
    shared = ", ".join([".clk(clk), .rst(rst)", *(f".{p.name}({p.name})" for p in inputs)])
    sides = {"a": (first, ""), "b": (second, connect)}
    wires = [f"  wire [{p.width - 1}:0] {side}_{p.name};" for p in outputs for side in sides]
    units = [
        f"  {module} {side} ({shared}{more}, "
        + ", ".join(f".{p.name}({side}_{p.name})" for p in outputs)
        + ");"
        for side, (module, more) in sides.items()
    ]
    differs = " || ".join(f"a_{port.name} != b_{port.name}" for port in design.outputs)
    valid = VALID_OUT.name
    lines = [
        f"module {_PAIR}(input clk, input rst, output wrong,",
        "  " + ", ".join(f"input [{p.width - 1}:0] {p.name}" for p in inputs) + ");",
        *wires,
        *units,
        "  wire monitor_legal;",
        f"  {LEGAL} monitor ({shared}, .legal(monitor_legal));",
        "  reg monitor_begun = 0;",
        "  always @(posedge clk) monitor_begun <= monitor_begun || rst;",
        f"  wire monitor_differs = a_{valid} != b_{valid} || a_{valid} && ({differs});",
        "  assign wrong = monitor_begun && monitor_legal && monitor_differs;",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"
