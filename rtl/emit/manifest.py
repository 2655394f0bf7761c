"""What an emitted folder says of itself: ``manifest.json`` and a FuseSoC core description."""

from __future__ import annotations

import json
from collections.abc import Mapping

from asq_hw import __version__
from rtl.design import Design, Direction, Port
from rtl.emit.vectors import Vectors
from rtl.targets.registry import constraints

__all__ = ["CLOCK_AND_RESET", "core", "manifest"]

CLOCK_AND_RESET = (
    Port(name="clk", width=1, direction=Direction.IN, meaning="rising edge"),
    Port(name="rst", width=1, direction=Direction.IN, meaning="synchronous, active high"),
)
"""Ports that every design has beside its own."""


def manifest(design: Design, vectors: Vectors, files: Mapping[str, str]) -> str:
    """The manifest's JSON text; `files` are the folder's file names by what they are."""
    document = {
        "format": "asq-hw hardware",
        "version": 1,
        "generator": f"asq-hw {__version__}",
        "top": design.name,
        "title": design.title,
        "layer": design.layer or None,
        "digest": design.digest,
        "parameters": design.parameters,
        "latency_cyc": design.latency_cyc,
        "interval_cyc": design.interval_cyc,
        "idle_cyc": design.pause.idle_cyc if design.pause else 0,
        "idle_after": design.pause.after if design.pause else None,
        "ports": [
            {
                "name": port.name,
                "direction": str(port.direction),
                "width": port.width,
                "signed": port.signed,
                "meaning": port.meaning,
            }
            for port in (*CLOCK_AND_RESET, *design.ports)
        ],
        **({"excess_by_code": excess} if (excess := design.excess_by_code) else {}),
        "vectors": {"cycles": vectors.cycles, "operations": vectors.operations},
        "files": dict(files),
    }
    return json.dumps(document, indent=2) + "\n"


_CORE = """\
CAPI=2:
name: "asq-hw:rtl:{top}:{version}"
description: {title}
filesets:
  rtl:
    files: [{verilog}]
    file_type: verilogSource
  testbench:
    files:
      - {testbench}: {{file_type: verilogSource}}
{cells}      - {vectors}: {{file_type: user, copyto: {vectors}}}
{filesets}targets:
  default: &default
    filesets: [rtl]
    toplevel: {top}
  sim:
    filesets: [rtl, testbench]
    toplevel: {top}_tb
    default_tool: icarus
    tools:
      icarus: {{iverilog_options: [-g2001]}}
      verilator: {{mode: binary, verilator_options: [--timing, -Wno-fatal]}}
{targets}"""

_CELLS = """\
      - {cells}: {{file_type: verilogSource}}
"""

_FILESET = """\
  {flow}:
    files: [{file}: {{file_type: {file_type}}}]
"""

_TARGET = """\
  {flow}:
    <<: *default
    filesets: [rtl, {flow}]
    default_tool: {tool}
"""


def core(design: Design, files: Mapping[str, str]) -> str:
    """FuseSoC's core description (CAPI2): simulation, and a target for each constraints file."""
    title = json.dumps(f"{design.title}, layer {design.layer}" if design.layer else design.title)
    declared = constraints()
    return _CORE.format(
        top=design.name,
        version=__version__,
        title=title,
        verilog=files["verilog"],
        testbench=files["testbench"],
        cells=_CELLS.format(cells=files["cells"]) if design.cells else "",
        vectors=files["vectors"],
        filesets="".join(
            _FILESET.format(flow=each.flow, file=files[each.suffix], file_type=each.file_type)
            for each in declared
        ),
        targets="".join(_TARGET.format(flow=each.flow, tool=each.tool) for each in declared),
    )
