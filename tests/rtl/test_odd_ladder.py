"""The quantizer of odd codes: by hand, against the oracle, and as Verilog."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asq_hw.errors import InputError
from asq_hw.numbers.products import Product, ProductKind
from rtl.emit.vectors import Vectors
from rtl.quantizer.odd_ladder import OddLadderQuantizer
from rtl.quantizer.of_layer import LayerUnits
from rtl.units.quantizer import QUANTIZER
from rtl.verify.met import Traced
from rtl.verify.quantizer import every_feature, oracle_codes, some_steps
from rtl.verify.simulation import simulate
from rtl.verify.simulators import Simulator
from tests.helpers import networks


def test_odd_codes_by_hand() -> None:
    # D = 100, DO = 71: 213 is 3 * 71, 35 and 36 are on either side of 35.5, 1491 is 21 * 71.
    design = OddLadderQuantizer(bits=4, feature_bits=12)
    features = [213, 35, 36, 1491, 2047, -5]
    rows = {
        "load": np.array([1, *([0] * 6)]),
        "step": np.full(7, 100),
        "feature": np.array([0, *features]),
    }
    assert design.reference(rows)["odd_code"].tolist()[1:] == [3, 0, 1, 21, 21, 0]


@pytest.mark.parametrize(("bits", "signed"), [(2, False), (3, True), (4, False), (4, True)])
def test_the_software_model_is_the_oracle(bits: int, signed: bool) -> None:
    design = OddLadderQuantizer(bits=bits, signed=signed, feature_bits=8, step_fraction_bits=1)
    for step in (1, 2, 7, 100, 65535):
        rows = every_feature(design, [step])
        codes = design.reference(rows)["odd_code"][1:]
        np.testing.assert_array_equal(codes, oracle_codes(design, step))
        low, high = design.code_port.range
        assert low <= codes.min() and codes.max() <= high


@pytest.mark.parametrize("signed", [False, True])
def test_its_verilog_gives_the_same_and_a_wrong_code_is_noticed(signed: bool) -> None:
    design = OddLadderQuantizer(bits=3, signed=signed, feature_bits=7, step_fraction_bits=1)
    rows = every_feature(design, some_steps(4))
    vectors = Vectors.of(design, rows)
    assert simulate({design: vectors}, simulator=Simulator.ICARUS)[design].passed
    wrong = {name: column.copy() for name, column in vectors.columns.items()}
    place = np.flatnonzero((wrong["valid_out"] == 1) & (wrong["odd_code"] > 0))[7]
    wrong["odd_code"][place] -= 1
    spoiled = replace(vectors, columns=wrong)
    assert not simulate({design: spoiled}, simulator=Simulator.ICARUS)[design].passed


def test_it_answers_two_cycles_behind_the_quantizer_beside_it() -> None:
    design = OddLadderQuantizer(bits=4)
    assert (design.latency_cyc, design.load_cyc) == (6, 2 + 31)
    assert design.code_port.width == 5


def test_codes_of_8_bits_have_no_such_unit() -> None:
    with pytest.raises(InputError, match=r"activation bits of odd codes must be .* 2\.\.7, not 8"):
        OddLadderQuantizer(bits=8)


def test_a_layer_without_odd_powers_has_none() -> None:
    codes = np.zeros((1, 1, 1, 1), dtype=np.int64)
    network = networks.network(networks.input_layer(2, 2), networks.conv(codes))
    given = {"arrangement": "odd-ladder", "signed": False}
    given |= {"bits": None, "feature_bits": None, "step_fraction_bits": None}
    with pytest.raises(InputError, match="layer conv has no odd codes"):
        QUANTIZER.design(given, LayerUnits.of(network, "conv"))


def test_a_layer_s_unit_meets_its_odd_codes() -> None:
    codes = np.array([6, 7]).reshape(1, 2, 1, 1)
    network = networks.network(
        networks.input_layer(1, 1, 2),
        networks.conv(codes, scheme="post", bits=4, activations=networks.quantizer(4, 100)),
    )
    product = Product(kind=ProductKind.POST_DUAL)
    units = replace(LayerUnits.of(network, "conv"), product=product)
    traced = Traced(
        features=np.array([213, 120]).reshape(1, 2, 1, 1),
        steps=np.array([100]),
        codes=np.array([2, 1]).reshape(1, 2, 1, 1),
        sums=(np.array([24]),),
        outputs=np.array([24]),
        odd_codes=np.array([3, 2]).reshape(1, 2, 1, 1),
    )
    met = QUANTIZER.meets_odd_codes(units, traced, np.random.default_rng(0))
    assert sorted(met.expected[met.known].tolist()) == [2, 3]
    given = {"arrangement": "odd-ladder", "signed": False}
    given |= {"bits": None, "feature_bits": None, "step_fraction_bits": None}
    design = QUANTIZER.design(given, units)
    answers = design.reference(met.rows)["odd_code"]
    np.testing.assert_array_equal(answers[met.known], met.expected[met.known])
