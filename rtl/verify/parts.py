"""Proofs of the units around the dot product: which harness each has, and its twins' bugs."""

from __future__ import annotations

from functools import singledispatch

from asq_hw.errors import InputError
from rtl.design import Design
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.requantizer import Requantizer
from rtl.verify.checks import Check
from rtl.verify.formal import Answer
from rtl.verify.ladder import LadderHarness
from rtl.verify.proofs import HarnessOf, Part, prove_part, prove_unit
from rtl.verify.scaling import PoolingHarness, RequantizerHarness
from rtl.verify.unit import Bug

__all__ = ["has_proof", "is_proven", "prove_design"]


def has_proof(design: Design) -> bool:
    """Whether there is a proof for units of this kind."""
    return _claims(design) is not None


def prove_design(design: Design) -> list[Check]:
    """Prove that a unit's results are the contract's, for all inputs; each proof has a twin.

    Raises
    ------
    InputError
        If there is no proof for units of this kind.
    """
    claims = _claims(design)
    if claims is None:
        raise InputError(f"there is no proof for {design.name}")
    return prove_unit(design, *claims)


def is_proven(design: Design, verilog: str) -> bool:
    """Whether a changed copy of a unit's Verilog is proven to be right as the unit is.

    False where there is no proof for units of this kind.
    """
    claims = _claims(design)
    if claims is None:
        return False
    harness, bugs = claims
    return all(prove_part(part, harness(None), verilog)[0] is Answer.PROVEN for part in bugs)


@singledispatch
def _claims(design: Design) -> tuple[HarnessOf, dict[Part, Bug]] | None:
    """The unit's harness, and a twin's bug for each part of the proof."""
    return None


@_claims.register
def _ladder(design: LadderQuantizer) -> tuple[HarnessOf, dict[Part, Bug]]:
    lowest = -(1 << (design.feature_bits - 1))
    return lambda bug: LadderHarness(design, bug), {
        Part.STATE: Bug(when={"step": 5, "load": 1}, instead=7),
        Part.RESULTS: Bug(when={"feature": 3, "load": 0}, instead=lowest),
    }


@_claims.register
def _requantizer(design: Requantizer) -> tuple[HarnessOf, dict[Part, Bug]]:
    value = "odd" if design.pair else "value"
    bugs = {Part.RESULTS: Bug(when={value: 1}, instead=0)}
    return lambda bug: RequantizerHarness(design, bug), bugs


@_claims.register
def _pooling(design: PoolingAccumulator) -> tuple[HarnessOf, dict[Part, Bug]]:
    return lambda bug: PoolingHarness(design, bug), {
        Part.STATE: Bug(when={"feature": 3}, instead=2),
        Part.RESULTS: Bug(when={"mean": 0}, instead=-1),
    }
