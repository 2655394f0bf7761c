"""Multiply-accumulate units: every product, sums with gaps, widths, refusals; dot products."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asq_hw.errors import InputError

pytest.importorskip("amaranth")

from amaranth.sim import Simulator

from rtl.lib.cells import ECP5_CELLS
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.parameters import met_by, term_table
from rtl.mac.schemes import Accumulation, Clear, MacScheme, Style


def _all_units(**operands):
    """Every style and accumulation of every scheme, each with one clear and pipeline in turn."""
    turns = itertools.cycle(itertools.product(Clear, range(3)))
    units = []
    for scheme, style, accumulation in itertools.product(MacScheme, Style, Accumulation):
        for clear, pipeline in itertools.islice(turns, 9):  # of the nine, beginning anywhere
            try:
                mac = Mac(
                    scheme=scheme,
                    style=style,
                    accumulation=accumulation,
                    clear=clear,
                    pipeline=pipeline,
                    **operands,
                )
            except InputError:
                continue
            units.append(mac)
            break
    return units


UNITS = [
    *_all_units(),
    *_all_units(weight_bits=3, activation_bits=3, activation_signed=True),
    *_all_units(weight_bits=3, activation_bits=3, signs="deferred"),
    *_all_units(weight_bits=3, activation_bits=2, activation_signed=True, signs="deferred"),
    *(
        Mac(weight_bits=3, activation_bits=2, signs="deferred", **form)
        for form in (
            {"scheme": "uniform", "codes": "inverted", "clear": "ahead"},
            {"scheme": "uniform", "codes": "sign-magnitude", "activation_signed": True},
            {"scheme": "uniform", "style": "direct", "codes": "sign-magnitude", "pipeline": 0},
            {"scheme": "post-lut", "encoding": "zero-free", "activation_signed": True},
            {"scheme": "post-split", "style": "staged", "clear": "ahead", "segments": 3},
            {"scheme": "post-split", "style": "staged", "accumulation": "shared", "pipeline": 0},
        )
    ),
    Mac(scheme="symmetric", style="direct", segments=2),
    Mac(scheme="post-dual", style="staged", pipeline=0),
    *(
        Mac(scheme=scheme, weight_bits=3, encoding=encoding, activation_bits=2)
        for scheme in (MacScheme.POT, MacScheme.POST_LUT, MacScheme.POST_SPLIT)
        for encoding in ("paper", "zero-free")
    ),
    Mac(scheme="uniform", weight_bits=5, style="rows", pipeline=2, activation_bits=2),
    Mac(scheme="uniform", weight_bits=8, style="booth", pipeline=2, activation_bits=2),
    Mac(scheme="uniform", weight_bits=7, style="rows", clear="ahead", activation_bits=2),
    Mac(scheme="uniform", weight_bits=6, style="serial", activation_bits=2),
    Mac(scheme="symmetric", weight_bits=7, pipeline=2, activation_bits=2),
    Mac(scheme="apot", weight_bits=8, pipeline=2, activation_bits=2),
    Mac(scheme="apot", weight_bits=2, style="select", activation_bits=2),
    Mac(scheme="post-split", weight_bits=5, activation_bits=2),
    Mac(scheme="post-lut", weight_bits=4, lut_fraction_bits=3, activation_bits=3),
    *(
        Mac(scheme=scheme, accumulator_bits=bits, clear=clear, segments=segments, activation_bits=3)
        for scheme in ("uniform", "post-split")
        for clear in (Clear.MASKED, Clear.AHEAD)
        for bits, segments in ((14, 2), (11, 3), (13, 6))
    ),
    Mac(scheme="post-split", accumulation="shared", segments=3, activation_bits=2),
    Mac(scheme="post-split", accumulation="ordered", segments=2, pipeline=0, activation_bits=2),
    *(
        Mac(scheme="uniform", style="rows", codes=codes, **form)
        for codes in ("inverted", "sign-magnitude")
        for form in (
            {"clear": "ahead", "pipeline": 2},
            {"clear": "idle", "weight_bits": 2, "activation_bits": 2},
            {"segments": 3, "weight_bits": 7, "activation_bits": 2, "activation_signed": True},
        )
    ),
    *(
        Mac(scheme=scheme, style="staged", **form)
        for scheme in ("pot", "post-split")
        for form in (
            {"clear": "idle", "weight_bits": 3, "activation_bits": 2},
            {"clear": "ahead", "segments": 3, "weight_bits": 5, "activation_bits": 2},
            {"activation_signed": True},
        )
    ),
    Mac(scheme="post-split", style="staged", accumulation="shared", accumulator_bits=20),
    Mac(scheme="post-split", style="staged", accumulation="ordered", activation_bits=2),
    Mac(scheme="uniform", weight_bits=8, style="array", pipeline=2, activation_bits=2),
    Mac(scheme="uniform", weight_bits=2, style="array", pipeline=2, activation_bits=2),
]


def _ids(mac):
    encoding = "" if mac.encoding == "packed" else f"-{mac.encoding}"
    return f"{mac.name}{encoding}"


def _run(mac, inputs, gaps):
    """Sums at the ports, one row for each operation, and the cycles from operation to sum."""
    unit = mac.component()
    names = [port.name for port in mac.accumulators]
    sums, latencies, taken = [], [], []

    async def bench(ctx):
        operations = iter(zip(zip(*inputs.values(), strict=True), gaps, strict=True))
        wait, cycle = 0, 0
        pending = next(operations)
        while len(sums) < len(gaps):
            gives = bool(pending is not None and wait == 0)
            ctx.set(unit.valid_in, gives)
            if gives:
                values, wait = pending[0], int(pending[1])
                for name, value in zip(inputs, values, strict=True):
                    ctx.set(getattr(unit, name), int(value))
                taken.append(cycle)
                pending = next(operations, None)
            else:
                ctx.set(unit.start, 1)  # means nothing without valid_in
                wait = max(0, wait - 1)
            if ctx.get(unit.valid_out):
                latencies.append(cycle - taken[len(sums)])
                sums.append([ctx.get(getattr(unit, name)) for name in names])
            await ctx.tick()
            cycle += 1
            assert cycle < 12 * len(gaps) + 50, "a sum is missing"

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return np.array(sums), set(latencies)


def _operands(mac, pairs, random):
    """Columns of ports for rows (code that the weight meets, weight); another code is drawn."""
    columns = {name: random.choice(list(codes), len(pairs)) for name, codes in mac.operands.items()}
    met = [met_by(mac, weight) for weight in pairs[:, 1].tolist()]
    for row, (name, (code, _)) in enumerate(zip(met, pairs.tolist(), strict=True)):
        columns[name][row] = code
    return columns | {"weight": pairs[:, 1]}


@pytest.mark.parametrize("mac", UNITS, ids=_ids)
def test_every_product_and_random_sums(mac):
    random = np.random.default_rng(7)
    operands = list(term_table(mac))
    drawn = [operands[i] for i in random.integers(len(operands), size=100)]
    pairs = np.array([*operands, *drawn])
    start = np.concatenate([np.ones(len(operands), dtype=int), random.random(100) < 0.2])
    inputs = {"start": start.astype(int), **_operands(mac, pairs, random)}
    gaps = random.choice([0, 0, 0, 0, 1, 2], size=len(start)) + mac.idle_cyc(inputs)
    sums, latencies = _run(mac, inputs, gaps)
    expected = mac.reference(inputs)
    assert np.array_equal(sums, np.stack([expected[p.name] for p in mac.accumulators], axis=1))
    assert latencies == {mac.latency_cyc}


@pytest.mark.parametrize("mac", UNITS, ids=_ids)
def test_terms_are_the_real_products(mac):
    """Terms over the grid's shift against the levels' real values; a table is half a unit off."""
    stored = {level.code: level.value for level in mac.weight_grid.levels}
    values = {code: stored[level] for code, level in mac.weight_codes.items()}
    unit = 2.0**-mac.weight_grid.shift
    tolerance = 0.5 * 2.0**-mac.lut_fraction_bits if mac.scheme == "post-lut" else 1e-9
    for (activation, code), terms in term_table(mac).items():
        if mac.accumulation is Accumulation.ORDERED:
            continue  # whether a sum counts ones or roots of two is known outside
        scaled = terms[0] * 2.0**-mac.lut_fraction_bits
        real = scaled + (terms[1] * math.sqrt(2) if len(terms) == 2 else 0)
        # A second code counts steps that are smaller by the root of two.
        steps = activation / (math.sqrt(2) if met_by(mac, code) == "second" else 1)
        assert real == pytest.approx(steps * values[code] / unit, abs=tolerance)


def _in_signed_bits(value, bits):
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


@pytest.mark.parametrize("mac", [mac for mac in UNITS if mac.defers], ids=_ids)
def test_what_deferred_signs_add_follows_from_the_weights(mac):
    """Less their weights' excess, sums of the circuit's words are those of real products."""
    random = np.random.default_rng(11)
    operands = list(term_table(mac))
    pairs = np.array(operands)[random.integers(len(operands), size=40)]
    start = np.arange(40) % 10 == 0
    inputs = {"start": start.astype(int), **_operands(mac, pairs, random)}
    sums, _ = _run(mac, inputs, mac.idle_cyc(inputs))
    exact = replace(mac, signs="immediate", cells=None).reference(inputs)
    for place, port in enumerate(mac.accumulators):
        added, total = [], 0
        for begins, code in zip(start, pairs[:, 1].tolist(), strict=True):
            total = mac.excess[code][place] + (0 if begins else total)
            added.append(total)
        taken_off = sums[:, place] - np.array(added)
        assert [_in_signed_bits(int(value), port.width) for value in taken_off] == exact[
            port.name
        ].tolist()
    assert any(any(excess) for excess in mac.excess.values())


def _page_row(mac):
    """Which line of the page's table a unit is of."""
    of_magnitudes = mac.scheme not in ("uniform", "symmetric")
    if mac.style is Style.TABLE and of_magnitudes:
        return 3
    if of_magnitudes or mac.codes == "sign-magnitude":
        return 0
    return 2 if mac.style in (Style.DIRECT, Style.BOOTH) else 1


