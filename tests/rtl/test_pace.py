"""How often a unit takes an operation: stated once, kept by its vectors, and needed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from asq_hw.cli import main
from asq_hw.errors import InputError
from rtl.design import Design
from rtl.emit.verilog import header
from rtl.mac.design import Mac
from rtl.pace import Pause, pace_lines
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.verify.pace import check_pace, closer, first_failure
from rtl.verify.simulators import Simulator
from tests.helpers.hardware import PlainMac
from tests.helpers.units import UNITS, two_stage_adapter

pytest.importorskip("pyosys")

SERIAL = Mac(scheme="uniform", style="serial")
# Of a bit-serial unit and of an adapter a single cycle less is too little. A quantizer's steps
# have some cycles in hand, as another step may follow at once: as many as stages behind the first.
PACED: dict[Design, int] = {
    SERIAL: 1,
    Mac(scheme="uniform", weight_bits=2, style="serial", clear="ahead"): 1,
    two_stage_adapter(): 1,
    LadderQuantizer(bits=2, feature_bits=8): 2,
    LadderQuantizer(bits=3, feature_bits=8, signed=True): 3,
    ReciprocalQuantizer(bits=2, feature_bits=8): 4,
}


@pytest.mark.parametrize(("unit", "cycles"), PACED.items(), ids=lambda value: str(value)[:24])
def test_the_stated_pace_suffices_and_what_breaks_a_unit_is_less(unit: Design, cycles: int) -> None:
    assert first_failure(unit, simulator=Simulator.ICARUS, operations=1024) == cycles


def test_a_unit_that_states_too_little_fails_at_its_own_pace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Mac, "interval_cyc", property(lambda mac: mac.weight_bits - 1))
    assert first_failure(SERIAL, simulator=Simulator.ICARUS, operations=256) == 0
    (check,) = check_pace([SERIAL], simulator=Simulator.ICARUS)
    assert not check.passed


def test_a_unit_that_states_a_pause_without_need_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PlainMac, "interval_cyc", 3)
    assert first_failure(PlainMac(), simulator=Simulator.ICARUS, operations=256) is None
    (check,) = check_pace([PlainMac()], simulator=Simulator.ICARUS)
    assert not check.passed and "never fails" in check.detail


def test_units_that_take_an_operation_in_every_cycle_need_no_check() -> None:
    free = [unit for unit in UNITS if unit.interval_cyc == 1 and unit.pause is None]
    assert len(free) > 10
    assert check_pace(free) == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_vectors_keep_what_the_design_states(unit: Design) -> None:
    vectors = closer(unit, 0, 300)
    taken = np.flatnonzero(vectors.columns["valid_in"])
    rows = {port.name: vectors.columns[port.name][taken] for port in unit.inputs}
    distance = np.diff(taken)
    wanted = np.full(len(distance), unit.interval_cyc)
    if unit.pause is not None:
        wanted = np.where(unit.pauses(rows)[:-1], 1 + unit.pause.idle_cyc, wanted)
    assert np.array_equal(distance, wanted)


PAUSES = {
    "asq_ladder_a4": (16, "a step (load 1)"),  # a cycle of rest, and 15 thresholds
    "adapter_c3_h2": (1, "a sample's last mean"),  # two outputs of the first stage
}


@pytest.mark.parametrize(("stem", "pause"), PAUSES.items())
def test_pauses_are_what_the_circuits_take(stem: str, pause: tuple[int, str]) -> None:
    (unit,) = [unit for unit in UNITS if unit.stem.startswith(stem)]
    assert unit.pause == Pause(idle_cyc=pause[0], after=pause[1])
    assert f"behind {pause[1]}," in header(unit)


def test_the_serial_unit_s_folder_says_that_it_takes_four_cycles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "rtl mac --scheme uniform --bits 4 --style serial -o"
    assert main([*command.split(), str(tmp_path / "serial")]) == 0
    assert "interval 4" in capsys.readouterr().out
    document = json.loads((tmp_path / "serial" / "manifest.json").read_text(encoding="utf-8"))
    assert (document["interval_cyc"], document["idle_cyc"]) == (4, 0)
    for kind in ("verilog", "testbench"):
        text = (tmp_path / "serial" / document["files"][kind]).read_text(encoding="ascii")
        assert re.search(r"^// .*one operation each 4 cycles \(interval_cyc = 4\)", text, re.M)


def test_every_way_to_say_it() -> None:
    assert pace_lines(1, None) == ["It takes an operation in every cycle (interval_cyc = 1)."]
    slow, pause = pace_lines(3, Pause(after="a step", idle_cyc=1))
    assert "one operation each 3 cycles (interval_cyc = 3): valid_in must be low for 2" in slow
    assert slow.endswith("behind a step,") and "low for 1 cycle (idle_cyc = 1)." in pause


@pytest.mark.parametrize("idle_cyc", [0, -1, 1 << 21])
def test_a_pause_has_cycles(idle_cyc: int) -> None:
    with pytest.raises(InputError, match="idle cycles must be an integer in 1.."):
        Pause(after="x", idle_cyc=idle_cyc)
