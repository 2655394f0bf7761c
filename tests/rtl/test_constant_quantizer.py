"""The quantizer of a constant step: its thresholds, its proof, and a layer's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from asq_hw.cli import main
from asq_hw.errors import InputError
from asq_hw.modelfile import load
from asq_hw.network.activation import FixedStep
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import to_verilog
from rtl.quantizer.bisection import numbers_in
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.of_layer import LayerUnits
from rtl.units.quantizer import QUANTIZER
from rtl.verify.mutation import mutate
from rtl.verify.network import met_by, misfit
from rtl.verify.of_designs import proofs_of, prove_design
from rtl.verify.proofs import Answer, prove
from rtl.verify.quantizer import exhaustive_quantizer, oracle_codes
from rtl.verify.simulation import simulate
from rtl.verify.traced import images_for
from tests.rtl.test_exponent import given, needs_tools
from tests.rtl.test_verify_network import tiny

DESIGNS = (
    ConstantQuantizer(feature_bits=10, step_fraction_bits=4, step=777),
    ConstantQuantizer(bits=3, signed=True, feature_bits=9, step_fraction_bits=2, step=41),
    ConstantQuantizer(bits=8, signed=True, feature_bits=8, step=1),
    ConstantQuantizer(bits=2, feature_bits=4, step=65535),
)


def test_thresholds_by_hand() -> None:
    """Codes of X / 10 where T is 0: 1 from 5 on, 2 from 15; and of negative X, a tie going up."""
    design = ConstantQuantizer(bits=2, feature_bits=8, step=10)
    assert [design.threshold(number) for number in (1, 2, 3)] == [5, 15, 25]
    signed = ConstantQuantizer(bits=2, signed=True, feature_bits=8, step=10)
    assert [signed.threshold(number) for number in (1, 2, 3)] == [-15, -5, 5]
    features = np.array([-128, -16, -15, -5, -6, 4, 5, 127])
    assert signed.reference({"feature": features})["code"].tolist() == [-2, -2, -1, 0, -1, 0, 1, 1]
    far = ConstantQuantizer(bits=2, feature_bits=4, step=65535)
    assert [far.threshold(number) for number in (1, 2, 3)] == [8, 8, 8]  # beyond all features


def test_each_threshold_is_in_one_table() -> None:
    numbers = [number for stage in range(4) for number in numbers_in(stage, 4)]
    assert sorted(numbers) == list(range(1, 16))
    assert numbers[:3] == [8, 4, 12]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.name)
def test_codes_are_the_oracle_s(design: ConstantQuantizer) -> None:
    half = 1 << (design.feature_bits - 1)
    codes = design.reference({"feature": np.arange(-half, half)})["code"]
    assert np.array_equal(codes, oracle_codes(design, design.step))


@needs_tools
@pytest.mark.parametrize("design", DESIGNS[:2], ids=lambda design: design.name)
def test_every_feature_and_a_proof(design: ConstantQuantizer) -> None:
    checks = [*exhaustive_quantizer(design), *prove_design(design)]
    assert [check.detail for check in checks if not check.passed] == []
    assert checks[0].cases == 1 << design.feature_bits and len(checks) == 2


@needs_tools
def test_a_threshold_that_is_one_off_is_noticed() -> None:
    design = ConstantQuantizer(bits=2, feature_bits=8, step=10)
    text = to_verilog(design)
    wrong = text.replace("5'h0f", "5'h10")
    assert wrong != text
    vectors = Vectors.random(design, 500)
    assert simulate({design: vectors})[design].passed
    assert not simulate({design: vectors}, verilog={design: wrong})[design].passed
    assert prove(proofs_of(design)[0], wrong)[0] is Answer.REFUTED


@needs_tools
def test_a_design_is_not_taken_for_another_of_its_name() -> None:
    """A cache of compiled files that looks at names alone would give the first one's results."""
    design = ConstantQuantizer(bits=2, feature_bits=8, step=30)
    text, vectors = to_verilog(design), Vectors.random(design, 200)
    found = []
    for threshold in ("2d", "2e", "2d", "2f", "2d"):
        verilog = {design: text.replace("7'h2d", f"7'h{threshold}")}
        found.append(simulate({design: vectors}, verilog=verilog)[design].passed)
    assert "7'h2d" in text
    assert found == [True, False, True, False, True]


@needs_tools
def test_every_mutant_is_killed_or_proven_equivalent() -> None:
    result = mutate(ConstantQuantizer(bits=3, signed=True, feature_bits=8, step=13), 30)
    assert len(result.killed) > 20
    assert result.missed == result.unknown == ()


@needs_tools
def test_a_layer_with_a_constant_step_has_one() -> None:
    units = LayerUnits.of(tiny(), "scores")
    design = QUANTIZER.design(given(arrangement="constant"), units)
    assert isinstance(design, ConstantQuantizer) and design.step == 9
    assert isinstance(units.layer.quantizer.step, FixedStep)
    met = met_by(QUANTIZER.meets_features, units, images_for(units.network, 30))
    assert misfit(design, met) == "" and met.traced >= 30
    answers = design.reference(met.rows)["code"]
    assert np.array_equal(answers[met.known], met.expected[met.known])
    assert simulate({design: Vectors.of(design, met.rows)})[design].passed


@needs_tools
def test_the_packaged_network_s_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = "verify quantizer --arrangement constant --layer fc --method network"
    assert main(command.split()) == 0
    assert "2 of 2 checks passed." in capsys.readouterr().out


REFUSED: dict[str, Callable[[], object]] = {
    "the step must be": lambda: ConstantQuantizer(step=0),
    "layer reader has no constant step: its samples have their own": lambda: QUANTIZER.design(
        given(arrangement="constant"), LayerUnits.of(tiny(), "reader")
    ),
    "the step of layer scores must be 9, not 10": lambda: QUANTIZER.design(
        given(arrangement="constant", step=10), LayerUnits.of(tiny(), "scores")
    ),
    "step is given to a quantizer of --arrangement ladder at run time": lambda: QUANTIZER.design(
        given(arrangement="ladder", step=10)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_built_is_named(message: str) -> None:
    with pytest.raises(InputError, match=message):
        REFUSED[message]()


def test_layers_whose_step_is_not_constant_are_passed_over() -> None:
    asked = given(arrangement="constant")
    assert QUANTIZER.passes_over(asked, LayerUnits.of(tiny(), "scores")) == ""
    assert "no constant step" in QUANTIZER.passes_over(asked, LayerUnits.of(tiny(), "reader"))


def test_the_packaged_network_has_two() -> None:
    from asq_hw.files.packaged import PACKAGED_MODEL

    every = LayerUnits.every(load(PACKAGED_MODEL))
    fixed = [units for units in every if isinstance(units.layer.quantizer.step, FixedStep)]
    assert [units.layer.name for units in fixed] == ["conv1", "fc"]