@pytest.mark.parametrize(
    "mac", [mac for mac in UNITS if mac.defers and mac.scheme != "post-lut"], ids=_ids
)
def test_what_deferred_signs_add_is_the_page_s(mac):
    """docs/arithmetic.md, section 10."""
    page = (Path(__file__).parents[2] / "docs" / "arithmetic.md").read_text(encoding="utf-8")
    body = page.partition("| the product is made by | what is inverted")[2].partition("\n\n")[0]
    rows = [line.split(" | ")[2:] for line in body.splitlines()[2:]]
    assert len(rows) == 4
    pairs = mac.weight_grid.decode_table()
    weights = {code: sum(pairs[stored]) for code, stored in mac.weight_codes.items()}
    for code, weight in weights.items():
        bits = mac.activation_bits + (met_by(mac, code) == "second")
        text = rows[_page_row(mac)][weight < 0]
        text = text.strip(" |").replace("`", "").replace("\N{MINUS SIGN}", "-")
        values = {"w": weight, "b": bits, "B": mac.weight_bits}
        values["r"] = (1 << bits - 1) if mac.activation_signed else 0
        values["k"] = (max(weights.values()) * ((1 << bits) - 1)).bit_length()
        python = text.replace("\N{MIDDLE DOT}", "*").replace("^", "**")
        assert sum(mac.excess[code]) == eval(python, {"__builtins__": {}}, values), code


