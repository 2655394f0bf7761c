"""Which proofs there are of a design, by its class."""

from __future__ import annotations

from functools import singledispatch

from asq_hw.errors import InputError
from rtl.design import Design, MacDesign
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.exponent import ExponentFinder
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.odd_ladder import OddLadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.requantizer import Requantizer
from rtl.quantizer.shift import ShiftQuantizer
from rtl.verify.checks import Check
from rtl.verify.exponent import ExponentHarness, ShiftHarness
from rtl.verify.ladder import ConstantHarness, LadderHarness, OddLadderHarness
from rtl.verify.mac import MacProof
from rtl.verify.mac_harness import Claim
from rtl.verify.proofs import Proof, check_proofs
from rtl.verify.scaling import PoolingHarness, RequantizerHarness
from rtl.verify.unit import Bug, Part, UnitProof

__all__ = ["has_proof", "proofs_of", "prove_design"]


@singledispatch
def proofs_of(design: Design) -> tuple[Proof, ...]:
    """What together says that a unit's results are right; empty where there is no proof.

    ``proofs_of.register`` adds those of a class of designs.
    """
    return ()


def has_proof(design: Design) -> bool:
    """Whether there is a proof for units of this kind."""
    return bool(proofs_of(design))


def prove_design(design: Design) -> list[Check]:
    """Prove that a unit's results are right, for all inputs; each proof has a twin.

    Raises
    ------
    InputError
        If there is no proof for units of this kind.
    """
    if not has_proof(design):
        raise InputError(f"there is no proof for {design.name}")
    return check_proofs(design, proofs_of(design))


@proofs_of.register
def _mac(design: MacDesign) -> tuple[Proof, ...]:
    return tuple(MacProof(design=design, claim=claim) for claim in Claim)


@proofs_of.register
def _ladder(design: LadderQuantizer) -> tuple[Proof, ...]:
    lowest = -(1 << (design.feature_bits - 1))
    bugs = {
        Part.STATE: Bug(when={"step": 5, "load": 1}, instead=7),
        Part.RESULTS: Bug(when={"feature": 3, "load": 0}, instead=lowest),
    }
    return tuple(
        UnitProof(part=part, harness=lambda bug: LadderHarness(design, bug), bug=bug)
        for part, bug in bugs.items()
    )


@proofs_of.register
def _odd_ladder(design: OddLadderQuantizer) -> tuple[Proof, ...]:
    bugs = {
        # Its odd step is 4, that of 7 is 5.
        Part.STATE: Bug(when={"step": 5, "load": 1}, instead=7),
        Part.RESULTS: Bug(when={"odd_code": 1}, instead=0),
    }
    return tuple(
        UnitProof(part=part, harness=lambda bug: OddLadderHarness(design, bug), bug=bug)
        for part, bug in bugs.items()
    )


@proofs_of.register
def _constant(design: ConstantQuantizer) -> tuple[Proof, ...]:
    bug = Bug(when={"code": 1}, instead=0)
    return (
        UnitProof(part=Part.RESULTS, harness=lambda bug: ConstantHarness(design, bug), bug=bug),
    )


@proofs_of.register
def _requantizer(design: Requantizer) -> tuple[Proof, ...]:
    bug = Bug(when={"odd" if design.pair else "value": 1}, instead=0)
    return (
        UnitProof(part=Part.RESULTS, harness=lambda bug: RequantizerHarness(design, bug), bug=bug),
    )


@proofs_of.register
def _pooling(design: PoolingAccumulator) -> tuple[Proof, ...]:
    bugs = {
        Part.STATE: Bug(when={"feature": 3}, instead=2),
        Part.RESULTS: Bug(when={"mean": 0}, instead=-1),
    }
    return tuple(
        UnitProof(part=part, harness=lambda bug: PoolingHarness(design, bug), bug=bug)
        for part, bug in bugs.items()
    )


@proofs_of.register
def _shift(design: ShiftQuantizer) -> tuple[Proof, ...]:
    lowest = -(1 << (design.feature_bits - 1))
    bugs = {
        # As 8 instead of 4.
        Part.STATE: Bug(when={"step": 5, "load": 1}, instead=9),
        Part.RESULTS: Bug(when={"feature": 3, "load": 0}, instead=lowest),
    }
    return tuple(
        UnitProof(part=part, harness=lambda bug: ShiftHarness(design, bug), bug=bug)
        for part, bug in bugs.items()
    )


@proofs_of.register
def _exponent(design: ExponentFinder) -> tuple[Proof, ...]:
    bugs = {
        Part.STATE: Bug(when={"feature": 3}, instead=1),
        Part.RESULTS: Bug(when={"step": 1 << design.exponent_at(0)}, instead=0),
    }
    return tuple(
        UnitProof(part=part, harness=lambda bug: ExponentHarness(design, bug), bug=bug)
        for part, bug in bugs.items()
    )
