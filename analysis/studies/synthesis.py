"""Multiply-accumulate units, measured: schemes, widths and targets in one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import TypeVar

from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.schemes import POST, POT
from asq_hw.numbers.validation import check_range
from rtl.mac.design import Mac
from rtl.mac.schemes import Accumulation, Clear, MacScheme, Style
from rtl.synthesis.measure import Measurement, check_pins, measure
from rtl.synthesis.targets import Target

__all__ = [
    "Comparison",
    "Row",
    "Variants",
    "area_of",
    "compare",
    "each_in_turn",
    "measure_all",
    "units",
]

_Unit = TypeVar("_Unit")


class Variants(StrEnum):
    """How many ways to build a unit are tried."""

    RECOMMENDED = "recommended"
    """The ways that came out best at 4 bits: three for post-split, a parallel and a serial one
    for uniform, one each for the others."""
    REGISTERED = "registered"
    """Every style, accumulation and number of segments with a register before the sum and the sum
    cleared ahead, where that exists: what FPGAs are fastest with. The plain multiplier, too."""
    ALL = "all"
    """Every style, accumulation, clear, pipeline and number of segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One unit on one target."""

    mac: Mac
    target: Target
    measurement: Measurement

    @property
    def area(self) -> int:
        """Look-up tables, or transistors of gates."""
        return area_of(self.measurement, self.target)

    def as_dict(self) -> dict[str, object]:
        """Column names and values, for JSON and tables."""
        mac, resources = self.mac, self.measurement.resources
        return {
            "scheme": str(mac.scheme),
            "bits": mac.weight_bits,
            "target": str(self.target),
            "luts": resources.luts,
            "ffs": resources.ffs,
            "carries": resources.carries,
            "dsps": resources.dsps,
            "cells": self.measurement.cells,
            "transistors": resources.transistors,
            "fmax_mhz": self.measurement.fmax_mhz,
            "fmax_by_seed_mhz": list(self.measurement.fmax_by_seed_mhz),
            "latency_cyc": mac.latency_cyc,
            "cycles_per_product": mac.interval_cyc,
            "activation_bits": mac.activation_bits,
            "activation_signed": mac.activation_signed,
            "accumulator_bits": mac.accumulator_bits,
            "style": str(mac.style),
            "accumulation": str(mac.accumulation),
            "clear": str(mac.clear),
            "pipeline": mac.pipeline,
            "segments": mac.segments,
            "encoding": str(mac.encoding),
            "unit": mac.stem,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The smallest and the fastest units of a scheme against the uniform ones of the same run.

    Parameters
    ----------
    scheme : str
        Scheme, and accumulation where the scheme has several.
    smallest, baseline_smallest : Row
        Fewest look-up tables (transistors for gates); the one with fewer flip-flops of two.
    fastest, baseline_fastest : Row or None
        Highest frequency; None without place and route.
    plain : Row or None
        Uniform's unit as it is usually written: a registered ``*``, then ``+``; None if it was
        not built.
    """

    scheme: str
    smallest: Row
    baseline_smallest: Row
    fastest: Row | None
    baseline_fastest: Row | None
    plain: Row | None

    def as_dict(self) -> dict[str, object]:
        """Column names and values, for JSON and tables."""
        plain: dict[str, object] = {}
        if self.plain:
            plain = {
                "plain_area": self.plain.area,
                "plain_area_ratio": self.smallest.area / self.plain.area,
            }
        speeds: dict[str, object] = {}
        if self.fastest and self.baseline_fastest:
            fast, base = self.fastest.measurement, self.baseline_fastest.measurement
            assert fast.fmax_mhz and base.fmax_mhz
            speeds = {
                "fmax_mhz": fast.fmax_mhz,
                "baseline_fmax_mhz": base.fmax_mhz,
                "fmax_ratio": fast.fmax_mhz / base.fmax_mhz,
                "fastest": self.fastest.mac.stem,
                "baseline_fastest": self.baseline_fastest.mac.stem,
            }
            if self.plain and self.plain.measurement.fmax_mhz:
                plain["plain_fmax_mhz"] = self.plain.measurement.fmax_mhz
                plain["plain_fmax_ratio"] = fast.fmax_mhz / self.plain.measurement.fmax_mhz
        return {
            "scheme": self.scheme,
            "bits": self.smallest.mac.weight_bits,
            "target": str(self.smallest.target),
            "area": self.smallest.area,
            "baseline_area": self.baseline_smallest.area,
            "area_ratio": self.smallest.area / self.baseline_smallest.area,
            "smallest": self.smallest.mac.stem,
            "baseline_smallest": self.baseline_smallest.mac.stem,
            **speeds,
            **plain,
        }


def units(
    schemes: Iterable[MacScheme],
    bits: Sequence[int],
    *,
    target: Target,
    activation_bits: int = 4,
    activation_signed: bool = False,
    accumulator_bits: int = 24,
    encodings: Sequence[Encoding] = (Encoding.PACKED,),
    variants: Variants = Variants.RECOMMENDED,
    skip_missing: bool = False,
) -> list[Mac]:
    """The units to measure on one target.

    With `skip_missing` a scheme is left out at the widths that it is not built for. Only schemes
    of powers have several `encodings`.

    Raises
    ------
    InputError
        If a scheme is not built at one of the widths.
    """
    made = []
    for scheme, weight_bits, encoding in product(schemes, bits, encodings):
        if skip_missing and not scheme.has_weight_bits(weight_bits):
            continue
        if encoding is not Encoding.PACKED and not _has_encodings(scheme):
            continue
        plain = Mac(
            scheme=scheme,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            activation_signed=activation_signed,
            encoding=encoding,
            accumulator_bits=accumulator_bits,
        )
        match variants:
            case Variants.ALL:
                made += plain.variants()
            case Variants.REGISTERED:
                made += [mac for mac in plain.variants() if _is_registered(mac) or _is_plain(mac)]
            case Variants.RECOMMENDED:
                made += _recommended(plain, target)
    return made


