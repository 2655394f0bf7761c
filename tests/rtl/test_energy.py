"""Switched energy: what is counted, against netlists and records that are counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asq_hw.errors import InputError
from rtl.emit.vectors import Vectors
from rtl.energy.changes import count_changes
from rtl.energy.flows import check_flow, flow_of
from rtl.energy.library import CellLibrary
from rtl.energy.netlist import Netlist
from rtl.energy.switching import _added, switch
from rtl.mac.design import Mac
from rtl.targets.registry import TARGETS
from rtl.tools import MissingToolError, ToolError

RECORD = """\
$timescale 1ps $end
$scope module unit $end
$var wire 1 ! clk $end
$var wire 2 " a [1:0] $end
$var wire 1 # y $end
$var wire 2 $$ other [1:0] $end
$var wire 1 $# another $end
$upscope $end
$enddefinitions $end
#0
$dumpvars
0!
b0x "
x#
$end
#5
1!
b10 "
1#
b11 $$
1$#
#7
b00 $$
0$#
0#
#8
1#
#10
0!
b01 "
z#
#15
1!
0#
"""
NETS = {"clk": [2], "a": [3, 4], "y": [5]}


def test_changes_are_counted_by_hand() -> None:
    """a[1]: 0, 1, 0; a[0]: x, 0, 1; y: x, 1, 0, 1, z, 0, of which two are changes; the clock: 3."""
    assert count_changes(RECORD.encode(), NETS) == {2: 3, 4: 2, 3: 1, 5: 2}


def test_a_net_that_is_not_recorded_is_an_error() -> None:
    with pytest.raises(ToolError, match="the record of changes lacks hidden and 0 others"):
        count_changes(RECORD.encode(), NETS | {"hidden": [9]})


def _cell(kind: str, connections: dict[str, list[int]]) -> dict[str, object]:
    directions = {pin: "output" if pin in ("Y", "Q") else "input" for pin in connections}
    return {"type": kind, "port_directions": directions, "connections": connections}


def test_energy_is_half_the_square_of_the_voltage_for_what_a_net_drives() -> None:
    """y drives pins of 2 and 3 pF, the clock one of 7: at 2 V a change of y takes 10 pJ."""
    module = {
        "cells": {
            "one": _cell("INV", {"A": [3], "Y": [5]}),
            "two": _cell("NAND", {"A": [5], "B": [5], "Y": [6]}),
            "ff": _cell("DFF", {"D": [6], "CLK": [2], "Q": [7]}),
        },
        "netnames": {"clk": {"bits": [2]}, "a": {"bits": [3]}, "y": {"bits": [5]}},
    }
    netlist = Netlist.of({"modules": {"top": module}}, "top")
    pins = {("INV", "A"): 1.0, ("NAND", "A"): 2.0, ("NAND", "B"): 3.0}
    pins |= {("DFF", "D"): 4.0, ("DFF", "CLK"): 7.0}
    flow = replace(
        flow_of(TARGETS.find("gates")), capacitance_pf=pins, voltage=2.0, counts=lambda pin: True
    )
    switched = _added(netlist, flow, {2: 6, 3: 5, 5: 4}, 3)
    assert switched.logic_pj == pytest.approx(2 * (5 * 1 + 4 * 5))
    assert switched.clock_pj == pytest.approx(2 * 6 * 7)
    assert switched.changes == 4  # nothing drives a: it is an input


def test_the_library_is_the_one_that_debian_packages() -> None:
    library = CellLibrary.load()
    assert library.voltage == 1.8
    assert library.capacitance_pf["AND2X1", "A"] == pytest.approx(0.0129077)
    assert ("AND2X1", "Y") not in library.capacitance_pf
    assert {"DFFPOSX1", "FAX1", "INVX1"} <= {cell for cell, _ in library.capacitance_pf}


def test_a_missing_library_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        MissingToolError, match=r"of qflow-tech-osu018 is needed .*: apt-get install qflow-tech"
    ):
        CellLibrary.load(tmp_path)


def test_a_library_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name in ("osu018_stdcells.lib", "osu018_stdcells.v"):
        (tmp_path / name).write_text("library(x) {}\n")
    with pytest.raises(ToolError, match="holds no cells of a known kind"):
        CellLibrary.load(tmp_path)


def test_a_target_without_delays_is_refused() -> None:
    with pytest.raises(InputError, match="is for ecp5, ice40 and gates, not for xilinx"):
        check_flow(TARGETS.find("xilinx"))


@pytest.mark.parametrize("target", ["gates", "ecp5", "ice40"])
def test_a_unit_at_rest_switches_less_than_at_work(target: str) -> None:
    """The netlists' results are compared on the way; with all operands 0 nothing but flags move."""
    mac = Mac(scheme="uniform", codes="sign-magnitude", accumulator_bits=10)
    rows = mac.stimulus(np.random.default_rng(2), 40)
    still = {name: np.zeros_like(values) for name, values in rows.items()} | {
        "weight": np.full(40, 7),
        "start": rows["start"],
    }
    flow = flow_of(TARGETS.find(target))
    busy, idle = (switch(mac, flow, Vectors.of(mac, each)) for each in (rows, still))
    assert busy.operations == idle.operations == 40
    assert 10 * idle.changes < busy.changes
    if target == "gates":
        assert busy.clock_pj == idle.clock_pj


def test_a_netlist_that_is_wrong_is_noticed() -> None:
    mac = Mac(scheme="uniform", accumulator_bits=10)
    vectors = Vectors.random(mac, 20)
    row = int(np.flatnonzero(vectors.columns["valid_out"])[3])
    vectors.columns["accumulator"][row] ^= 1
    with pytest.raises(ToolError, match="the netlist gave 1 wrong of 20 results"):
        switch(mac, flow_of(TARGETS.find("ice40")), vectors)
