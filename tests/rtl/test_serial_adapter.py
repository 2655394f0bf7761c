"""The adapter with one multiplier: the same steps as the other, later and more seldom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asq_hw.cli import main
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import to_verilog
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.serial_adapter import SerialAdapter
from rtl.units.adapter import ADAPTER
from rtl.verify.mutation import mutate
from rtl.verify.network import met_by
from rtl.verify.simulation import simulate
from rtl.verify.traced import images_for
from tests.helpers.units import two_stage_adapter
from tests.rtl.test_exponent import needs_tools
from tests.rtl.test_verify_network import tiny

SERIAL = SerialAdapter(stages=two_stage_adapter().stages)


def test_it_is_an_adapter_but_for_its_time() -> None:
    parallel = Adapter(stages=SERIAL.stages)
    rows = parallel.stimulus(np.random.default_rng(5), 300)
    assert np.array_equal(SERIAL.reference(rows)["step"], parallel.reference(rows)["step"])
    # Two outputs: 2 cycles a mean; 4 until all is summed and scaled, and 5 for what is between.
    assert (SERIAL.interval_cyc, SERIAL.latency_cyc) == (2, 9)
    assert SERIAL.pause is not None and SERIAL.pause.idle_cyc == 5
    assert SERIAL.name != parallel.name and SERIAL.stem == "adapter_serial_c3_h2_p16"
    assert SERIAL.parameters["arrangement"] == "serial" and SERIAL.parameters["pause_cyc"] == 5
    single = SerialAdapter(stages=(replace(SERIAL.stages[1], weight=np.array([[5, 11, -3]])),))
    assert (single.interval_cyc, single.latency_cyc, single.pause) == (1, 4, None)


@needs_tools
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("$signed(port__data) * $signed(8'h4b)", "$signed(port__data) * $signed(8'h4a)"),
        ("scaled2 ? { 1'h0, stage1_output }", "scaled2 ? { 1'h0, held }"),
    ],
)
def test_a_bug_is_noticed(right: str, wrong: str) -> None:
    """Another scale, and a second stage that takes means."""
    text = to_verilog(SERIAL)
    assert text.count(right) == 1
    vectors = Vectors.random(SERIAL, 600)
    assert simulate({SERIAL: vectors})[SERIAL].passed
    broken = {SERIAL: text.replace(right, wrong)}
    assert not simulate({SERIAL: vectors}, verilog=broken)[SERIAL].passed


@needs_tools
def test_every_mutant_is_killed_or_proven_equivalent() -> None:
    result = mutate(SERIAL, 30)
    assert len(result.killed) > 20
    assert result.missed == result.unknown == ()


@needs_tools
def test_a_layer_s_gives_the_network_s_steps() -> None:
    units = LayerUnits.of(tiny(), "reader")
    design = ADAPTER.design({"arrangement": "serial", "mean_bits": None}, units)
    assert isinstance(design, SerialAdapter) and design.layer == "reader"
    met = met_by(ADAPTER.meets, units, images_for(units.network, 30))
    assert np.array_equal(design.reference(met.rows)["step"][met.known], met.expected[met.known])
    assert simulate({design: Vectors.of(design, met.rows)})[design].passed


@needs_tools
def test_the_packaged_network_s_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = "verify adapter --arrangement serial --layer layer1.0.conv1 --method network"
    assert main(command.split()) == 0
    assert "2 of 2 checks passed." in capsys.readouterr().out
