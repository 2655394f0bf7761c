"""The ablation: its tables by hand, runs that are killed and go on, a document that it prints."""

from __future__ import annotations

import importlib
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from analysis.paper.ablation import RECIPE, main, run
from analysis.paper.ablation_table import ablation_report
from analysis.paper.jobs import Outcome
from analysis.paper.results import Result, read_results, write_results
from analysis.paper.row_training import Plan, train_row, train_start
from analysis.paper.rows import TABLES, Gate, Table, Variant, chosen_rows, chosen_tables
from asq_hw.errors import InputError
from asq_hw.files.packaged import checkpoint_path
from tests.helpers.guards import no_hang

PATIENCE = 1500
DOCUMENT = Path(__file__).parents[3] / "docs" / "ablation.md"
DATA = DOCUMENT.parent / "data" / "ablation.csv"
TABLE5, TABLE4, WIDTHS = TABLES["5"], TABLES["4"], TABLES["widths"]
SETTING = {
    "dataset": "cifar10",
    "recipe": "shared",
    "settings": "epochs=1",
    "start_recipe": "float",
    "start": "0123456789abcdef",
    "start_correct": 8000,
    "commit": "abc",
    "images": 10000,
    "training_loss": None,
}
# Three values with mean 81 and standard deviation 1, and what to add to them for each row.
CORRECT = {1: 8000, 2: 8100, 3: 8200}
OFFSETS = {
    "lsq-pot-w4a4": (30, 30, 30),
    "lsq-post-w4a4": (-20, 0, 80),
    "asq-lsq-w4a4": (-50, -60, -70),
    "asq-post-w4a4": (10, 10, 40),
    "real-valued": (200, 200, 200),
}


def result(variant: str, seed: int, correct: int, loss: float | None = None) -> Result:
    return Result(variant=variant, seed=seed, correct=correct, loss=loss, **SETTING)  # type: ignore[arg-type]


def table5() -> list[Result]:
    results = [result("lsq-lsq-w4a4", seed, correct, 0.5) for seed, correct in CORRECT.items()]
    for variant, offsets in OFFSETS.items():
        pairs = zip(CORRECT.items(), offsets, strict=True)
        results += [
            result(variant, seed, correct + more, 0.5 - seed / 100)
            for (seed, correct), more in pairs
        ]
    return results


def lines_of(report: str, heading: str) -> list[str]:
    """The lines of the table whose head begins so."""
    _, _, behind = report.partition(heading)
    return behind.split("\n\n")[0].splitlines()[2:]


def test_the_report_by_hand() -> None:
    report = ablation_report(table5(), [TABLE5])
    assert report.startswith("Data set: cifar10, 10,000 test images. Recipe: shared (epochs=1).\n")
    assert "Floating-point start: float (80.00 %, 0123456789abcdef). Program: abc.\n" in report
    rows = lines_of(report, "| bits | row | top-1")
    assert rows[0] == "| 4 | LSQ (baseline) | 81.00 % | 1.00 | 0.5000 | 3 | 92.4 % |"
    assert rows[1] == "| 4 | POT weights | 81.30 % | 1.00 | 0.4800 | 3 | 92.5 % |"
    differences = lines_of(report, "| bits | row | against")
    # -0.2, 0 and 0.8: mean 0.2, standard deviation sqrt(0.28); losses -0.01, -0.02, -0.03.
    half, loss = 4.3027 * math.sqrt(0.28 / 3), 4.3027 * 0.01 / math.sqrt(3)
    assert differences[1].startswith(
        f"| 4 | POST weights | LSQ | +0.20 ± {half:.2f} | -0.0200 ± {loss:.4f} | 3 | +0.3 | "
    )
    assert differences[0] == (
        "| 4 | POT weights | LSQ | +0.30 ± 0.00 | -0.0200 ± 0.0248 | 3 | +0.1 | 1.00 | 0.00 |"
    )
    assert "Order by mean at 4 bits: real-valued > POT weights > " in report
    # A mean of -0.6 with deviation 0.1 is clear, +0.2 with 0.17 is not.
    clear = report.split("leaves out zero at 4 bits: ")[1].splitlines()[0]
    assert clear == "POT weights - LSQ, ASQ activations (scheme 1) - LSQ, real-valued - LSQ"


