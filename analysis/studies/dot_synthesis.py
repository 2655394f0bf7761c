"""Dot-product units, measured: what a smaller product is worth where it stands many times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product

from analysis.studies.synthesis import area_of, each_in_turn
from asq_hw.errors import InputError
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import Accumulation, MacScheme, Style
from rtl.synthesis.measure import Measurement, check_pins, measure
from rtl.synthesis.targets import Target

__all__ = ["measure_units", "units"]

Planned = tuple[Target, DotProduct]


def units(
    schemes: Sequence[MacScheme],
    lanes: Iterable[int],
    targets: Iterable[Target],
    *,
    bits: int,
    activation_bits: int = 4,
    activation_signed: bool = False,
    accumulator_bits: int = 24,
) -> list[Planned]:
    """The units to measure, uniform first: in ``pair`` and ``ordered`` sums where there is a pair.

    Raises
    ------
    InputError
        If a scheme is not built with these operands.
    """
    schemes = sorted(schemes, key=lambda scheme: scheme is not MacScheme.UNIFORM)
    made: list[Planned] = []
    for target, count, scheme in product(targets, lanes, schemes):
        plain = Mac(
            scheme=scheme,
            weight_bits=bits,
            activation_bits=activation_bits,
            activation_signed=activation_signed,
            accumulator_bits=accumulator_bits,
        )
        sums = (Accumulation.PAIR, Accumulation.ORDERED) if plain.splits else (plain.accumulation,)
        # Registers are free where each look-up table has one, and dear where all is gates.
        styles = (Style.DIRECT, Style.SELECT, Style.TABLE) if target is Target.GATES else ()
        for accumulation in sums:
            tried = [plain.variant(style=s, accumulation=accumulation) for s in (*styles, None)]
            mac = next(each for each in tried if each is not None)
            made.append((target, DotProduct(mac=mac, lanes=count)))
    return made


def measure_units(
    planned: Sequence[Planned],
    *,
    seeds: int = 0,
    jobs: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, object]]:
    """A row for each unit; ratios are to the uniform one of the same target and lanes.

    With several targets, those that cannot be routed are only synthesized.
    """
    if seeds and not any(target.is_routable for target, _ in planned):
        raise InputError("place and route is for ice40 and ecp5")
    for target, design in planned if seeds else ():
        if target.is_routable:
            check_pins(design, target)

    def one(unit: Planned) -> Measurement:
        target, design = unit
        return measure(design, target, seeds=seeds if target.is_routable else 0)

    measured = each_in_turn(one, planned, jobs=jobs, progress=progress)
    rows = [_row(unit, result) for unit, result in zip(planned, measured, strict=True)]
    baselines = {
        (row["target"], row["lanes"]): row for row in rows if row["scheme"] == MacScheme.UNIFORM
    }
    for row in rows:
        base = baselines.get((row["target"], row["lanes"]))
        for ratio, key in (("area_ratio", "area"), ("fmax_ratio", "fmax_mhz")):
            row[ratio] = _ratio(row[key], base[key]) if base else None
    return rows


def _ratio(value: object, base: object) -> float | None:
    if isinstance(value, int | float) and isinstance(base, int | float):
        return value / base
    return None


def _row(unit: Planned, measured: Measurement) -> dict[str, object]:
    target, design = unit
    mac, resources = design.mac, measured.resources
    return {
        "target": str(target),
        "lanes": design.lanes,
        "scheme": str(mac.scheme),
        "bits": mac.weight_bits,
        "accumulation": str(mac.accumulation),
        "style": str(mac.style),
        "latency_cyc": design.latency_cyc,
        "area": area_of(measured, target),
        "luts": resources.luts,
        "ffs": resources.ffs,
        "cells": measured.cells,
        "transistors": resources.transistors,
        "fmax_mhz": measured.fmax_mhz,
        "unit": design.stem,
    }
