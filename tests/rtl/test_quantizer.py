"""Quantizers, requantizer, pooling and adapter: hardware = software model = the contract."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from asq_hw import oracle
from asq_hw.errors import InputError
from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Input
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import UNIFORM
from rtl.design import Design
from rtl.emit.folder import DEFAULT_OPERATIONS
from rtl.emit.vectors import Vectors
from rtl.quantizer.activation import StepQuantizer
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.odd_ladder import OddLadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.quantizer.requantizer import Requantizer
from rtl.quantizer.serial_adapter import SerialAdapter
from rtl.quantizer.shift import ShiftQuantizer
from rtl.tools import MissingToolError, find_verilator, find_yosys
from rtl.verify.quantizer import every_feature, every_value, oracle_codes, some_steps
from rtl.verify.simulation import simulate


def missing() -> str:
    """Which tool is missing and how to get it; empty where all are there."""
    for find in (find_yosys, find_verilator):
        try:
            find()
        except MissingToolError as error:
            return str(error)
    return ""


def stage(outputs: int, inputs: int, *, minimum: int = 0, shift: int = 10) -> AdapterStage:
    random = np.random.default_rng(outputs * 100 + inputs)
    return AdapterStage(
        weight=random.integers(-128, 128, (outputs, inputs)),
        bias=random.integers(-(1 << 12), 1 << 14, outputs),
        multiplier=777,
        shift=shift,
        minimum=minimum,
        maximum=60000,
    )


QUANTIZERS: tuple[StepQuantizer, ...] = tuple(
    kind(bits=bits, signed=signed, feature_bits=feature_bits, step_fraction_bits=fraction)
    for kind in (LadderQuantizer, ReciprocalQuantizer, ShiftQuantizer)
    for bits, signed, feature_bits, fraction in (
        (2, False, 8, 0),
        (3, True, 10, 4),
        (4, False, 16, 8),
        (8, True, 12, 3),
        (5, False, 9, 24),
    )
)
OTHERS: tuple[Design, ...] = (
    OddLadderQuantizer(bits=4, signed=True, feature_bits=12, step_fraction_bits=3),
    Requantizer(),
    Requantizer(pair=True, shift=18),
    Requantizer(value_bits=8, multiplier_bits=4, shift=0, bits=8),
    Requantizer(value_bits=30, shift=62, pair=True),
    PoolingAccumulator(feature_bits=8, elements=49, multiplier=1337, shift=16),
    PoolingAccumulator(elements=1, shift=0),
    Adapter(stages=(stage(4, 16), stage(1, 4, minimum=1, shift=18))),
    Adapter(stages=(stage(1, 5, minimum=3),)),
    Adapter(stages=(stage(3, 2), stage(1, 3, minimum=1)), mean_bits=12),
    SerialAdapter(stages=(stage(4, 16), stage(1, 4, minimum=1, shift=18))),
    SerialAdapter(stages=(stage(1, 5, minimum=3),)),
    SerialAdapter(stages=(stage(1, 4), stage(1, 1, minimum=1, shift=18))),
    SerialAdapter(stages=(stage(3, 2), stage(1, 3, minimum=1)), mean_bits=12),
)


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_every_unit_gives_its_software_model_s_results() -> None:
    vectors: dict[Design, Vectors] = {
        design: Vectors.random(design, 6000) for design in (*QUANTIZERS, *OTHERS)
    }
    for design in QUANTIZERS[:2] + QUANTIZERS[5:7]:
        vectors[design] = Vectors.of(design, every_feature(design, some_steps(12)))
    small = OTHERS[3]
    assert isinstance(small, Requantizer)
    vectors[small] = Vectors.of(small, every_value(small, 16))
    results = simulate(vectors)
    assert [result.verdict for result in results.values() if not result.passed] == []
    assert min(given.checked for given in vectors.values()) > 90


# Software models against the oracle and the contract


@pytest.mark.parametrize("step", [1, 2, 3, 7, 255, 4097, 65535])
@pytest.mark.parametrize("design", QUANTIZERS[:2] + QUANTIZERS[3:5], ids=lambda design: design.name)
def test_codes_are_the_oracle_s(design: StepQuantizer, step: int) -> None:
    rows = every_feature(design, [step])
    codes = design.reference(rows)["code"][1:]
    assert len(codes) == 1 << design.feature_bits
    assert np.array_equal(codes, oracle_codes(design, step))


def test_a_tie_goes_up() -> None:
    design = LadderQuantizer(bits=3, signed=True, feature_bits=8)
    rows = {
        "load": np.array([1, 0, 0, 0, 0]),
        "step": np.array([2, 9, 9, 9, 9]),
        "feature": np.array([5, 3, -3, -7, 100]),
    }
    assert design.reference(rows)["code"][1:].tolist() == [2, -1, -3, 3]


def test_stimulus_stands_on_thresholds() -> None:
    design = LadderQuantizer(bits=4, feature_bits=16)
    rows = design.stimulus(np.random.default_rng(0), 20000)
    assert rows["load"][0] == 1
    current = rows["step"][np.maximum.accumulate(np.where(rows["load"], np.arange(20000), 0))]
    ties = (2 * rows["feature"]) % (2 * current) == current % (2 * current)
    assert int((ties & (rows["load"] == 0)).sum()) > 200
    assert len(np.unique(design.reference(rows)["code"])) == 16


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_close_steps_are_those_that_the_powers_of_two_tell(bits: int) -> None:
    """What is left of i ones is d or d - 1 where d divides 2**i - 1, or is a power of two."""
    ones = [2**i - 1 for i in range(16, bits + 2 * 17)]
    odd = {d for d in range(2**15 + 1, 2**16, 2) if any(number % d == 0 for number in ones)}
    close = ReciprocalQuantizer(bits=bits).close_steps.tolist()
    assert set(close) == odd | {1 << i for i in range(16)}
    assert not len(LadderQuantizer(bits=bits).close_steps)


def test_stimulus_divides_by_close_steps_and_shows_their_codes() -> None:
    design = ReciprocalQuantizer(step_fraction_bits=8)
    rows = design.stimulus(np.random.default_rng(1), DEFAULT_OPERATIONS)
    codes = design.reference(rows)["code"]
    odd = {step for step in design.close_steps.tolist() if step % 2 and step > 1}
    load, step = rows["load"][:-1] == 1, rows["step"][:-1]
    shown = step[load & (rows["load"][1:] == 0) & (codes[1:] > 0)]
    assert len(odd & set(shown.tolist())) >= 5


def test_steps_to_try_are_different_and_hold_the_ends() -> None:
    steps = some_steps(40)
    assert len(set(steps)) == 40
    assert {1, 65535} <= set(steps) <= set(range(1, 65536))


def test_features_are_the_contract_s() -> None:
    design = Requantizer(value_bits=10, multiplier_bits=5, shift=4, bits=6)
    rows = every_value(design, 8)
    answers = design.reference(rows)["feature"]
    assert len(answers) == 8 * 1024
    columns = zip(*(rows[name].tolist() for name in ("value", "multiplier", "bias")), strict=True)
    for (value, multiplier, bias), answer in zip(columns, answers.tolist(), strict=True):
        exact = floor(Fraction(value * multiplier, 16) + Fraction(1, 2)) + bias
        assert answer == max(-32, min(31, exact))


def test_requantizer_stimulus_meets_both_ends_and_the_middle() -> None:
    for pair in (False, True):
        design = Requantizer(pair=pair, bits=8, shift=12)
        features = design.reference(design.stimulus(np.random.default_rng(0), 4000))["feature"]
        assert (features.min(), features.max()) == (-128, 127)
        assert len(np.unique(features)) > 200


def test_pooling_and_adapter_make_the_oracle_s_steps() -> None:
    channels, height, width = 6, 5, 4
    mix = AdapterStage(
        weight=np.array([[100, 3, -20]]),
        bias=np.array([500]),
        multiplier=900,
        shift=14,
        minimum=1,
        maximum=65535,
    )
    stages = (stage(3, channels, shift=17), mix)
    pooling = PoolingAccumulator(elements=height * width, multiplier=3277, shift=14)
    form = FeatureFormat(fraction_bits=0)
    features = Input(
        name="features",
        height=height,
        width=width,
        multiplier=np.array([1, -3, 5, 17, 60, -90]),
        offset=np.array([-20, 30, 0, 5, -999, 7]),
        shift=0,
        output=form,
    )
    step = AdaptiveStep(pool_multiplier=3277, pool_shift=14, stages=stages)
    reader = Conv(
        name="reader",
        source="features",
        quantizer=ActivationQuantizer(
            grid=Grid(scheme=UNIFORM, bits=4), step=step, step_fraction_bits=4
        ),
        weight_grid=Grid(scheme=UNIFORM, bits=2),
        weight_codes=np.ones((1, channels, height, width), dtype=np.uint16),
        multiplier=np.ones(1, dtype=np.int64),
        narrow_shift=0,
        shift=0,
        bias=np.zeros(1, dtype=np.int64),
        output=form,
        stride=(1, 1),
        padding=(0, 0),
        groups=1,
    )
    network = IntegerNetwork(name="steps", layers=(features, reader))
    images = np.random.default_rng(5).integers(
        0, 256, (20, channels, height, width), dtype=np.uint8
    )
    traced = oracle.trace(network, images)
    maps = traced.feature_maps["features"].reshape(-1)
    last = np.zeros(maps.size, dtype=np.int64)
    last[height * width - 1 :: height * width] = 1
    means = pooling.reference({"last": last, "feature": maps})["mean"][last == 1]
    design = Adapter(stages=stages, mean_bits=24)
    steps = design.reference({"mean": means})["step"][design.emits({"mean": means})]
    assert steps.tolist() == traced.steps["reader"].tolist()
    assert len(np.unique(steps)) > 10


# Widths and parameters


def test_means_and_sums_fit_their_widths_at_the_extremes() -> None:
    design = PoolingAccumulator(feature_bits=8, elements=9, multiplier=65535, shift=3)
    for end in (-128, 127):
        rows = {"last": np.array([0] * 8 + [1]), "feature": np.full(9, end)}
        mean = int(design.reference(rows)["mean"][-1])
        low, high = design.outputs[0].range
        assert low <= mean <= high
        assert abs(9 * end) <= 1 << (design.sum_bits - 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LadderQuantizer(bits=9), "bits must be 2..8, not 9"),
        (lambda: LadderQuantizer(feature_bits=3), "feature bits must be"),
        (lambda: ReciprocalQuantizer(step_fraction_bits=25), "step fraction bits must be"),
        (lambda: Requantizer(shift=63), "shift must be"),
        (lambda: Requantizer(value_bits=41), "value bits must be"),
        (lambda: PoolingAccumulator(multiplier=0), "a pooling multiplier must be"),
        (lambda: PoolingAccumulator(elements=0), "elements must be"),
        (lambda: Adapter(stages=(stage(2, 3),)), "one output"),
        (lambda: every_feature(LadderQuantizer(feature_bits=21), [1]), "at most 20"),
        (lambda: every_value(Requantizer(value_bits=21), 1), "at most 20"),
    ],
)
def test_parameters_that_cannot_be_are_refused(make, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=words):
        make()