def test_the_papers_order_is_table_5s() -> None:
    report = ablation_report(table5(), [TABLE5])
    papers = report.split("The paper's order at 4 bits: ")[1].splitlines()[0]
    assert papers == (
        "both (scheme 2) > ASQ activations (scheme 1) > POST weights > real-valued > "
        "POT weights > LSQ (baseline)"
    )


def test_each_width_is_compared_with_lsq_of_that_width() -> None:
    results = [
        *table5(),
        *(result("lsq-lsq-w2a2", seed, correct - 1000) for seed, correct in CORRECT.items()),
        *(result("asq-lsq-w2a2", seed, correct - 900) for seed, correct in CORRECT.items()),
        *(result("asq-lsq-w8a8", seed, correct) for seed, correct in CORRECT.items()),
    ]
    report = ablation_report(results, [WIDTHS])
    assert [row.split(" |")[:3] for row in lines_of(report, "| bits | row | top-1")] == [
        ["| 2", " LSQ", " 71.00 %"],
        ["| 2", " scheme 1", " 72.00 %"],
        ["| 4", " LSQ", " 81.00 %"],
        ["| 4", " scheme 1", " 80.40 %"],
        ["| 4", " scheme 2", " 81.20 %"],
        ["| 8", " scheme 1", " 81.00 %"],
    ]
    assert [row.split(" | ")[:4] for row in lines_of(report, "| bits | row | against")] == [
        ["| 2", "scheme 1", "LSQ", "+1.00 ± 0.00"],
        ["| 4", "scheme 1", "LSQ", "-0.60 ± 0.25"],
        ["| 4", "scheme 2", "LSQ", "+0.20 ± 0.43"],
    ]


def test_one_run_has_no_deviation_and_no_difference() -> None:
    report = ablation_report(table5()[:1], [TABLE5, TABLE4])
    assert "| 4 | LSQ (baseline) | 80.00 % |  | 0.5000 | 1 | 92.4 % |" in report
    assert "| against |" not in report and "Order" not in report


def test_reports_need_results_of_known_rows() -> None:
    with pytest.raises(InputError, match="at least one run, not none"):
        ablation_report([], [TABLE5])
    with pytest.raises(InputError, match="not 'mine'"):
        ablation_report([result("mine", 1, 1)], [TABLE5])


CONTROL = Variant(label="control", weights="lsq", activations="lsq", settings=(("momentum", 0.5),))
FAST, FASTER = (
    replace(CONTROL, label=f"control x {rate}", settings=(("momentum", momentum),))
    for rate, momentum in ((10, 0.9), (100, 0.99))
)
OURS = Variant(label="ours", weights="post", activations="lsq", against=(CONTROL,))
GATED = Table(
    name="g",
    title="Gated",
    rows=(CONTROL, OURS),
    gates=(Gate(about="ours", plain=CONTROL, fast=(FAST, FASTER)),),
)


SAME, BETTER, WORSE, ONCE = (8010, 8090), (8100, 8201), (7900, 8001), (8010,)
MAY, UNCONVERGED, NOTHING = (
    "ours may be compared",
    "The baseline has not converged: nothing can be said of ours",
    "Nothing can be said of ours",
)


@pytest.mark.parametrize(
    ("fast", "faster", "said"),
    [
        (SAME, SAME, MAY),
        (SAME, WORSE, MAY),
        (SAME, ONCE, MAY),
        (WORSE, SAME, MAY),
        (SAME, BETTER, UNCONVERGED),
        (BETTER, WORSE, UNCONVERGED),
        (WORSE, WORSE, NOTHING),
        (ONCE, WORSE, NOTHING),
        (ONCE, ONCE, NOTHING),
    ],
)
def test_a_gate_stands_above_its_table(
    fast: tuple[int, ...], faster: tuple[int, ...], said: str
) -> None:
    gate = gate_of(
        *(result(FAST.key, seed, count) for seed, count in enumerate(fast, start=1)),
        *(result(FASTER.key, seed, count) for seed, count in enumerate(faster, start=1)),
    )
    assert gate.endswith(f". {said}.")
    words = {
        SAME: "+0.00 ± 1.27 points, no difference beyond noise (1.",
        BETTER: "+1.01 ± 0.06 points, better beyond noise",
        WORSE: "-0.99 ± 0.06 points, worse beyond noise: too fast to tell",
        ONCE: "has not been measured with two seeds",
    }
    assert f"control x 10 {words[fast]}" in gate and f"control x 100 {words[faster]}" in gate


