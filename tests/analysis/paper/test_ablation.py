"""The ablation: its statistics by hand, resumable runs, a document that its command prints."""

import math
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from analysis.paper import ablation, ablation_results
from analysis.paper.ablation import main, run
from analysis.paper.ablation_results import TABLE5, WIDTHS, Result, read_results, write_results
from analysis.paper.ablation_table import STUDENT_T, ablation_report, paired_difference
from asq_hw.errors import InputError

DOCUMENT = Path(__file__).parents[3] / "docs" / "ablation.md"
DATA = DOCUMENT.parent / "data" / "ablation.csv"
SETTING = {
    "images": 10000,
    "start_correct": 8000,
    "width": 8,
    "training_images": 100,
    "epochs": 1,
    "batch_size": 4,
    "learning_rate": 0.01,
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


def result(variant: str, seed: int, correct: int) -> Result:
    return Result(variant=variant, seed=seed, correct=correct, **SETTING)  # type: ignore[arg-type]


def table5() -> list[Result]:
    results = [result("lsq-lsq-w4a4", seed, correct) for seed, correct in CORRECT.items()]
    for variant, offsets in OFFSETS.items():
        pairs = zip(CORRECT.items(), offsets, strict=True)
        results += [result(variant, seed, correct + more) for (seed, correct), more in pairs]
    return results


def test_students_t_leaves_97_5_percent_below() -> None:
    for degrees, value in enumerate(STUDENT_T, start=1):
        gamma = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2)
        x = np.linspace(0, value, 200_001)
        density = (
            gamma / math.sqrt(degrees * math.pi) * (1 + x**2 / degrees) ** (-(degrees + 1) / 2)
        )
        assert 0.5 + np.trapezoid(density, x) == pytest.approx(0.975, abs=2e-5)


def test_a_difference_is_paired_by_seed() -> None:
    # Differences -1, 2 and 5: mean 2, standard deviation 3. The seeds 4 and 5 have no partner.
    found = paired_difference(
        {1: 80.0, 2: 83.0, 3: 90.0, 4: 0.0}, {3: 85.0, 1: 81.0, 2: 81.0, 5: 0.0}
    )
    assert found is not None
    assert found.mean == pytest.approx(2)
    assert found.half_width == pytest.approx(4.303 * 3 / math.sqrt(3))
    assert not found.is_clear
    assert paired_difference({1: 2.0, 2: 3.0}, {1: 1.0}) is None


def test_more_seeds_than_the_table_of_t_are_refused() -> None:
    many = dict.fromkeys(range(11), 1.0)
    with pytest.raises(InputError, match="at most 10, not 11"):
        paired_difference(many, many)


def test_the_report_by_hand() -> None:
    report = ablation_report(table5())
    assert report.startswith("Floating-point starts: 80.00 % (seed 1), 80.00 % (seed 2), 80.00 %")
    assert "| LSQ (baseline) | 81.00 % | 1.00 | 3 |  |  |\n" in report
    assert "| POT weights | 81.30 % | 1.00 | 3 | +0.30 ± 0.00 | +0.1 |\n" in report
    # -0.2, 0 and 0.8: mean 0.2, standard deviation sqrt(0.28).
    half = 4.303 * math.sqrt(0.28 / 3)
    assert f"| +0.20 ± {half:.2f} | +0.3 |\n" in report
    assert "Order by mean: real-valued > POT weights > " in report
    # A mean of -0.6 with deviation 0.1 is clear, +0.2 with 0.17 is not.
    clear = report.split("leaves out zero: ")[1].splitlines()[0]
    assert clear == "POT weights, ASQ activations (scheme 1), real-valued"


def test_the_papers_order_is_table_5s() -> None:
    papers = ablation_report(table5()).split("The paper's order: ")[1].splitlines()[0]
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
    rows = ablation_report(results).split("(95 %) |\n")[-1].splitlines()[1:]
    assert rows == [
        "| 2 | LSQ | 71.00 % | 1.00 | 3 |  |",
        "| 2 | scheme 1 | 72.00 % | 1.00 | 3 | +1.00 ± 0.00 |",
        "| 4 | LSQ | 81.00 % | 1.00 | 3 |  |",
        "| 4 | scheme 1 | 80.40 % | 0.90 | 3 | -0.60 ± 0.25 |",
        "| 4 | scheme 2 | 81.20 % | 1.15 | 3 | +0.20 ± 0.43 |",
        "| 8 | scheme 1 | 81.00 % | 1.00 | 3 |  |",
    ]


def test_one_run_has_no_deviation() -> None:
    assert "| LSQ (baseline) | 80.00 % |  | 1 |  |  |" in ablation_report(table5()[:1])


def test_reports_need_results_of_known_rows() -> None:
    with pytest.raises(InputError, match="at least one run, not none"):
        ablation_report([])
    with pytest.raises(InputError, match="not 'mine'"):
        ablation_report([result("mine", 1, 1)])