def test_deferred_signs_by_hand():
    # 4 x 4 bits: a negative weight's magnitude meets 15 - q, and adds 15 times itself too much.
    mac = Mac(scheme="uniform", style="direct", codes="sign-magnitude", signs="deferred")
    inputs = {
        "start": np.array([1, 0, 0]),
        "activation": np.array([3, 5, 15]),
        "weight": np.array([0b0101, 0b1100, 0b1000]),  # 2, -3 and -7, magnitudes inverted
    }
    assert mac.reference(inputs)["accumulator"].tolist() == [6, 6 + 3 * 10, 36 + 7 * 0]
    assert [mac.excess[code] for code in (0b0101, 0b1100, 0b1000)] == [(0,), (45,), (105,)]
    # Two's complement: the sign bit's row, which counts 8 times, meets 15 - q.
    rows = Mac(scheme="uniform", style="rows", signs="deferred")
    assert [rows.excess[code] for code in (0b0111, 0b1111, 0b1000)] == [(0,), (120,), (120,)]
    # A word of 8 bits, whose sign bit counts upwards.
    booth = Mac(scheme="uniform", style="booth", signs="deferred")
    assert [booth.excess[code] for code in (0b0111, 0b1111)] == [(0,), (128,)]
    # POST's codes 7 and 15 are 8 and -8, 6 and 14 4 roots of two; signed codes are raised by 8.
    pair = Mac(scheme="post-split", signs="deferred", activation_signed=True)
    assert [pair.excess[code] for code in (7, 15, 14)] == [(64, 0), (56, 0), (0, 28)]
    # An odd power meets the second code of 5 bits.
    dual = Mac(scheme="post-dual", style="staged", signs="deferred")
    assert [dual.excess[code] for code in (0b1110, 0b1101)] == [(8 * 15,), (4 * 31,)]


