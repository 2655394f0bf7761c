"""Names that no two circuits share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from asq_hw.cli.options import BUNDLED, model_path
from asq_hw.modelfile import load
from asq_hw.network.activation import AdapterStage, AdaptiveStep
from asq_hw.network.layers import Conv, Linear
from rtl.design import Design
from rtl.digest import digest, silent_at, unit_name
from rtl.emit.manifest import core
from rtl.emit.verilog import header
from rtl.identifiers import check_identifier
from rtl.lib.cells import ECP5_CELLS
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import Clear, Style
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.exponent import ExponentFinder
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.quantizer.requantizer import Requantizer


def stage(**changes: object) -> AdapterStage:
    made = AdapterStage(
        weight=np.array([[3, -4]]),
        bias=np.array([5]),
        multiplier=6,
        shift=7,
        minimum=8,
        maximum=900,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def adapter(**changes: object) -> Adapter:
    return Adapter(stages=(stage(**changes),), layer="conv")


CHANGED_STAGES = (
    {"weight": np.array([[3, -5]])},
    {"bias": np.array([6])},
    {"multiplier": 7},
    {"shift": 8},
    {"minimum": 9},
    {"maximum": 901},
)


@pytest.mark.parametrize("changes", CHANGED_STAGES, ids=lambda changes: next(iter(changes)))
def test_a_constant_that_differs_gives_another_name(changes: dict[str, object]) -> None:
    one, other = adapter(), adapter(**changes)
    assert one.stem == other.stem and one.parameters == other.parameters
    assert one.name != other.name
    assert one.name == adapter().name


ALTERED: tuple[tuple[Design, dict[str, object]], ...] = (
    (Mac(scheme="uniform"), {"clear": Clear.AHEAD, "signs": "deferred", "layer": "fc"}),
    (Mac(scheme="pot"), {"style": Style.SELECT}),
    (DotProduct(mac=Mac(scheme="pot"), lanes=2), {"lanes": 3, "mac": Mac(scheme="apot")}),
    (LadderQuantizer(), {"bits": 5, "signed": True, "feature_bits": 17, "step_fraction_bits": 1}),
    (PoolingAccumulator(), {"elements": 49, "multiplier": 5, "shift": 3, "feature_bits": 9}),
    (ConstantQuantizer(), {"bits": 5, "signed": True, "feature_bits": 17, "step": 3}),
    (ExponentFinder(), {"offset": 4, "lowest": 1, "highest": 14, "feature_bits": 9}),
    (Requantizer(), {"value_bits": 23, "multiplier_bits": 15, "shift": 2, "bits": 8, "pair": True}),
)


@pytest.mark.parametrize(
    ("design", "change"),
    [(design, {key: value}) for design, changes in ALTERED for key, value in changes.items()],
    ids=str,
)
def test_every_field_is_in_the_digest(design: Design, change: dict[str, object]) -> None:
    assert replace(design, **change).digest != design.digest  # type: ignore[arg-type]


def test_a_field_that_few_units_have_is_silent_at_its_default() -> None:
    """Names of units without it would else change with each such field that there comes to be."""

    @dataclass(frozen=True)
    class Plain:
        bits: int

    @dataclass(frozen=True)
    class Changed:
        bits: int
        cells: object = field(default=None, metadata=silent_at(None))

    Changed.__name__ = Plain.__name__
    assert digest(Changed(3)) == digest(Plain(3))
    assert digest(Changed(3, ECP5_CELLS)) != digest(Plain(3))


def test_another_kind_of_unit_has_another_digest() -> None:
    assert LadderQuantizer().digest != ReciprocalQuantizer().digest


def test_the_adapters_of_a_network_have_as_many_names_as_there_are() -> None:
    adapters = [
        Adapter(stages=layer.quantizer.step.stages, mean_bits=20, layer=layer.name)
        for layer in load(model_path(BUNDLED)).layers
        if isinstance(layer, Conv | Linear) and isinstance(layer.quantizer.step, AdaptiveStep)
    ]
    assert len({unit.name for unit in adapters}) == len(adapters) == 20
    assert all("layer" in unit.name for unit in adapters[:5])


LAYERS = {
    "layer3.2.conv2": "adapter_layer3_2_conv2_0123456789",
    "": "adapter_0123456789",
    "é/../x;y`z": "adapter_x_y_z_0123456789",
    "\n$finish;": "adapter_finish_0123456789",
    "_" * 200: "adapter_0123456789",
    "a" * 200: f"adapter_{'a' * 40}_0123456789",
}


@pytest.mark.parametrize(("layer", "name"), LAYERS.items())
def test_a_layer_s_name_becomes_letters_and_digits(layer: str, name: str) -> None:
    assert check_identifier("a name", unit_name("adapter", layer, "0123456789abcdef")) == name


def test_layers_that_differ_in_what_no_identifier_holds_have_different_names() -> None:
    names = {replace(adapter(), layer=layer).name for layer in ("a.b", "a_b", "a-b", "A.b", "a b")}
    assert len(names) == 5


def test_a_hostile_layer_name_cannot_leave_its_comment_or_its_text() -> None:
    design = replace(adapter(), layer='x\n`include "y"\nendmodule \x1b[2J')
    text = header(design)
    assert all(line.startswith("//") for line in text.splitlines())
    assert text.isascii() and "\x1b" not in text
    kinds = ("verilog", "testbench", "vectors", "lpf", "pcf", "xdc")
    described = core(design, {kind: "a.v" for kind in kinds})
    (line,) = [line for line in described.splitlines() if line.startswith("description: ")]
    assert json.loads(line.removeprefix("description: ")).endswith(design.layer)


def test_what_cannot_be_told_apart_is_an_error() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: object

    assert digest(Odd((1, True))) != digest(Odd((1, 1)))
    assert digest(Odd(("1",))) != digest(Odd((1,)))
    assert digest(Odd(np.array([[1, 2]]))) != digest(Odd(np.array([[1], [2]])))
    with pytest.raises(TypeError, match="no digest is defined for object"):
        digest(Odd(object()))
    with pytest.raises(TypeError, match="no digest is defined for ndarray"):
        digest(Odd(np.array([0.5])))
