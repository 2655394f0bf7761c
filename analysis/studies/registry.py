"""Which study measures a kind of unit."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.studies.array_synthesis import ArrayStudy
from analysis.studies.dot_synthesis import DotStudy
from analysis.studies.mac_study import MacStudy
from analysis.studies.study import Study, UnitStudy
from rtl.units.array import ARRAY
from rtl.units.dot import DOT
from rtl.units.mac import MAC
from rtl.units.unit import Unit

__all__ = ["study_of"]

_STUDIES: Mapping[Unit, Study] = {MAC: MacStudy(), DOT: DotStudy(), ARRAY: ArrayStudy()}
"""Those that compare designs with one another; of other kinds one design is measured."""


def study_of(unit: Unit) -> Study:
    """How designs of that kind are measured."""
    return _STUDIES.get(unit) or UnitStudy(unit)