def test_results_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    write_results(path, table5())
    assert read_results(path) == table5()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("8000", "many", "line 2 of .* is not a result: .*'many'"),
        ("correct", "right", "line 2 of .* is not a result: 'correct'"),
        ("0.01\n", "0.02\n", "must be of one setting"),
    ],
)
def test_damaged_results_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "results.csv"
    write_results(path, table5())
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_results(path)


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", str(tmp_path / "nothing.csv")]) == 2
    assert capsys.readouterr().err.startswith("error: results ")


def test_table_5_is_the_papers() -> None:
    """Method for weights, for activations, and top-1 as printed, at 4 bits."""
    printed = [(v.weights, v.activations, v.bits, v.paper_top1) for v in TABLE5]
    assert printed == [
        ("lsq", "lsq", 4, 92.4),
        ("pot", "lsq", 4, 92.5),
        ("post", "lsq", 4, 92.7),
        ("lsq", "asq", 4, 92.8),
        ("post", "asq", 4, 93.0),
        ("none", "none", 4, 92.6),
    ]


def test_all_widths_of_both_schemes_are_there() -> None:
    rows = [*TABLE5, *WIDTHS]
    assert {v.bits for v in rows if v.methods == "asq-lsq"} == {2, 3, 4, 8}
    assert {v.bits for v in rows if v.methods == "asq-post"} == {3, 4}
    assert len({v.key for v in rows}) == len(rows)


QUICK = ["dataset=digits", "model=digits", "training_images=128", "crop_padding=0"]


@pytest.fixture
def variants() -> tuple[ablation_results.Variant, ...]:
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    return TABLE5[0], TABLE5[5], WIDTHS[1]


def test_an_interrupted_ablation_ends_as_one_that_never_was(
    tmp_path: Path, variants: tuple[ablation_results.Variant, ...]
) -> None:
    def go(name: str, *, stop: int | None = None) -> list[Result]:
        output, runs = tmp_path / f"{name}.csv", tmp_path / name
        left = run(output, runs=runs, variants=variants, seeds=(1, 2), overrides=QUICK)
        for count, _ in enumerate(left, start=1):
            if count == stop:
                break
        return read_results(output)

    whole = go("whole")
    assert [(r.variant, r.seed) for r in whole] == [
        ("lsq-lsq-w4a4", 1),
        ("real-valued", 1),
        ("lsq-lsq-w4a4", 2),
        ("real-valued", 2),
        ("asq-lsq-w2a2", 1),
        ("asq-lsq-w2a2", 2),
    ]
    assert len(go("stopped", stop=2)) == 2
    assert go("stopped") == whole
    # A result that never reached the CSV comes back from its checkpoint.
    (tmp_path / "whole.csv").unlink()
    assert go("whole") == whole


def test_results_of_another_setting_are_not_mixed(
    tmp_path: Path, variants: tuple[ablation_results.Variant, ...]
) -> None:
    output = tmp_path / "results.csv"
    write_results(output, [result("lsq-lsq-w4a4", 1, 8000)])
    with pytest.raises(InputError, match="holds results with training_images 100, which 128"):
        next(run(output, runs=tmp_path, variants=variants, overrides=QUICK))
    assert read_results(output) == [result("lsq-lsq-w4a4", 1, 8000)]


def test_rows_differ_in_their_methods_alone() -> None:
    pytest.importorskip("torch")
    same = None
    for variant in (*TABLE5, *WIDTHS):
        start, row = ablation._recipes(variant, 2, [])
        assert not start.is_quantized and start.seed == row.seed == 2
        shared = {
            key: value
            for key, value in asdict(row).items()
            if key not in ("name", "weights", "activations", "weight_bits", "activation_bits")
        }
        same = same or shared
        assert shared == same
        named = {"weights": row.weights, "activations": row.activations, "bits": row.weight_bits}
        assert replace(variant, **named) == variant  # type: ignore[arg-type]
        assert row.weight_bits == row.activation_bits


def test_the_document_holds_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(DATA)]) == 0
    printed = capsys.readouterr().out
    assert f"python -m analysis.paper.ablation table docs/data/{DATA.name}" in DOCUMENT.read_text()
    for part in printed.strip().split("\n\n"):
        assert part in DOCUMENT.read_text(encoding="utf-8")


def test_the_documents_results_are_of_the_shipped_recipes() -> None:
    pytest.importorskip("torch")
    results = read_results(DATA)
    expected = {(v.key, seed) for v in (*TABLE5, *WIDTHS) for seed in ablation.SEEDS}
    assert {(r.variant, r.seed) for r in results} == expected
    _, row = ablation._recipes(TABLE5[0], 1, [])
    ablation._check_setting(DATA, results, row)


def test_figures_and_data_of_the_document_are_there() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    figures = re.findall(r"!\[[^]]*]\(([^)]+)\)", text)
    assert len(figures) == 5
    for figure in figures:
        path = DOCUMENT.parent / figure
        assert path.stat().st_size < 150_000
        assert f"--output docs/{figure}" in text