def test_sums_wrap_at_their_width_and_begin_at_zero():
    mac = Mac(scheme="uniform", accumulator_bits=8)
    inputs = {
        "start": np.array([0, 0, 1, 0]),
        "activation": np.array([15, 15, 15, 15]),
        "weight": np.array([7, 2, 8, 15]),
    }
    # 105, 135 - 256, then -120, -135 + 256.
    assert mac.reference(inputs)["accumulator"].tolist() == [105, -121, -120, 121]


def test_four_bit_post_by_hand():
    # Packed codes 7 ... 1 stand for 1, 1/sqrt 2, 1/2, ..., 1/8; over 2^-3 that is 8, 4 sqrt 2, 4,
    # 2 sqrt 2, 2, sqrt 2, 1. Codes above 8 are their negatives.
    mac = Mac(scheme="post-split")
    inputs = {
        "start": np.array([1, 0, 0, 0, 1]),
        "activation": np.array([3, 15, 1, 2, 5]),
        "weight": np.array([7, 6, 9, 12, 0]),
    }
    sums = mac.reference(inputs)
    assert sums["even"].tolist() == [24, 24, 23, 23, 0]
    assert sums["odd"].tolist() == [0, 60, 60, 56, 0]


def test_codes_at_the_port_by_hand():
    """Of uniform weights -8 ... 7; of POST's packed codes, whose 1 ... 7 are powers of sqrt 2."""
    inverted = Mac(scheme="uniform", codes="inverted").weight_codes
    assert {code: inverted[code] for code in (0b1111, 0b1110, 0b0000, 0b0111)} == {
        0b1111: 0b0000,
        0b1110: 0b0001,
        0b0000: 0b1111,
        0b0111: 0b1000,
    }
    magnitudes = Mac(scheme="uniform", codes="sign-magnitude").weight_codes
    assert len(magnitudes) == 15
    assert 0b1000 not in magnitudes.values()  # -8
    assert {code: magnitudes[code] for code in (0b0111, 0b0110, 0b0000, 0b1000, 0b1110)} == {
        0b0111: 0b0000,
        0b0110: 0b0001,
        0b0000: 0b0111,
        0b1000: 0b1001,
        0b1110: 0b1111,
    }
    exponents = Mac(scheme="post-split", style="staged").weight_codes
    assert exponents == {
        0b0111: 0,
        **{power: power + 1 for power in range(7)},
        **{0b1000 | power: 0b1000 | (power + 1) for power in range(7)},
    }


