"""Multiply-accumulate units, measured: schemes, widths and targets in one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product

from analysis.studies.study import area_of
from asq_hw.numbers.encoding import Encoding
from rtl.mac.codes import Codes
from rtl.mac.design import Mac
from rtl.mac.schemes import Accumulation, Clear, MacScheme, Signs, Style
from rtl.synthesis.measure import Measurement
from rtl.targets.target import Target

__all__ = [
    "Comparison",
    "Row",
    "Variants",
    "compare",
    "units",
]


_IDLE = " idle"


class Variants(StrEnum):
    """How many ways to build a unit are tried."""

    RECOMMENDED = "recommended"
    """The ways that came out best at 4 bits: three for post-split, a parallel and a serial one
    for uniform, one each for the others."""
    REGISTERED = "registered"
    """Every style, accumulation and number of segments with a register before the sum and the sum
    cleared ahead, where that exists: what FPGAs are fastest with. The plain multiplier, too."""
    RECODED = "recoded"
    """Weights in a code that suits the unit, and sums made of the target's cells where it has some;
    with every kind of sums, cleared a cycle ahead or in an idle one. The plain multiplier, too. For
    gates masked, beside the recommended parallel ones; those alone where a scheme has no such
    code."""
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
        """What the target's area is counted in: look-up tables, or transistors of gates."""
        return area_of(self.measurement, self.target)

    def as_dict(self) -> dict[str, object]:
        """Column names and values, for JSON and tables."""
        mac, resources = self.mac, self.measurement.resources
        return {
            "scheme": str(mac.scheme),
            "bits": mac.weight_bits,
            "target": self.target.name,
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
            "order": "by parity" if mac.accumulation is Accumulation.ORDERED else "any",
            "clear": str(mac.clear),
            "pipeline": mac.pipeline,
            "segments": mac.segments,
            "encoding": str(mac.encoding),
            "codes": str(mac.codes),
            "signs": str(mac.signs),
            "levels": len(mac.weight_codes),
            "made_of": mac.cells.name if mac.cells else "portable",
            "idle_cyc": mac.pause.idle_cyc if mac.pause else 0,
            "unit": mac.stem,
            **resources.others,
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
            "target": self.smallest.target.name,
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
    signs: Sequence[Signs] = (Signs.IMMEDIATE,),
    variants: Variants = Variants.RECOMMENDED,
    skip_missing: bool = False,
) -> list[Mac]:
    """The units to measure on one target.

    Parameters
    ----------
    schemes : iterable of MacScheme
        Weight grids and products.
    bits : sequence of int
        Widths of a weight.
    target : Target
        What the units are for.
    activation_bits : int
        2 to 8.
    activation_signed : bool
        Whether activations are two's complement.
    accumulator_bits : int
        Width of the widest accumulator.
    encodings : sequence of Encoding
        Levels of the weight grids; schemes without powers have ``packed`` alone.
    signs : sequence of Signs
        When the signs of weights count.
    variants : Variants
        How many ways to build a unit.
    skip_missing : bool
        Whether a scheme is left out at the widths that it is not built for.

    Raises
    ------
    InputError
        If a scheme is not built at one of the widths.
    """
    made = []
    for scheme, weight_bits, encoding, counting in product(schemes, bits, encodings, signs):
        if skip_missing and not scheme.has_weight_bits(weight_bits):
            continue
        if encoding is not Encoding.PACKED and not scheme.grid_scheme.is_exponential:
            continue
        plain = Mac(
            scheme=scheme,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            activation_signed=activation_signed,
            encoding=encoding,
            accumulator_bits=accumulator_bits,
            signs=counting,
        )
        match variants:
            case Variants.ALL:
                made += plain.variants()
            case Variants.RECODED:
                recoded = [mac for mac in plain.variants() if _is_recoded(mac, target)]
                made += [mac for mac in plain.variants() if _is_plain(mac)]
                made += [mac.on_cells(target.cells) for mac in recoded]
                if not recoded or not target.has_free_registers:
                    parallel = [mac for mac in _recommended(plain, target) if mac.interval_cyc == 1]
                    made += [mac for mac in parallel if mac not in made]
            case Variants.REGISTERED:
                made += [mac for mac in plain.variants() if _is_registered(mac) or _is_plain(mac)]
            case Variants.RECOMMENDED:
                made += _recommended(plain, target)
    return made


def compare(rows: Sequence[Row]) -> list[Comparison]:
    """Each scheme's best units against the best uniform ones of the same target and width.

    Units that need no idle cycle are held against uniform ones that need none either.
    """
    groups: dict[tuple[Target, int], dict[str, list[Row]]] = {}
    for row in rows:
        by_scheme = groups.setdefault((row.target, row.mac.weight_bits), {})
        by_scheme.setdefault(_label(row.mac), []).append(row)
    comparisons = []
    for by_scheme in groups.values():
        uniform = by_scheme.pop(str(MacScheme.UNIFORM), None)
        if uniform is None:
            continue
        idle = by_scheme.get(f"{MacScheme.UNIFORM}{_IDLE}", [])
        for label, members in by_scheme.items():
            baseline = uniform + idle if label.endswith(_IDLE) else uniform
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
    sums = f"{mac.scheme} {mac.accumulation}" if mac.splits else str(mac.scheme)
    return sums + (_IDLE if mac.pause else "")


def _is_plain(mac: Mac) -> bool:
    choices = (mac.style, mac.clear, mac.pipeline, mac.segments, mac.codes, mac.signs)
    return choices == (Style.DIRECT, Clear.MASKED, 1, 1, Codes.STORED, Signs.IMMEDIATE)


def _is_recoded(mac: Mac, target: Target) -> bool:
    """With every register that there can be, and nothing that masks a sum.

    Where all is gates: with as few registers as there can be.
    """
    if mac.codes is Codes.STORED:
        return False
    if not target.has_free_registers:
        return mac.clear is Clear.MASKED and (mac.pipeline, mac.segments) == (0, 1)
    if mac.clear is Clear.MASKED:
        return False
    return (mac.pipeline, mac.segments) == (2 if mac.style is Style.ROWS else 1, 1)


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
    gates = not target.has_free_registers
    # A multiplier is as fast as a shift with one more register, and no larger.
    pipeline = 0 if gates else 2 if plain.style is Style.ROWS else 1
    made = []
    for accumulation in plain.scheme.accumulations:
        masked = gates or accumulation is Accumulation.SHARED
        clear = Clear.MASKED if masked else Clear.AHEAD
        combinational = (Style.DIRECT, Style.SELECT, Style.TABLE) if gates else ()
        tried = (
            plain.variant(style=style, accumulation=accumulation, clear=clear, pipeline=pipeline)
            for style in (*combinational, plain.style)
        )
        made += [mac for mac in tried if mac is not None][:1]
    if plain.scheme.multiplies:
        clear = Clear.MASKED if gates else Clear.AHEAD
        made.append(replace(plain, style=Style.SERIAL, clear=clear))
    return made
