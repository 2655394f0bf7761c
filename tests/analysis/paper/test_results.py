"""The CSV of results: it survives its file, and lines that do not compare are refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.paper.results import Result, check_together, read_results, write_results
from asq_hw.errors import InputError

ONE = Result(
    dataset="cifar10",
    recipe="shared",
    settings="epochs=10 learning_rate=0.04",
    start_recipe="float-seed1",
    start="0123456789abcdef",
    start_correct=9200,
    commit="0123456789ab",
    variant="lsq-lsq-w4a4",
    seed=1,
    correct=9100,
    images=10000,
    loss=0.25,
    training_loss=None,
)
NEXT = replace(ONE, seed=2, start_recipe="float-seed2", start="f" * 16, start_correct=9300)


def test_results_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results = [ONE, replace(ONE, variant="real-valued", loss=None, commit="a b"), NEXT]
    write_results(path, results)
    assert read_results(path) == results
    assert ONE.top1 == 91 and ONE.start_family == NEXT.start_family == "float"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "fashion-mnist"}, "of dataset cifar10 and of fashion-mnist"),
        ({"recipe": "other"}, "of recipe shared and of other"),
        ({"settings": "epochs=20 learning_rate=0.04"}, "of settings epochs=10 and of epochs=20"),
        ({"settings": "learning_rate=0.04"}, "of settings epochs=10 and of none"),
        ({"images": 100}, "of test images 10000 and of 100"),
        ({"start_recipe": "trained-seed2"}, "of start float and of trained"),
        ({"start_recipe": "float-seed1"}, "start"),
    ],
)
def test_what_does_not_compare_is_one_line(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    results = [ONE, replace(NEXT, **changes)]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"^here holds results .*{said}.*do not compare$"):
        check_together(results, "here")
    write_results(tmp_path / "x.csv", results)
    with pytest.raises(InputError, match=said):
        read_results(tmp_path / "x.csv")


@pytest.mark.parametrize("changes", [{"start": "a" * 16}, {"start": ""}, {"start_correct": 1}])
def test_one_start_has_one_digest(changes: dict[str, object]) -> None:
    shared = replace(ONE, start_recipe="float")
    other = replace(shared, seed=2, **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="from start 0123456789abcdef and from start .* of float"):
        check_together([shared, other], "here")
    check_together([shared, replace(shared, seed=2)], "here")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("9100", "many", "line 2 of .* is not a result: .*'many'"),
        ("correct", "right", "line 2 of .* is not a result: '.*correct'"),
        ("0.25", "x", "line 2 of .* is not a result: .*'x'"),
    ],
)
def test_damaged_results_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "results.csv"
    write_results(path, [ONE, NEXT])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_results(path)


def test_a_run_stands_once(tmp_path: Path) -> None:
    write_results(tmp_path / "x.csv", [ONE, NEXT, ONE])
    with pytest.raises(InputError, match="must hold lsq-lsq-w4a4 of seed 1 once, not twice"):
        read_results(tmp_path / "x.csv")