@pytest.mark.parametrize("scheme", MacScheme)
@pytest.mark.parametrize("bits", [4, 5])
def test_the_longest_sum_fits_and_the_next_does_not(scheme, bits):
    mac = Mac(scheme=scheme, weight_bits=bits, accumulator_bits=20)
    columns = list(zip(*term_table(mac).values(), strict=True))
    widths = [port.width for port in mac.accumulators]
    assert max(widths) == 20

    def fits(length):
        return [
            -(1 << width - 1) <= length * min(column)
            and length * max(column) <= (1 << width - 1) - 1
            for column, width in zip(columns, widths, strict=True)
        ]

    assert all(fits(mac.length))
    assert not all(fits(mac.length + 1))
    assert Mac.for_length(mac.length, mac).accumulator_bits == 20
    assert Mac.for_length(mac.length + 1, mac).accumulator_bits == 21


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scheme": "ternary"},
            "scheme must be one of uniform, symmetric, pot, apot, post-lut, post-split",
        ),
        (
            {"scheme": "symmetric", "codes": "stored"},
            "codes of style rows must be one of sign-magnitude, not stored",
        ),
        ({"scheme": "uniform", "weight_bits": 9}, "must be an integer in 2..8, not 9"),
        ({"scheme": "post-split", "weight_bits": 6}, "must be an integer in 3..5, not 6"),
        (
            {"scheme": "pot", "style": "rows"},
            "of pot must be one of shift, select, staged, table",
        ),
        ({"scheme": "uniform", "activation_bits": 1}, "activation bits must be .* not 1"),
        ({"scheme": "uniform", "encoding": "paper"}, "grid paper is for pot and post"),
        ({"scheme": "uniform", "accumulation": "pair"}, "uniform must be one of single, not pair"),
        (
            {"scheme": "post-split", "accumulation": "shared", "clear": "ahead", "segments": 3},
            "shared, clear ahead, needs pipeline 1 or 2 and segments 1, not 1 and 3",
        ),
        (
            {"scheme": "pot", "style": "shift", "codes": "exponent"},
            "codes of style shift must be one of stored, not exponent",
        ),
        (
            {"scheme": "pot", "style": "staged", "encoding": "zero-free"},
            "codes exponent are for packed grids, not for zero-free",
        ),
        ({"scheme": "pot", "style": "staged", "pipeline": 2}, "staged must be 0..1, not 2"),
        ({"scheme": "symmetric", "style": "direct", "pipeline": 2}, "direct must be 0..1, not 2"),
        (
            {"scheme": "pot", "signs": "late"},
            "signs must be one of immediate, deferred",
        ),
        (
            {"scheme": "symmetric", "signs": "deferred", "cells": ECP5_CELLS},
            "have no use for carry cells",
        ),
        ({"scheme": "pot", "clear": "idle", "pipeline": 0}, "clear idle needs .* not 0 and 1"),
        (
            {"scheme": "uniform", "style": "serial", "clear": "idle"},
            "clear of style serial must be masked or ahead, not idle",
        ),
        (
            {"scheme": "uniform", "cells": ECP5_CELLS},
            r"sums of uniform_.* have no use for carry cells of Lattice's ECP5 \(CCU2C\)",
        ),
        ({"scheme": "uniform", "accumulator_bits": 6}, "must be at least 8 .* not 6"),
        ({"scheme": "post-split", "lut_fraction_bits": 1}, "are for post-lut, not for post-split"),
        ({"scheme": "uniform", "style": "direct", "pipeline": 2}, "must be 0..1, not 2"),
        ({"scheme": "uniform", "weight_bits": 8, "style": "table"}, "table of products"),
        ({"scheme": "uniform", "segments": 7}, "segments must be an integer in 1..6, not 7"),
        ({"scheme": "uniform", "accumulator_bits": 8, "segments": 5}, "must be at most 4, not 5"),
        ({"scheme": "uniform", "style": "serial", "segments": 2}, "must be 1 and 1, not 1 and 2"),
    ],
)
def test_refusals_name_the_value_and_the_rule(options, message):
    with pytest.raises(InputError, match=message):
        Mac(**options)