@pytest.mark.parametrize(
    ("correct", "losses", "said"),
    [
        (SAME, (0.5, 0.6), MAY),
        (SAME, (0.4, 0.5), UNCONVERGED),
        (WORSE, (0.4, 0.5), UNCONVERGED),
        (SAME, (0.6, 0.7), NOTHING),
    ],
)
def test_a_gate_looks_at_losses_too(
    correct: tuple[int, ...], losses: tuple[float, ...], said: str
) -> None:
    runs = zip(correct, losses, strict=True)
    gate = gate_of(*(result(FAST.key, seed, *run) for seed, run in enumerate(runs, start=1)))
    assert gate.endswith(f". {said}.")


def gate_of(*fast: Result) -> str:
    """The gate's line above a table of two rows and two seeds."""
    results = [result(CONTROL.key, s, c, 0.5 + s / 10 - 0.1) for s, c in ((1, 8000), (2, 8100))]
    results += [result(OURS.key, 1, 8100), result(OURS.key, 2, 8200), *fast]
    report = ablation_report(results, [GATED])
    gate = report.index("Gate, against control (4 bits): control x 10 ")
    assert gate < report.index("Gated.")
    assert "| 4 | ours | control | +1.00 ± 0.00 |" in report
    return report[gate:].splitlines()[0]


def test_rows_with_settings_of_their_own() -> None:
    assert CONTROL.key == "lsq-lsq-w4a4-momentum-0.5"
    assert CONTROL.overrides(3)["momentum"] == 0.5
    assert [row.key for row in GATED.trained] == [CONTROL.key, OURS.key, FAST.key, FASTER.key]
    plan = Plan(recipe=RECIPE, runs=Path("runs"))
    assert plan.row(FAST, 1).momentum == 0.9
    with pytest.raises(InputError, match="cannot replace what makes a row of the table: momentum"):
        replace(plan, overrides=("momentum=0.8",)).row(CONTROL, 1)
    odd = replace(CONTROL, settings=(("adapter_speed", 2),))
    with pytest.raises(InputError, match="recipe key 'adapter_speed' is unknown"):
        plan.row(odd, 1)


