"""Names that reach Verilog."""

from __future__ import annotations

import re

from asq_hw.errors import InputError

__all__ = ["check_identifier"]

_MAX_LENGTH = 128
_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_KEYWORDS_OF_VERILOG = """
always and assign automatic begin bit buf byte case casex casez cell class config const context
cover deassign default defparam design disable do edge else end endcase endconfig endfunction
endgenerate endmodule endprimitive endspecify endtable endtask enum event export extends final
for force forever fork function generate genvar if ifnone import incdir include initial inout
input instance int integer interface join large liblist library local localparam logic longint
macromodule medium modport module nand negedge new nmos nor not null or output package packed
parameter pmos posedge primitive priority program property protected pull0 pull1 pulldown
pullup pure rand real realtime ref reg release repeat return rnmos scalared sequence shortint
showcancelled signed small specify specparam static string strong0 strong1 struct super supply0
supply1 table task this time timescale tran tri tri0 tri1 triand trior trireg type typedef
union unique unsigned use var vectored virtual void wait wand weak0 weak1 while wire with wor
xnor xor
"""
_KEYWORDS = frozenset(_KEYWORDS_OF_VERILOG.split())


def check_identifier(what: str, name: str) -> str:
    """`name` if every tool takes it as a Verilog identifier; else raise InputError."""
    fits = len(name) <= _MAX_LENGTH and _PATTERN.fullmatch(name)
    if not fits or name.lower() in _KEYWORDS:
        raise InputError(
            f"{what} must be a letter, then letters, digits and '_', at most {_MAX_LENGTH} "
            f"characters, and no Verilog keyword, not {name[:80]!r}"
        )
    return name