def test_names_differ_wherever_parameters_do():
    names = [mac.name for mac in UNITS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("options", "lanes"),
    [
        ({"scheme": "uniform", "accumulator_bits": 16}, 1),
        ({"scheme": "uniform", "style": "booth", "accumulator_bits": 16}, 5),
        ({"scheme": "post-split", "accumulator_bits": 16}, 4),
        ({"scheme": "post-split", "accumulation": "ordered", "pipeline": 2}, 3),
        ({"scheme": "post-lut", "activation_signed": True}, 2),
        ({"scheme": "post-dual"}, 3),
        ({"scheme": "symmetric"}, 3),
        ({"scheme": "uniform", "codes": "inverted"}, 2),
    ],
)
def test_dot_products_are_sums_between_the_ends(options, lanes):
    design = DotProduct(mac=Mac(**options), lanes=lanes)
    mac, random, transfers = design.mac, np.random.default_rng(lanes), 60
    operands = list(term_table(mac))
    drawn = np.array(operands)[random.integers(len(operands), size=(transfers, lanes))]
    last = random.random(transfers) < 0.3
    last[-1] = True
    # A second way to the sums: the terms' plain totals between the ends.
    terms = [[term_table(mac)[tuple(pair)] for pair in row] for row in drawn.tolist()]
    per_transfer = np.array(terms).sum(axis=1)
    parts = np.split(per_transfer, np.flatnonzero(last) + 1)[:-1]
    expected = [part.sum(axis=0).tolist() for part in parts]
    inputs = {"last": last.astype(int)}
    for lane in range(lanes):
        columns = _operands(mac, drawn[:, lane], random)
        inputs |= {f"{name}{lane}": column for name, column in columns.items()}
    reference = np.stack(list(design.reference(inputs).values()), axis=1)
    assert reference[design.emits(inputs)].tolist() == expected


def test_dot_product_latency():
    design = DotProduct(mac=Mac(scheme="post-split"), lanes=4)
    unit = design.component()
    seen = []

    async def bench(ctx):
        for lane in range(4):
            ctx.set(getattr(unit, f"activation{lane}"), 1)
            ctx.set(getattr(unit, f"weight{lane}"), 7)
        ctx.set(unit.last, 1)
        ctx.set(unit.valid_in, 1)
        await ctx.tick()
        ctx.set(unit.valid_in, 0)
        for cycle in range(1, 20):
            if ctx.get(unit.valid_out):
                seen.append((cycle, ctx.get(unit.even)))
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [(design.latency_cyc, 32)]


@pytest.mark.parametrize(
    ("options", "lanes", "message"),
    [
        ({"scheme": "uniform"}, 0, "lanes must be an integer in 1..256, not 0"),
        ({"scheme": "uniform", "accumulator_bits": 8}, 2, "lanes must be at most 1"),
        ({"scheme": "post-split", "accumulation": "shared"}, 2, "not shared"),
        ({"scheme": "uniform", "style": "serial"}, 2, "must not be serial"),
        ({"scheme": "pot", "style": "staged"}, 2, "codes .* sign-magnitude, not exponent"),
    ],
)
def test_dot_product_refusals(options, lanes, message):
    with pytest.raises(InputError, match=message):
        DotProduct(mac=Mac(**options), lanes=lanes)
