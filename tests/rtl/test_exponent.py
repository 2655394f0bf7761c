"""Shared exponents in hardware: the finder of a step, and the quantizer that shifts by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from asq_hw.cli import main
from asq_hw.errors import InputError
from asq_hw.network.activation import FixedStep, Step
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv
from asq_hw.network.shared_exponent import SharedExponentStep
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import to_verilog
from rtl.quantizer.activation import StepQuantizer
from rtl.quantizer.exponent import ExponentFinder
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.shift import ShiftQuantizer
from rtl.tools import MissingToolError, find_verilator, find_yosys
from rtl.units.exponent import EXPONENT
from rtl.units.quantizer import QUANTIZER
from rtl.verify.mutation import mutate
from rtl.verify.network import met_by, misfit
from rtl.verify.of_designs import proofs_of, prove_design
from rtl.verify.proofs import Answer, prove
from rtl.verify.quantizer import every_feature, oracle_codes
from rtl.verify.simulation import simulate
from rtl.verify.traced import images_for
from tests.rtl.test_verify_network import tiny


def missing() -> str:
    """Which tool is missing and how to get it; empty where all are there."""
    for find in (find_yosys, find_verilator):
        try:
            find()
        except MissingToolError as error:
            return str(error)
    return ""


needs_tools = pytest.mark.skipif(bool(missing()), reason=missing())


def steps(design: ExponentFinder, *samples: list[int]) -> list[int]:
    rows = {
        "last": np.concatenate([[0] * (len(sample) - 1) + [1] for sample in samples]),
        "feature": np.concatenate(samples),
    }
    return design.reference(rows)["step"][rows["last"] == 1].tolist()


def test_steps_by_hand() -> None:
    """T = 3 and signed 4-bit codes, whose largest power of two is 2^2: as in the contract."""
    design = ExponentFinder(offset=1)
    samples = [3, -1000], [511], [-512], [512, 0], [0, 0, 0], [1], [-2]
    assert steps(design, *samples) == [1024, 512, 1024, 1024, 2, 2, 4]
    ends = ExponentFinder(offset=1, lowest=2, highest=9)
    assert steps(ends, *samples) == [512, 512, 512, 512, 4, 4, 4]
    assert steps(ExponentFinder(offset=-7), [255], [256], [-32768]) == [1, 2, 256]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 8, 255, 4097, 65535])
@pytest.mark.parametrize(
    "design",
    [
        ShiftQuantizer(feature_bits=10, step_fraction_bits=4),
        ShiftQuantizer(bits=3, signed=True, feature_bits=9, step_fraction_bits=2),
        ShiftQuantizer(bits=8, signed=True, feature_bits=8),
    ],
    ids=lambda design: design.name,
)
def test_codes_are_the_oracle_s(design: ShiftQuantizer, step: int) -> None:
    power = 2 ** (len(f"{step:b}") - 1)
    rows = every_feature(design, [step])
    assert design.acting(step) == power
    assert np.array_equal(design.reference(rows)["code"][1:], oracle_codes(design, step))
    assert np.array_equal(oracle_codes(design, step), oracle_codes(design, power))


@needs_tools
def test_stimulus_tells_the_largest_magnitude_from_its_one_s_complement() -> None:
    """They differ in negative powers of two alone."""
    design = ExponentFinder(feature_bits=8)
    text = to_verilog(design)
    wrong = text.replace("- $signed(feature)", "~ $signed(feature)")
    assert wrong != text
    vectors = Vectors.random(design, 2000)
    assert simulate({design: vectors})[design].passed
    assert not simulate({design: vectors}, verilog={design: wrong})[design].passed


@needs_tools
@pytest.mark.parametrize(
    "design",
    [
        ShiftQuantizer(bits=2, feature_bits=6, step_fraction_bits=1),
        ShiftQuantizer(bits=3, signed=True, feature_bits=5),
        ExponentFinder(feature_bits=6, offset=-2, highest=2),
    ],
    ids=lambda design: design.name,
)
def test_they_are_proven_and_their_twins_refuted(design: ShiftQuantizer | ExponentFinder) -> None:
    checks = prove_design(design)
    assert [check.detail for check in checks if not check.passed] == []
    assert [check.name.split()[1] for check in checks] == ["state", "results"]


@needs_tools
def test_a_finder_without_the_carry_is_refuted() -> None:
    design = ExponentFinder(feature_bits=6)
    text = to_verilog(design)
    wrong = text.replace("- $signed(feature)", "~ $signed(feature)")
    assert wrong != text
    assert prove(proofs_of(design)[0], text)[0] is Answer.PROVEN
    assert prove(proofs_of(design)[0], wrong)[0] is Answer.REFUTED


@needs_tools
@pytest.mark.parametrize(
    "design",
    [ShiftQuantizer(bits=3, signed=True, feature_bits=6), ExponentFinder(feature_bits=6)],
    ids=lambda design: design.name,
)
def test_every_mutant_is_killed_or_proven_equivalent(
    design: ShiftQuantizer | ExponentFinder,
) -> None:
    result = mutate(design, 30)
    assert len(result.killed) > 15
    assert result.missed == result.unknown == ()


# In a network


def with_step(step: Step) -> IntegerNetwork:
    network = tiny()
    layers = tuple(
        replace(layer, quantizer=replace(layer.quantizer, step=step))
        if isinstance(layer, Conv)
        else layer
        for layer in network.layers
    )
    return replace(network, layers=layers)


SHARED = with_step(SharedExponentStep(lowest=1, highest=5))


def test_a_layer_s_units_have_its_widths() -> None:
    units = LayerUnits.of(SHARED, "reader")
    # Codes up to 7, whose largest power of two is 2^2, and 4 fraction bits.
    assert units.exponent() == ExponentFinder(
        layer="reader", feature_bits=6, offset=2, lowest=1, highest=5
    )
    assert units.exponent(feature_bits=9).feature_bits == 9
    with pytest.raises(InputError, match="the offset of layer reader must be 2, not 3"):
        units.exponent(offset=3)
    assert isinstance(units.quantizer(ShiftQuantizer), StepQuantizer)


@needs_tools
@pytest.mark.parametrize("kind", [EXPONENT, QUANTIZER], ids=lambda kind: kind.name)
def test_they_give_the_network_s_tensors(kind: object) -> None:
    units, images = LayerUnits.of(SHARED, "reader"), images_for(SHARED, 30)
    design = units.exponent() if kind is EXPONENT else units.quantizer(ShiftQuantizer)
    assert kind in (EXPONENT, QUANTIZER)
    met = met_by(kind.meets, units, images)  # type: ignore[attr-defined]  # one of the two
    assert misfit(design, met) == ""
    answers = design.reference(met.rows)[design.outputs[0].name]
    assert met.traced >= 4
    assert np.array_equal(answers[met.known], met.expected[met.known])
    assert simulate({design: Vectors.of(design, met.rows)})[design].passed


def given(**changes: object) -> dict[str, object]:
    nothing = dict.fromkeys(option.name for option in QUANTIZER.options)
    return {**nothing, "arrangement": "shift", "signed": False, **changes}


REFUSED: dict[str, Callable[[], object]] = {
    "layer reader has no shared exponent: its step is another's": lambda: LayerUnits.of(
        tiny(), "reader"
    ).exponent(),
    "layer reader has steps that are no powers of two": lambda: QUANTIZER.design(
        given(), LayerUnits.of(tiny(), "reader")
    ),
    "layer scores has steps that are no powers of two": lambda: QUANTIZER.design(
        given(), LayerUnits.of(SHARED, "scores")
    ),
    "the highest exponent must be at least the lowest, 4, not 3": lambda: ExponentFinder(
        lowest=4, highest=3
    ),
    "an exponent's offset must be": lambda: ExponentFinder(offset=-8),
    "feature bits must be": lambda: ExponentFinder(feature_bits=3),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_built_is_named(message: str) -> None:
    with pytest.raises(InputError, match=message):
        REFUSED[message]()


def test_layers_without_one_are_passed_over() -> None:
    shared, other = LayerUnits.of(SHARED, "reader"), LayerUnits.of(SHARED, "scores")
    assert EXPONENT.passes_over({}, shared) == QUANTIZER.passes_over(given(), shared) == ""
    assert EXPONENT.passes_over({}, other) == "layer scores has no shared exponent"
    assert "no powers of two" in QUANTIZER.passes_over(given(), other)
    constant = LayerUnits.of(with_step(FixedStep(step=16)), "reader")
    assert QUANTIZER.passes_over(given(), constant) == ""


def test_the_packaged_network_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rtl", "exponent", "--layer", "layer1.0.conv1", "-o", "nowhere"]) == 2
    assert "layer layer1.0.conv1 has no shared exponent" in capsys.readouterr().err