def measure_all(
    macs: Sequence[Mac],
    target: Target,
    *,
    seeds: int = 0,
    dsp: bool = False,
    jobs: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Row]:
    """Synthesize (and, with `seeds`, place and route) each unit; `jobs` of them at a time.

    Raises
    ------
    InputError
        If a unit to route has more ports than the device has pins: before any work is done.
    """
    for mac in macs if seeds and target.is_routable else ():
        check_pins(mac, target)

    def one(mac: Mac) -> Measurement:
        return measure(mac, target, seeds=seeds, dsp=dsp)

    measured = each_in_turn(one, macs, jobs=jobs, progress=progress)
    return [
        Row(mac=mac, target=target, measurement=measurement)
        for mac, measurement in zip(macs, measured, strict=True)
    ]


def each_in_turn(
    function: Callable[[_Unit], Measurement],
    units: Sequence[_Unit],
    *,
    jobs: int | None,
    progress: Callable[[float], None] | None,
) -> list[Measurement]:
    """What `function` measures of each unit, in their order; `jobs` at a time, default: cores."""
    workers = os.cpu_count() or 1 if jobs is None else jobs
    check_range("jobs", workers, 1, 256)
    # Threads, not processes: each only waits for the tools that it started.
    with ThreadPoolExecutor(max_workers=workers) as pool:
        runs = [pool.submit(function, unit) for unit in units]
        try:
            for done, run in enumerate(as_completed(runs), start=1):
                run.result()  # what failed ends the others
                if progress is not None:
                    progress(done)
            return [run.result() for run in runs]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def area_of(measurement: Measurement, target: Target) -> int:
    """Look-up tables, or transistors of gates."""
    resources = measurement.resources
    area = resources.transistors if target is Target.GATES else resources.luts
    assert area is not None
    return area


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Each scheme's best units against the best uniform ones of the same target and width."""
    groups: dict[tuple[Target, int], dict[str, list[Row]]] = {}
    for row in rows:
        by_scheme = groups.setdefault((row.target, row.mac.weight_bits), {})
        by_scheme.setdefault(_label(row.mac), []).append(row)
    comparisons = []
    for by_scheme in groups.values():
        baseline = by_scheme.pop(str(MacScheme.UNIFORM), None)
        if baseline is None:
            continue
        for label, members in by_scheme.items():
            comparisons.append(
                Comparison(
                    scheme=label,
                    smallest=_smallest(members),
                    baseline_smallest=_smallest(baseline),
                    fastest=_fastest(members),
                    baseline_fastest=_fastest(baseline),
                    plain=next((row for row in baseline if _is_plain(row.mac)), None),
                )
            )
    return comparisons


def _label(mac: Mac) -> str:
    if mac.interval_cyc > 1:
        return f"{mac.scheme} serial"
    return f"{mac.scheme} {mac.accumulation}" if mac.splits else str(mac.scheme)


def _has_encodings(scheme: MacScheme) -> bool:
    return scheme.grid_scheme in (POT, POST)


def _is_plain(mac: Mac) -> bool:
    choices = (mac.style, mac.clear, mac.pipeline, mac.segments)
    return choices == (Style.DIRECT, Clear.MASKED, 1, 1)


def _is_registered(mac: Mac) -> bool:
    shared = mac.accumulation is Accumulation.SHARED
    return mac.pipeline > 0 and (shared or mac.clear is Clear.AHEAD)


def _smallest(rows: Sequence[Row]) -> Row:
    return min(rows, key=lambda row: (row.area, row.measurement.resources.ffs))


def _fastest(rows: Sequence[Row]) -> Row | None:
    routed = [row for row in rows if row.measurement.fmax_mhz is not None]
    return max(routed, key=lambda row: (row.measurement.fmax_mhz or 0, -row.area), default=None)


def _recommended(plain: Mac, target: Target) -> list[Mac]:
    """Registers are free where each look-up table has one, and dear where all is gates."""
    gates = target is Target.GATES
    accumulations = (
        (Accumulation.PAIR, Accumulation.SHARED, Accumulation.ORDERED)
        if plain.splits
        else (Accumulation.SINGLE,)
    )
    # A multiplier is as fast as a shift with one more register, and no larger.
    pipeline = 0 if gates else 2 if plain.scheme is MacScheme.UNIFORM else 1
    made = []
    for accumulation in accumulations:
        masked = gates or accumulation is Accumulation.SHARED
        clear = Clear.MASKED if masked else Clear.AHEAD
        styles = (Style.DIRECT, Style.SELECT, Style.TABLE) if gates else (plain.style,)
        tried = (
            plain.variant(style=style, accumulation=accumulation, clear=clear, pipeline=pipeline)
            for style in styles
        )
        made += [mac for mac in tried if mac is not None][:1]
    if plain.scheme is MacScheme.UNIFORM:
        clear = Clear.MASKED if gates else Clear.AHEAD
        made.append(replace(plain, style=Style.SERIAL, clear=clear))
    return made
