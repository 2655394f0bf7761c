"""Proofs of the units around the dot product: which harness each has, and its twins' bugs."""

from __future__ import annotations

from functools import singledispatch

from asq_hw.errors import InputError
from rtl.design import Design
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.requantizer import Requantizer
from rtl.verify.checks import Check
from rtl.verify.ladder import LadderHarness
from rtl.verify.proofs import Part, prove_unit
from rtl.verify.scaling import PoolingHarness, RequantizerHarness
from rtl.verify.unit import Bug

__all__ = ["prove_design"]


@singledispatch
def prove_design(design: Design) -> list[Check]:
    """Prove that a unit's results are the contract's, for all inputs; each proof has a twin.

    Raises
    ------
    InputError
        If there is no proof for units of this kind.
    """
    raise InputError(f"there is no proof for {design.name}")


@prove_design.register
def _ladder(design: LadderQuantizer) -> list[Check]:
    lowest = -(1 << (design.feature_bits - 1))
    bugs = {
        Part.STATE: Bug(when={"step": 5, "load": 1}, instead=7),
        Part.RESULTS: Bug(when={"feature": 3, "load": 0}, instead=lowest),
    }
    return prove_unit(design, lambda bug: LadderHarness(design, bug), bugs)


@prove_design.register
def _requantizer(design: Requantizer) -> list[Check]:
    value = "odd" if design.pair else "value"
    bugs = {Part.RESULTS: Bug(when={value: 1}, instead=0)}
    return prove_unit(design, lambda bug: RequantizerHarness(design, bug), bugs)


@prove_design.register
def _pooling(design: PoolingAccumulator) -> list[Check]:
    bugs = {
        Part.STATE: Bug(when={"feature": 3}, instead=2),
        Part.RESULTS: Bug(when={"mean": 0}, instead=-1),
    }
    return prove_unit(design, lambda bug: PoolingHarness(design, bug), bugs)