def test_tables_are_the_papers() -> None:
    """Methods for weights and activations, bits, and top-1 as printed."""

    def printed(table: Table) -> list[tuple[str, str, int, float | None]]:
        rows = [row for row in table.rows if row.activations != "asq-constant"]
        return [(v.weights, v.activations, v.bits, v.paper_top1) for v in rows]

    assert printed(TABLE5) == [
        ("lsq", "lsq", 4, 92.4),
        ("pot", "lsq", 4, 92.5),
        ("post", "lsq", 4, 92.7),
        ("lsq", "asq", 4, 92.8),
        ("post", "asq", 4, 93.0),
        ("none", "none", 4, 92.6),
    ]
    assert printed(TABLE4) == [
        ("lsq", "lsq", 2, 91.0),
        ("apot", "lsq", 2, 91.0),
        ("lsq", "asq", 2, 91.2),
        ("post", "asq", 2, None),
        ("lsq", "lsq", 3, 92.0),
        ("apot", "lsq", 3, 92.2),
        ("lsq", "asq", 3, 91.7),
        ("post", "asq", 3, 92.3),
        ("lsq", "lsq", 4, 92.4),
        ("apot", "lsq", 4, 92.7),
        ("lsq", "asq", 4, 92.8),
        ("post", "asq", 4, 93.0),
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_what_a_row_is_compared_with_is_in_its_table(table: Table) -> None:
    keys = [row.key for row in table.trained]
    assert len(set(keys)) == len(keys)
    assert {row.key for row in table.rows} <= set(keys)
    for row in table.rows:
        assert all(other.key in keys for other in row.against)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_asq_is_held_against_a_learned_constant_in_every_table(table: Table) -> None:
    gated = {gate.plain.key for gate in table.gates}
    adapting = [row for row in table.rows if row.activations in ("asq", "shared-exponent")]
    assert adapting
    for row in adapting:
        control = row.against[0]
        assert (control.activations, control.weights) == ("asq-constant", row.weights)
        assert control.bits == row.bits and not control.settings
        assert f"asq-constant-lsq-w{row.bits}a{row.bits}" in gated
    for gate in table.gates:
        for fast, rate in zip(gate.fast, (10, 100), strict=True):
            assert fast == replace(gate.plain, label=fast.label, settings=(("adapter_rate", rate),))


def test_differences_are_printed_against_every_row_that_is_there() -> None:
    """Scheme 1 has 79.4 to 81.3 %; a control half a point below it, and LSQ, of mean 81."""
    control = "asq-constant-lsq-w4a4"
    results = table5() + [
        result(control, seed, correct + OFFSETS["asq-lsq-w4a4"][seed - 1] - 50)
        for seed, correct in CORRECT.items()
    ]
    found = [
        row.split(" | ")[1:4]
        for row in lines_of(ablation_report(results, [TABLE5]), "| bits | row | against")
        if "scheme 1" in row
    ]
    assert found == [
        ["control of scheme 1", "LSQ", "-1.10 ± 0.25"],
        ["ASQ activations (scheme 1)", "control of scheme 1", "+0.50 ± 0.00"],
        ["ASQ activations (scheme 1)", "LSQ", "-0.60 ± 0.25"],
    ]


def test_rows_are_chosen_by_table_and_key() -> None:
    both = chosen_rows(chosen_tables(["5", "4"]))
    # Six rows, two controls and a gate's two; twelve, six and six, of which seven (LSQ, both
    # schemes and controls, the gate's) are in both.
    assert len({row.key for row in both}) == len(both) == 10 + 24 - 7
    assert [row.key for row in both[:8]] == [row.key for row in TABLE5.rows]
    assert chosen_rows([TABLE5], ["real-valued"]) == [TABLE5.rows[-1]]
    with pytest.raises(InputError, match="--rows must be of lsq-lsq-w4a4 .*, not 'asq'"):
        chosen_rows([TABLE5], ["asq"])
    with pytest.raises(InputError, match="--table must be one of 5, 4, widths, adapters, not '6'"):
        chosen_tables(["6"])


def test_rows_differ_in_their_methods_alone() -> None:
    pytest.importorskip("torch")
    plan = Plan(recipe=RECIPE, runs=Path("runs"))
    same = None
    for variant in chosen_rows(TABLES.values()):
        row = plan.row(variant, 2)
        assert row.seed == 2
        made = ("name", "weights", "activations", "weight_bits", "activation_bits")
        made += tuple(key for key, _ in variant.settings)
        shared = {key: value for key, value in asdict(row).items() if key not in made}
        same = same or shared
        assert shared.items() <= same.items()
        named = {"weights": row.weights, "activations": row.activations, "bits": row.weight_bits}
        assert replace(variant, **named) == variant  # type: ignore[arg-type]
        assert row.weight_bits == row.activation_bits


SMALL = (
    "dataset=digits", "model=digits", "training_images=128", "crop_padding=0", "flip=false",
)  # fmt: skip
ROWS = [TABLE5.rows[0], TABLE5.rows[-1]]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    return Plan(recipe=RECIPE, runs=tmp_path / "runs", overrides=SMALL)


def in_this_process(plan: Plan, seed: int) -> list[Result]:
    start = train_start(plan, seed)
    return [train_row(plan, variant, seed, start) for variant in ROWS]


def lines(results: list[Result]) -> list[Result]:
    """What does not depend on when and in which order rows were trained."""
    return sorted((replace(r, commit="") for r in results), key=lambda r: (r.seed, r.variant))


def test_killed_rows_go_on_where_they_were(tmp_path: Path, plan: Plan) -> None:
    torch = pytest.importorskip("torch")
    from asq_hw.train.models import build

    init = tmp_path / "start.pth"
    torch.save({"net": build("digits", width=4, in_channels=1, num_classes=10).state_dict()}, init)
    plan = replace(plan, overrides=(*SMALL, "epochs=12", "width=4"), init=init)
    output = tmp_path / "results.csv"
    command = [
        *(sys.executable, "-m", "analysis.paper.ablation", "run", "--output", str(output)),
        *("--runs", str(plan.runs), "--seeds", "1", "--table", "5", "--jobs", "2"),
        *("--init", str(init)),
        *("--rows", *(row.key for row in ROWS)),
        *(word for value in plan.overrides for word in ("--set", value)),
    ]
    root = Path(__file__).parents[3]
    logs = [plan.runs / row.overrides(1)["name"] / "log.jsonl" for row in ROWS]  # type: ignore[operator]
    with no_hang(PATIENCE):
        parent = subprocess.Popen(command, cwd=root)
        while not any(epochs(log) >= 2 for log in logs):
            assert parent.poll() is None
            time.sleep(0.005)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert any(2 <= epochs(log) < 12 for log in logs)
        finished = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    found = read_results(output)
    assert {r.start_recipe for r in found} == {"state-dict"}
    assert lines(found) == lines(in_this_process(replace(plan, runs=tmp_path / "whole"), 1))
    assert all(re.fullmatch(r"[0-9a-f]{12}(\+changes)?|version-.*", r.commit) for r in found)
    # Nothing is left to do, and what is there is not trained again.
    before = [(log, log.stat().st_mtime_ns) for log in logs]
    assert list(run(output, plan, variants=ROWS, seeds=[1])) == []
    (tmp_path / "results.csv").unlink()
    assert lines(in_this_process(plan, 1)) == lines(found)
    assert [(log, log.stat().st_mtime_ns) for log in logs] == before


def epochs(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def refusal(generator: Iterator[Outcome]) -> str:
    with pytest.raises(InputError) as error:
        next(generator)
    return str(error.value)


def test_results_that_do_not_compare_are_refused_before_training(
    tmp_path: Path, plan: Plan
) -> None:
    output = tmp_path / "results.csv"
    start = train_start(plan, 1)
    [made] = [train_row(plan, ROWS[1], 1, start)]
    assert (made.dataset, made.recipe, made.start_recipe) == (
        "digits",
        RECIPE,
        "ablation-float-seed1",
    )
    assert made.start == start.digest and made.loss is not None and made.training_loss is not None
    write_results(output, [made])
    kept = output.read_bytes()

    def again(**changes: object) -> str:
        return refusal(run(output, replace(plan, **changes), variants=ROWS, seeds=[1]))  # type: ignore[arg-type]

    assert "of settings" in again(overrides=(*SMALL, "batch_size=16"))
    assert "of recipe ablation-quantized and of agreement" in again(recipe="agreement-quantized")
    assert "cannot replace what makes a row" in again(overrides=("seed=3",))
    # The same network in another file is the same start; another one is not.
    moved = tmp_path / "moved.pt"
    moved.write_bytes(start.path.read_bytes())
    assert train_start(replace(plan, init=moved), 1) == replace(start, path=moved)
    other = train_start(replace(plan, overrides=(*SMALL, "learning_rate=0.02")), 3)
    with pytest.raises(InputError, match="holds a run from start .*, not from .*--runs"):
        train_row(plan, ROWS[1], 1, other)
    assert output.read_bytes() == kept


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--output", str(tmp_path / "x.csv"), "--runs", str(tmp_path / "runs")]
    for arguments, said in (
        (["table", str(tmp_path / "nothing.csv")], "error: results "),
        (["table", str(DATA), "--table", "6"], "error: --table must be one of"),
        (["run", *where, "--seeds", "0"], "error: --seeds must be 1..1000, not 0"),
        (["run", *where, "--passes", "0"], "error: recipe key epochs must be at least 1"),
        (["run", *where, "--rows", "x"], "error: --rows must be of"),
        (["run", *where, "--recipe", "x"], "error: recipe must be one of"),
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(said) and captured.err.count("\n") == 1
        assert captured.out == ""


@pytest.mark.parametrize(("name", "second"), [("cifar10.csv", "4"), (DATA.name, "widths")])
def test_the_document_holds_what_the_command_prints(
    name: str, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["table", f"docs/data/{name}", "--table", "5", "--table", second]
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"python -m analysis.paper.ablation {' '.join(command)}" in text
    assert main(["table", str(DATA.with_name(name)), *command[2:]]) == 0
    for part in capsys.readouterr().out.strip().split("\n\n"):
        assert part in text


@pytest.mark.parametrize(
    ("module", "command", "arguments"),
    [
        ("passes", "summary", ["cifar10-passes.csv", "--passes", "1", "4", "7", "10"]),
        ("changed", "table", ["cifar10-changed.csv"]),
        ("changed", "table", ["cifar10-changed-w4a4.csv"]),
    ],
)
def test_the_document_holds_what_is_measured_of_its_networks(
    module: str, command: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    text = DOCUMENT.read_text(encoding="utf-8")
    whole = f"python -m analysis.paper.{module} {command} docs/data/{' '.join(arguments)}"
    assert whole in text
    run = importlib.import_module(f"analysis.paper.{module}").main
    assert run([command, str(DATA.with_name(arguments[0])), *arguments[1:]]) == 0
    for part in capsys.readouterr().out.strip().split("\n\n"):
        assert part in text


def test_the_documents_results_are_of_the_shipped_recipes() -> None:
    pytest.importorskip("torch")
    results = read_results(DATA)
    rows = [r for r in chosen_rows([TABLE5, WIDTHS]) if r.activations != "asq-constant"]
    assert {(r.variant, r.seed) for r in results} == {
        (row.key, seed) for row in rows for seed in (1, 2, 3)
    }
    plan = Plan(recipe=RECIPE, runs=Path("runs"))
    assert {r.settings for r in results} == {plan.settings()}
    assert {r.recipe for r in results} == {plan.shared().name}
    assert {r.start_recipe for r in results} == {plan.start(seed).name for seed in (1, 2, 3)}


def test_the_document_quotes_the_first_rows(capsys: pytest.CaptureFixture[str]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.partition("### The first rows")[2].partition("\n### ")[0]
    command = ["table", "docs/data/cifar10-unheld.csv", "--table", "5", "--table", "4"]
    assert f"python -m analysis.paper.ablation {' '.join(command)}\n" in section
    assert main(["table", str(DATA.with_name("cifar10-unheld.csv")), *command[2:]]) == 0
    printed = capsys.readouterr().out.splitlines()
    quoted = [line for line in section.splitlines() if line.startswith("|")]
    assert len(quoted) == 3 and set(quoted) <= set(printed)


@pytest.mark.parametrize(
    ("name", "overrides"), [("cifar10.csv", ()), ("cifar10-unheld.csv", ("edge_weights=lsq",))]
)
def test_cifar10_s_results_are_of_the_shipped_recipe_and_start(
    name: str, overrides: tuple[str, ...]
) -> None:
    torch = pytest.importorskip("torch")
    from asq_hw.train.checkpoints.digest import weights_digest

    results = read_results(DATA.with_name(name))
    plan = Plan(recipe="cifar10-ablation", overrides=overrides, runs=Path("runs"))
    assert {result.settings for result in results} == {plan.settings()}
    assert {result.dataset for result in results} == {"cifar10"}
    start = torch.load(checkpoint_path("cifar10-resnet20-float"))["weights"]
    assert {result.start for result in results} == {weights_digest(start)}
    keys = {row.key for row in chosen_rows(TABLES.values())}
    assert {result.variant for result in results} <= keys


def test_figures_and_data_of_the_document_are_there() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    figures = re.findall(r"!\[[^]]*]\(([^)]+)\)", text)
    assert len(figures) == 9
    for figure in figures:
        path = DOCUMENT.parent / figure
        assert path.stat().st_size < 150_000
        assert f"--output docs/{figure}" in text or f"--figure docs/{figure}" in text
