"""Whether two circuits give the same results for ever, for all that they may be given.

The question becomes an and-inverter graph. What a difference cannot reach becomes one circuit
(`rtl.verify.sharing`), and often nothing is left then. Else a run of random operations tells the
two apart, or which registers may be equal in both, and it is proven that these keep each other
equal: by ABC, without what is equal and with wide registers that both have in common set free, so
that no multiplier is in the way; or by cases, of what matters only while a result is on its way
(`rtl.verify.induction`).
"""

from __future__ import annotations

import re
from collections.abc import Set
from pathlib import Path
from time import monotonic

from rtl.design import VALID_IN, VALID_OUT, Design, Direction
from rtl.tools import ToolTimeoutError, run_abc, run_yosys
from rtl.verify.aiger import Graph
from rtl.verify.guesses import Guesses, guessed
from rtl.verify.induction import assuming, holds_by_cases
from rtl.verify.legal import LEGAL, legal_monitor
from rtl.verify.proofs import Answer
from rtl.verify.sharing import data_of, relaxed, shared

__all__ = ["EQUIVALENCE_TIMEOUT_S", "Comparison", "to_gates"]

EQUIVALENCE_TIMEOUT_S = 300
"""A comparison that takes longer, all its attempts together, is undecided."""

_PAIR, _SIDES = "pair", ("a", "b")
_PREFIXES = ("a.", "b.")
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
_QUICK = "lcorr; scorr; pdr -T 5"
_DEEP = "lcorr; scorr; scorr -F 8"
"""An induction over more cycles: a difference may come back once and be gone."""
_ATTEMPT_S = 20
"""Of each of these: what they decide, they mostly decide in less than a second."""
_PROVEN_BY_PDR = re.compile(r"^Property proved\.", re.M)
_CONFLICTS = 5000
"""Of the solver, for one pair of registers, among those that 1000 did not decide."""
_DECIDE = f"strash; lcorr; lcorr -C {_CONFLICTS}; scorr; dprove"
_MOST_CONTROL_BITS = 8
"""A wider word of registers is data: what comes of it may be anything, in a first attempt."""
# In the second words where no register is left.
_SAID = {
    Answer.PROVEN: re.compile(r"^(?:Networks are equivalent\.|UNSATISFIABLE\b)", re.I | re.M),
    Answer.REFUTED: re.compile(r"^(?:Networks are not equivalent\.|SATISFIABLE\b)", re.I | re.M),
}


def to_gates(module: str, *, folder: Path) -> None:
    """Turn the module of that name and file, Verilog, into gates, for `Comparison` to read.

    It becomes gates before anything is known of its inputs, and once for both copies: what is alike
    in them is made of the same gates.
    """
    script = f"read_verilog {module}.v\nhierarchy -check -top {module}\nproc\nflatten\nmemory_map\n"
    run_yosys(f"{script}{_TO_GATES}write_rtlil {module}.il\n", folder=folder)


