"""Units of a network's layer: widths that follow from it, and twins that are a bit too narrow."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from asq_hw.cli import main
from asq_hw.cli.options import BUNDLED, model_path
from asq_hw.errors import InputError
from asq_hw.modelfile import load, save
from asq_hw.network.activation import ActivationQuantizer, AdapterStage, AdaptiveStep
from asq_hw.network.feature_map import FeatureFormat
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Input, Linear
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import POST, UNIFORM
from rtl.design import Design
from rtl.emit.vectors import Vectors
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import MacScheme, Style
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.of_layer import LayerUnits
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.quantizer.requantizer import Requantizer
from rtl.tools import MissingToolError, find_iverilog, find_yosys
from rtl.units.adapter import ADAPTER
from rtl.units.registry import UNITS
from rtl.units.unit import Effort, NetworkUnit
from rtl.verify.checks import Check, Method, Outcome, timed
from rtl.verify.met import IMAGES, Extent, Meets, Met
from rtl.verify.mutation import narrow_words
from rtl.verify.network import _tensors, met_by, misfit
from rtl.verify.simulators import Simulator
from rtl.verify.traced import images_for
from tests.helpers.networks import network_of_every_step


def missing() -> str:
    """Which tool is missing and how to get it; empty where all are there."""
    for find in (find_yosys, find_iverilog):
        try:
            find()
        except MissingToolError as error:
            return str(error)
    return ""


needs_tools = pytest.mark.skipif(bool(missing()), reason=missing())


def tiny(*, pool_multiplier: int = 8192, pool_shift: int = 12) -> IntegerNetwork:
    """A layer of 3-bit POST weights behind 4 x 5 features of 6 bits; pooling gives 40 times X."""
    form = FeatureFormat(bits=6, fraction_bits=0)
    pixels = Input(
        name="pixels",
        height=4,
        width=5,
        multiplier=np.array([1, -1, 1]),
        offset=np.array([-128, 100, -10]),
        shift=2,
        output=form,
    )
    stages = (
        AdapterStage(
            weight=np.array([[3, -2, 1], [-1, 4, 5]]),
            bias=np.array([40, -7]),
            multiplier=900,
            shift=10,
            minimum=0,
            maximum=60000,
        ),
        AdapterStage(
            weight=np.array([[9, 5]]),
            bias=np.array([-30]),
            multiplier=700,
            shift=17,
            minimum=3,
            maximum=500,
        ),
    )
    step = AdaptiveStep(pool_multiplier=pool_multiplier, pool_shift=pool_shift, stages=stages)
    reader = Conv(
        name="reader",
        source="pixels",
        quantizer=ActivationQuantizer(
            grid=Grid(scheme=UNIFORM, bits=3, signed=False),
            step=step,
            step_fraction_bits=4,
        ),
        weight_grid=Grid(scheme=POST, bits=3),
        # Codes 2 and 3 are 1/sqrt 2 and 1; a sign bit above. Over the common shift 1: 1 and 2.
        weight_codes=np.array([3, 2, 3, 7, 6, 7], dtype=np.uint16).reshape(2, 3, 1, 1),
        multiplier=np.array([10, -30]),
        narrow_shift=3,
        shift=5,
        bias=np.array([7, -9]),
        output=form,
        stride=(1, 1),
        padding=(0, 0),
        groups=1,
    )
    last = Linear(
        name="scores",
        source="flat",
        quantizer=reader.quantizer,
        weight_grid=Grid(scheme=UNIFORM, bits=2),
        weight_codes=np.zeros((2, 40), dtype=np.uint16),
        multiplier=np.ones(2, dtype=np.int64),
        narrow_shift=0,
        shift=0,
        bias=np.zeros(2, dtype=np.int64),
        output=form,
    )
    return _with_scores(pixels, reader, last)


def _with_scores(pixels: Input, reader: Conv, last: Linear) -> IntegerNetwork:
    from dataclasses import replace

    from asq_hw.network.activation import FixedStep
    from asq_hw.network.layers import Flatten

    fixed = replace(last.quantizer, step=FixedStep(step=9))
    return IntegerNetwork(
        name="tiny",
        layers=(
            pixels,
            reader,
            Flatten(name="flat", source="reader"),
            replace(last, quantizer=fixed),
        ),
    )


# Widths from the network


def test_widths_are_those_of_a_hand_worked_layer() -> None:
    units = LayerUnits.of(tiny(), None)
    # 20 features of -32 ... 31, times 8192 / 2**12 = 2: 40 times each end.
    assert (units.means.low, units.means.high) == (-1280, 1240)
    assert units.adapter().mean_bits == 12
    assert (units.pooling().feature_bits, units.pooling().elements) == (6, 20)
    assert units.pooling().mean_bits == units.adapter().mean_bits
    # E is at most 7 * (2 + 2), or as low; O is 7 * 1. The narrowest word for both has 6 bits.
    assert [(bound.low, bound.high) for bound in units.sums] == [(-28, 28), (-7, 7)]
    # Steps are 3 ... 500: 500 * -30 / 8 = -1875 takes 12 bits.
    assert (units.multipliers.low, units.multipliers.high) == (-1875, 625)
    design = units.requantizer()
    assert (design.value_bits, design.multiplier_bits, design.pair) == (6, 12, True)
    assert (design.shift, design.bits) == (5 + 4, 6)
    quantizer = units.quantizer(LadderQuantizer)
    assert (quantizer.bits, quantizer.signed, quantizer.feature_bits) == (3, False, 6)
    assert quantizer.step_fraction_bits == 4


def test_means_of_every_layer_of_the_packaged_network_take_20_bits() -> None:
    network = load(model_path(BUNDLED))
    layers = [
        layer.name
        for layer in network.layers
        if isinstance(layer, Conv | Linear) and isinstance(layer.quantizer.step, AdaptiveStep)
    ]
    assert len(layers) == 20
    for name in layers:
        units = LayerUnits.of(network, name)
        assert units.adapter().mean_bits == 20
        channel = np.full(units.pooling().elements, -(1 << 15))
        last = np.zeros(len(channel), dtype=np.int64)
        last[-1] = 1
        means = units.pooling().reference({"last": last, "feature": channel})["mean"]
        assert means[-1] == units.means.low == -(1 << 19)


NARROW = [
    ("adapter --mean-bits 19", "mean bits of layer layer1.0.conv1 must be at least 20, not 19"),
    ("pooling --feature-bits 15", "feature bits of layer layer1.0.conv1 must be at least 16"),
    ("pooling --elements 783", "elements of layer layer1.0.conv1 must be at least 784"),
    ("pooling --shift 20", "the pooling shift of layer layer1.0.conv1 must be 21, not 20"),
    ("pooling --multiplier 1", "the pooling multiplier of layer layer1.0.conv1 must be 42799"),
    ("quantizer --feature-bits 15", "feature bits of layer layer1.0.conv1 must be at least 16"),
    ("quantizer --activation-bits 3", "activation bits of layer layer1.0.conv1 must be 4"),
    ("quantizer --step-fraction-bits 5", "step fraction bits of layer layer1.0.conv1 must be 6"),
    ("quantizer --signed", "activation codes of layer layer1.0.conv1 must be unsigned"),
    ("requantizer --value-bits 11", "value bits of layer layer1.0.conv1 must be at least 12"),
    ("requantizer --multiplier-bits 18", "multiplier bits of layer layer1.0.conv1 must be at"),
    ("requantizer --shift 15", "the shift of layer layer1.0.conv1 must be 14, not 15"),
    ("requantizer --bits 15", "feature bits of layer layer1.0.conv1 must be 16, not 15"),
]


@pytest.mark.parametrize("command", ["rtl", "verify"])
@pytest.mark.parametrize(("unit", "words"), NARROW, ids=[unit for unit, _ in NARROW])
def test_what_is_narrower_than_the_network_is_refused_in_one_line(
    command: str, unit: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    arguments = [command, *unit.split(), "--layer", "layer1.0.conv1"]
    arguments += ["-o", f"{tmp_path}/out"] if command == "rtl" else []
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1
    assert words in errors


@pytest.mark.parametrize("unit", ["pooling", "quantizer", "requantizer", "adapter"])
def test_layers_that_do_not_suit_are_refused(unit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", unit, "--layer", "none", "--method", "network"]) == 2
    assert "layer must be one of" in capsys.readouterr().err
    assert main(["verify", "pooling", "--layer", "fc"]) == 2
    assert "layer fc has no adapter: its step is fixed" in capsys.readouterr().err
    assert main(["verify", "pooling", "other.asq"]) == 2
    assert "layer must be named with --layer for the model other.asq" in capsys.readouterr().err


@pytest.mark.parametrize("unit", ["pooling", "adapter"])
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("log_linear", "layer log_linear has a log-linear step, which has no circuit"),
        ("shared_exponent", "layer shared_exponent has no adapter: its step is a shared exponent"),
        (None, "no layer of test has an adapter; its log-linear steps have no circuit"),
    ],
)
def test_steps_that_have_no_circuit_are_refused_by_name(
    unit: str, layer: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.asq"
    save(network_of_every_step(), path)
    with pytest.raises(InputError, match=words):
        LayerUnits.of(load(path), layer, adaptive=True)
    if layer is not None:
        assert main(["verify", unit, str(path), "--layer", layer, "--method", "network"]) == 2
        errors = capsys.readouterr().err
        assert words in errors and errors.count("\n") == 1


def test_steps_that_are_exponents_have_their_ranges() -> None:
    """2**(0 / 256) to 2**(4095 / 256) = 65358.8, and 2**1 to 2**9."""
    network = network_of_every_step()
    ranges = [LayerUnits.of(network, name).steps for name in ("log_linear", "shared_exponent")]
    assert [(found.low, found.high) for found in ranges] == [(1, 65359), (2, 512)]


def climbed(
    unit: str, monkeypatch: pytest.MonkeyPatch, *, failing: str = "", more: str = ""
) -> tuple[list[str], int]:
    """Layers whose network rung ``--layer all`` climbs, one of which may fail; the status."""
    layers: list[str] = []

    def check(meets: Meets, design: Design, units: LayerUnits, extent: Extent) -> list[Check]:
        kind = UNITS.find(unit)
        assert isinstance(kind, NetworkUnit)
        assert (meets, design.layer) == (kind.meets, units.layer.name)
        assert extent == Extent(images=IMAGES, whole=False)
        layers.append(design.layer)
        passed = design.layer != failing
        return [
            Check(
                name=design.name,
                method=Method.NETWORK,
                cases=1,
                passed=passed,
                seconds=0.0,
                detail="",
            )
        ]

    monkeypatch.setattr("rtl.verify.network.check_in_network", check)
    arguments = ["verify", unit, "--layer", "all", "--method", "network", *more.split()]
    return layers, main(arguments)


@pytest.mark.parametrize("unit", ["pooling", "quantizer", "requantizer", "adapter"])
def test_every_layer_of_a_network_in_one_command(
    unit: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, status = climbed(unit, monkeypatch)
    network = load(model_path(BUNDLED))
    every = [layer for layer in network.layers if isinstance(layer, Conv | Linear)]
    adaptive = [x.name for x in every if isinstance(x.quantizer.step, AdaptiveStep)]
    wanted = adaptive if unit in ("pooling", "adapter") else [layer.name for layer in every]
    assert len(adaptive) == 20 and len(every) > 20
    assert layers == wanted and status == 0
    assert f"{len(wanted)} of {len(wanted)} checks passed." in capsys.readouterr().out


def test_one_layer_that_fails_is_enough(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layers, status = climbed("adapter", monkeypatch, failing="layer2.0.conv1")
    assert len(layers) == 20 and status == 1
    assert "19 of 20 checks passed." in capsys.readouterr().out


def test_each_layer_s_checks_are_printed_before_the_next_layer_s_begin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []

    def check(kind: str, design: Design, units: LayerUnits, extent: Extent) -> list[Check]:
        printed.append(capsys.readouterr().out)
        return [timed(units.layer.name, Method.NETWORK, lambda: Outcome(cases=1, passed=True))]

    monkeypatch.setattr("rtl.verify.network.check_in_network", check)
    command = ["verify", "adapter", "--layer", "all", "--method", "network"]
    assert main(command) == 0
    assert printed[0] == "" and "layer1.0.conv1" in printed[1] and "layer1.0.conv2" in printed[2]
    assert capsys.readouterr().out.endswith("\n20 of 20 checks passed.\n")
    assert main([*command, "--format", "json"]) == 0
    assert printed[20:] == [""] * 20
    assert len(json.loads(capsys.readouterr().out)["checks"]) == 20


def test_what_one_of_all_layers_lacks_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first and the last layer's weights are uniform, those between make pairs of sums.
    layers, status = climbed("requantizer", monkeypatch, more="--method formal")
    assert (layers, status) == ([], 2)
    words = "method must be one of cosim, network, mutation here, not 'formal'"
    assert words in capsys.readouterr().err
    layers, status = climbed("adapter", monkeypatch, more="--mean-bits 19")
    assert (layers, status) == ([], 2)
    assert main(["rtl", "adapter", "--layer", "all", "-o", "nowhere"]) == 2
    assert "layer must be one of" in capsys.readouterr().err


def test_a_wider_unit_may_be_asked_for() -> None:
    units = LayerUnits.of(tiny(), "reader")
    assert units.adapter(mean_bits=24).mean_bits == 24
    assert units.pooling(elements=64, feature_bits=9).elements == 64
    assert units.requantizer(value_bits=20, multiplier_bits=30).multiplier_bits == 30
    with pytest.raises(InputError, match="layer scores has no pair of sums"):
        LayerUnits.of(tiny(), "scores").requantizer(pair=True)


# What a layer's units meet

DESIGNS: dict[str, Callable[[LayerUnits], Design]] = {
    "pooling": LayerUnits.pooling,
    "adapter": LayerUnits.adapter,
    "quantizer": lambda units: units.quantizer(LadderQuantizer),
    "requantizer": LayerUnits.requantizer,
}


def meets(kind: str) -> Meets:
    unit = UNITS.find(kind)
    assert isinstance(unit, NetworkUnit)
    return unit.meets


@pytest.mark.parametrize("kind", DESIGNS)
def test_units_of_a_layer_are_checked_in_their_network_and_no_others(kind: str) -> None:
    units, unit = LayerUnits.of(tiny(), "reader"), UNITS.find(kind)
    designs = [DESIGNS[kind](units)]
    assert Method.NETWORK in unit.rungs(designs, {}, Effort(), units)
    assert Method.NETWORK not in unit.rungs(designs, {}, Effort())


@pytest.mark.parametrize("kind", DESIGNS)
def test_software_models_give_the_network_s_tensors(kind: str) -> None:
    network = tiny()
    units = LayerUnits.of(network, "reader")
    met = met_by(meets(kind), units, images_for(network, 30))
    design = DESIGNS[kind](units)
    assert misfit(design, met) == ""
    answers = design.reference(met.rows)[design.outputs[0].name]
    assert met.traced >= 30
    assert np.array_equal(answers[met.known], met.expected[met.known])
    assert len(np.unique(met.expected[met.known])) > 3


@pytest.mark.parametrize("kind", ["adapter", "pooling", "requantizer"])
def test_drawn_operations_reach_the_ends_of_what_can_come(kind: str) -> None:
    network = tiny()
    units = LayerUnits.of(network, "reader")
    rows = met_by(meets(kind), units, images_for(network, 4)).rows
    ranges = {
        "adapter": {"mean": (units.means.low, units.means.high)},
        "pooling": {"feature": (-32, 31)},
        "requantizer": {
            "even": (-28, 28),
            "odd": (-7, 7),
            "multiplier": (units.multipliers.low, units.multipliers.high),
        },
    }[kind]
    for name, ends in ranges.items():
        assert (rows[name].min(), rows[name].max()) == ends


def test_the_packaged_network_is_traced_on_the_packaged_images() -> None:
    network = load(model_path(BUNDLED))
    units = LayerUnits.of(network, "layer3.2.conv2")
    met = met_by(ADAPTER.meets, units, images_for(network, 20))
    right, old = units.adapter(), Adapter(stages=units.adaptive_step.stages, mean_bits=16)
    assert np.array_equal(right.reference(met.rows)["step"][met.known], met.expected[met.known])
    assert misfit(right, met) == ""
    # The width that adapters had: real means do not fit it, and the check says so.
    traced = {"mean": met.rows["mean"][: 20 * right.channels]}
    only = Met(rows=traced, expected=met.expected[: 20 * 64], known=met.known[: 20 * 64])
    assert "mean must carry" in misfit(old, only)
    outcome = _tensors(old, met)
    assert not outcome.passed and "and has 16 bits" in outcome.detail


def test_other_networks_get_drawn_images() -> None:
    images = images_for(tiny(), 50)
    assert images.shape == (50, 3, 4, 5) and images.dtype == np.uint8
    assert (images[0].max(), images[1].min()) == (0, 255)
    assert all(not np.array_equal(a, b) for a, b in pairwise(images))


# One bit too narrow


def narrow(design: Design, operations: int = 2500) -> dict[bool, set[str]]:
    """Names of the words whose narrowing the emitted vectors notice (True), and of the others."""
    words = narrow_words(design, Vectors.random(design, operations), simulator=Simulator.ICARUS)
    return {
        each: {word.name for word, told in words.items() if told is each} for each in (True, False)
    }


@needs_tools
@pytest.mark.parametrize(
    ("design", "inner"),
    [
        (Requantizer(), {"product", "total"}),
        (Requantizer(value_bits=10, pair=True, shift=18), {"joined", "product", "total", "root"}),
        (PoolingAccumulator(feature_bits=8, elements=9, multiplier=1337), {"total", "product"}),
        (
            LayerUnits.of(tiny(), "reader").adapter(),
            {"stage1_sum0", "stage1_sum1", "stage1_product"},
        ),
        (ReciprocalQuantizer(bits=3, feature_bits=8, step_fraction_bits=4), {"shifted", "rest"}),
        (Mac(scheme=MacScheme.POST_SPLIT, weight_bits=3, accumulator_bits=9), {"even", "odd"}),
        (Mac(scheme=MacScheme.UNIFORM, weight_bits=3, accumulator_bits=9), {"accumulator"}),
        (
            Mac(scheme=MacScheme.UNIFORM, weight_bits=3, accumulator_bits=9, style=Style.SERIAL),
            {"accumulator"},
        ),
        (
            DotProduct(
                mac=Mac(scheme=MacScheme.POST_SPLIT, weight_bits=3, accumulator_bits=9), lanes=2
            ),
            {"even", "odd"},
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Design) else "",
)
def test_a_unit_that_is_one_bit_too_narrow_is_noticed(design: Design, inner: set[str]) -> None:
    told = narrow(design)
    assert told[True] >= inner | {port.name for port in design.inputs if port.width > 1}


@needs_tools
def test_a_ladder_that_is_one_bit_too_narrow_is_noticed() -> None:
    design = LadderQuantizer(bits=3, feature_bits=8, step_fraction_bits=8)
    told = narrow(design)
    assert told[True] >= {"step", "feature", "multiple", "taken", "thresholds2[3]"}
    # The lowest thresholds need fewer bits than the highest, in tables of one width.
    assert {name for name in told[False] if name not in told[True]} == {"thresholds2[0]"}
