"""What is measured of a kind of unit: which designs, and what is said of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from analysis.studies.jobs import side_by_side
from rtl.design import Design
from rtl.quantizer.of_layer import LayerUnits
from rtl.synthesis.measure import Measurement, check_pins, find_router, measure
from rtl.targets.target import Target
from rtl.units.option import Given, Option
from rtl.units.unit import LayerUse, Unit

__all__ = ["Findings", "Heading", "Planned", "Study", "UnitStudy", "area_of", "measure_each"]

Planned = tuple[Target, Design]
"""A design to measure, and on what."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A column for people: key of a row, what it is called, and how a value is written."""

    key: str
    heading: str
    form: str = ""


RESOURCES = (
    Heading("luts", "LUTs", "d"),
    Heading("ffs", "FFs", "d"),
    Heading("carries", "carry bits", "d"),
    Heading("dsps", "DSPs", "d"),
    Heading("cells", "placed cells", "d"),
    Heading("transistors", "transistors", "d"),
)
FMAX = Heading("fmax_mhz", "Fmax (MHz)", ".0f")


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What came of a study.

    Parameters
    ----------
    rows : sequence of mapping
        A row for each design on each target.
    others : mapping
        What else there is to tell programs, by key.
    notes : sequence of str
        Lines for people.
    """

    rows: Sequence[Mapping[str, object]]
    others: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Study(ABC):
    """How ``asq-hw synth`` measures a kind of unit.

    Attributes
    ----------
    options : sequence of Option
        Which designs.
    columns : sequence of Heading
        What people see of a row, where a row has it.
    layer : LayerUse
        Whether the designs may be made for a network's layer.
    peers : sequence of str
        Keys of a row that designs share whose switched energy is compared; empty where that cannot
        be measured.
    """

    options: Sequence[Option]
    columns: Sequence[Heading]
    layer: LayerUse = LayerUse.NEVER
    peers: Sequence[str] = ()

    def is_base(self, row: Mapping[str, object]) -> bool:
        """Whether others are held against the design of a row."""
        return False

    @abstractmethod
    def plan(
        self, given: Given, targets: Sequence[Target], layer: LayerUnits | None = None
    ) -> Sequence[Planned]:
        """The designs to measure.

        Raises
        ------
        InputError
            If there is no such design.
        """

    @abstractmethod
    def findings(self, planned: Sequence[Planned], measured: Sequence[Measurement]) -> Findings:
        """What the measurements of the designs that `plan` gave say."""


class UnitStudy(Study):
    """One design of any kind of unit, on each target."""

    columns = (
        Heading("target", "target"),
        Heading("latency_cyc", "latency (cycles)", "d"),
        Heading("interval_cyc", "interval (cycles)", "d"),
        *RESOURCES,
        FMAX,
        Heading("unit", "unit"),
    )

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.options = unit.options
        self.layer = unit.layer

    def plan(
        self, given: Given, targets: Sequence[Target], layer: LayerUnits | None = None
    ) -> Sequence[Planned]:
        """The design that the options describe."""
        design = self._unit.design(given, layer)
        return [(target, design) for target in targets]

    def findings(self, planned: Sequence[Planned], measured: Sequence[Measurement]) -> Findings:
        """A row for each target."""
        rows = [
            _row(target, design, measurement)
            for (target, design), measurement in zip(planned, measured, strict=True)
        ]
        return Findings(rows=rows)


def _row(target: Target, design: Design, measured: Measurement) -> dict[str, object]:
    resources = measured.resources
    return {
        "target": target.name,
        "unit": design.stem,
        "layer": design.layer or None,
        "latency_cyc": design.latency_cyc,
        "interval_cyc": design.interval_cyc,
        "area": area_of(measured, target),
        "luts": resources.luts,
        "ffs": resources.ffs,
        "carries": resources.carries,
        "dsps": resources.dsps,
        "cells": measured.cells,
        "transistors": resources.transistors,
        "fmax_mhz": measured.fmax_mhz,
        "fmax_by_seed_mhz": list(measured.fmax_by_seed_mhz),
        **resources.others,
    }


def measure_each(
    planned: Sequence[Planned],
    *,
    seeds: int = 0,
    dsp: bool = False,
    jobs: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Measurement]:
    """Synthesize (and, with `seeds`, place and route) each design; `jobs` of them at a time.

    With several targets, those that cannot be routed are only synthesized.

    Parameters
    ----------
    planned : sequence of Planned
        Designs with their targets.
    seeds : int
        Placements of each.
    dsp : bool
        Whether multiplier blocks may be used.
    jobs : int, optional
        Default: cores.
    progress : callable, optional
        Told how many are done.

    Raises
    ------
    InputError
        If no target can be routed, or a design to route has more ports than the device has pins:
        before any work is done.
    """
    if seeds and not any(target.router for target, _ in planned):
        for target, _ in planned:
            find_router(target)
    for target, design in planned if seeds else ():
        if target.router:
            check_pins(design, target)

    def one(place: int) -> Measurement:
        target, design = planned[place]
        return measure(design, target, seeds=seeds if target.router else 0, dsp=dsp)

    return side_by_side(one, len(planned), jobs=jobs, progress=progress)


def area_of(measurement: Measurement, target: Target) -> int:
    """What the target's area is counted in: look-up tables, or transistors of gates."""
    area = measurement.resources.count(target.area.key)
    assert area is not None, f"{target} counts no {target.area.key}"
    return area