class Comparison:
    """Variants of a circuit with a design's ports, beside the one that has number 0.

    Both get the same operations: all that the design may be given (`legal_monitor`), with anything
    in idle cycles, and resets at any time.

    Parameters
    ----------
    design : Design
        Whose ports and rules the circuit has.
    module : str
        The circuit, which `to_gates` has written to the folder.
    select : tuple of str and int
        Name and width of its input that picks a variant.
    folder : Path
        For what the tools read and write.

    Raises
    ------
    ToolError
        If Yosys fails.
    """

    def __init__(
        self, design: Design, module: str, *, select: tuple[str, int], folder: Path
    ) -> None:
        self._select = select
        self._folder = folder
        text = _pair(design, module, select) + legal_monitor(design)
        (folder / f"{_PAIR}.v").write_text(text, encoding="utf-8")
        run_yosys(
            f"read_rtlil {module}.il\nread_verilog {_PAIR}.v\n"
            f"hierarchy -check -top {_PAIR}\nproc\nselect {_PAIR} {LEGAL}\n{_TO_GATES}"
            f"select -clear\nflatten\nopt_clean\nwrite_aiger -zinit -symbols {_PAIR}.aig\n",
            folder=folder,
        )
        self._graph = Graph.read((folder / f"{_PAIR}.aig").read_bytes())
        self._end_s = 0.0

    def answer(self, variant: int) -> Answer:
        """Whether a variant's results are those of number 0, from a reset and for ever.

        ``valid_out`` must be equal in every cycle, and the outputs where it is 1.

        Returns
        -------
        Answer
            Proven; refuted, where there are operations that tell the two apart; or unknown, where
            time ran out.

        Raises
        ------
        ToolError
            If ABC fails.
        """
        self._end_s = monotonic() + EQUIVALENCE_TIMEOUT_S
        name, bits = self._select
        constants = {
            f"{side}_{name}[{bit}]": number >> bit & 1
            for side, number in zip(_SIDES, (0, variant), strict=True)
            for bit in range(bits)
        }
        graph, common = shared(self._graph, _PREFIXES, constants)
        if graph.output == 0:
            return Answer.PROVEN
        guesses = guessed(graph, _PREFIXES, most_control_bits=_MOST_CONTROL_BITS)
        if guesses.is_wrong:
            return Answer.REFUTED
        if (
            self._keeps_equal(graph, common, guesses, _QUICK)
            or self._keeps_by_cases(graph, common)
            or self._keeps_equal(graph, common, guesses, _DEEP)
        ):
            return Answer.PROVEN
        log = self._said(graph, _DECIDE)
        said = [answer for answer, words in _SAID.items() if words.search(log)]
        return said[0] if len(said) == 1 else Answer.UNKNOWN

    def _keeps_equal(self, graph: Graph, common: Set[str], guesses: Guesses, attempt: str) -> bool:
        """Whether it is proven that what seems to be equal in both copies is, and the results are.

        First whatever the data that both have in common, then on the whole.
        """
        whole = relaxed(assuming(graph, guesses.relations), frozenset())
        simpler = relaxed(whole, data_of(common | guesses.equal, _MOST_CONTROL_BITS))
        return self._is_false(simpler, attempt) or self._is_false(whole, attempt)

    def _keeps_by_cases(self, graph: Graph, common: Set[str]) -> bool:
        """Whether both copies agree where it matters, whatever the data that both have."""
        simpler = relaxed(graph, data_of(common, _MOST_CONTROL_BITS))
        guesses = guessed(simpler, _PREFIXES, most_control_bits=_MOST_CONTROL_BITS)
        return not guesses.is_wrong and holds_by_cases(
            simpler, guesses.relations, goes_on=lambda: monotonic() < self._end_s
        )

    def _is_false(self, graph: Graph, attempt: str) -> bool:
        """Whether an attempt finds, in its time, that the output is 0 for ever."""
        if graph.output <= 1:
            return graph.output == 0
        reduced = self._folder / "reduced.aig"
        reduced.unlink(missing_ok=True)
        log = self._said(graph, f"strash; {attempt}; write_aiger {reduced.name}", _ATTEMPT_S)
        if _PROVEN_BY_PDR.search(log):
            return True
        return reduced.exists() and Graph.read(reduced.read_bytes()).output == 0

    def _said(self, graph: Graph, commands: str, most_s: float = EQUIVALENCE_TIMEOUT_S) -> str:
        """What ABC says of a graph; nothing where time runs out."""
        left_s = min(most_s, self._end_s - monotonic())
        if left_s <= 0:
            return ""
        (self._folder / "one.aig").write_bytes(graph.write())
        try:
            return run_abc(
                f"read_aiger one.aig; {commands}",
                folder=self._folder,
                timeout_s=left_s,
            )
        except ToolTimeoutError:
            return ""


def _pair(design: Design, module: str, select: tuple[str, int]) -> str:
    """Verilog of both side by side; ``wrong`` where a result differs."""
    inputs = [port for port in design.ports if port.direction is Direction.IN]
    outputs = [VALID_OUT, *design.outputs]
    given = ", ".join(f".{port.name}({port.name})" for port in inputs)
    taken = ", ".join(
        f".{port.name}({'monitor_taken' if port == VALID_IN else port.name})" for port in inputs
    )
    name, bits = select
    declared = [
        *(f"input [{port.width - 1}:0] {port.name}" for port in inputs),
        *(f"input [{bits - 1}:0] {side}_{name}" for side in _SIDES),
    ]
    units = [
        f"  {module} {side} (.clk(clk), .rst(rst), {taken}, .{name}({side}_{name}), "
        + ", ".join(f".{port.name}({side}_{port.name})" for port in outputs)
        + ");"
        for side in _SIDES
    ]
    differs = " || ".join(f"a_{port.name} != b_{port.name}" for port in design.outputs)
    valid = VALID_OUT.name
    lines = [
        f"module {_PAIR}(input clk, input rst, output wrong, {', '.join(declared)});",
        *(f"  wire [{p.width - 1}:0] {side}_{p.name};" for p in outputs for side in _SIDES),
        "  wire monitor_taken;",
        *units,
        f"  {LEGAL} monitor (.clk(clk), .rst(rst), {given}, .monitor_taken(monitor_taken));",
        "  reg monitor_reset = 0;",
        "  always @(posedge clk) monitor_reset <= monitor_reset || rst;",
        f"  wire monitor_differs = a_{valid} != b_{valid} || a_{valid} && ({differs});",
        "  assign wrong = monitor_reset && monitor_differs;",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"
