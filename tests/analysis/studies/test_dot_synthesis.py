"""Dot-product units: which are measured, and what their ratios are over."""

from __future__ import annotations

from collections import Counter

import pytest

from analysis.studies.dot_synthesis import DotStudy, units
from asq_hw.errors import InputError
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import MacScheme, Signs
from rtl.synthesis.measure import Measurement
from rtl.targets.ecp5 import ECP5
from rtl.targets.gates import GATES
from rtl.targets.target import Resources


def test_each_scheme_is_built_in_every_style_code_and_sign() -> None:
    schemes = [MacScheme.POST_SPLIT, MacScheme.UNIFORM]
    made = units(schemes, [4, 8], [ECP5, GATES], bits=4, signs=list(Signs))
    designs = [design for target, design in made if target is ECP5]
    assert all(isinstance(design, DotProduct) for design in designs)
    assert designs == [design for target, design in made if target is GATES]
    assert len(set(designs)) == len(designs)
    macs = [each.mac for each in designs if isinstance(each, DotProduct) and each.lanes == 8]
    uniform = [mac for mac in macs if mac.scheme is MacScheme.UNIFORM]
    assert macs[: len(uniform)] == uniform
    ways = {(str(mac.style), str(mac.codes)) for mac in uniform}
    assert {("rows", "stored"), ("rows", "inverted"), ("direct", "sign-magnitude")} <= ways
    assert {(way, signs) for way in ways for signs in Signs} == {
        ((str(mac.style), str(mac.codes)), mac.signs) for mac in uniform
    }
    sums = Counter(str(mac.accumulation) for mac in macs if mac.scheme is MacScheme.POST_SPLIT)
    assert sums == {"pair": 4, "ordered": 4}  # two styles with both signs


def test_a_unit_that_cannot_be_says_why() -> None:
    with pytest.raises(InputError, match="weight bits of post-split must be"):
        units([MacScheme.POST_SPLIT], [4], [ECP5], bits=8)
    with pytest.raises(InputError, match=r"lanes must be an integer in 1..256, not 300"):
        units([MacScheme.UNIFORM], [300], [ECP5], bits=4)


def _planned(scheme: str, lanes: int, **choices: object) -> tuple[object, DotProduct]:
    return ECP5, DotProduct(mac=Mac(scheme=scheme, **choices), lanes=lanes)  # type: ignore[arg-type]


def test_ratios_are_over_the_best_uniform_unit_of_as_many_lanes() -> None:
    measured = {
        _planned("uniform", 4): (100, 250.0),
        _planned("uniform", 4, codes="sign-magnitude", signs="deferred"): (80, 200.0),
        _planned("uniform", 8): (150, 100.0),
        _planned("post-split", 4, accumulation="pair"): (120, 225.0),
        _planned("post-split", 4, accumulation="ordered"): (60, 300.0),
        _planned("post-dual", 16): (40, 100.0),
    }
    results = [
        Measurement(
            resources=Resources(luts=luts, ffs=1, carries=0, dsps=0), fmax_by_seed_mhz=(fmax,)
        )
        for luts, fmax in measured.values()
    ]
    rows = DotStudy().findings(list(measured), results).rows  # type: ignore[arg-type]
    assert [row["area_ratio"] for row in rows] == [1.25, 1.0, 1.0, 1.5, None, None]
    assert [row["fmax_ratio"] for row in rows] == [1.0, 0.8, 1.0, 0.9, None, None]
    assert [(row["codes"], row["signs"], row["levels"]) for row in rows][:2] == [
        ("stored", "immediate", 16),
        ("sign-magnitude", "deferred", 15),
    ]
