"""The benchmarks' tables: equal values from every tool, and a line for one that is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from asq_hw.errors import InputError
from asq_hw.sim.kernel_choice import available_kernels
from benchmarks import convolution, kernels, peak, scale, tables, throughput
from benchmarks.timing import Section, interleave, show
from tests.helpers import networks


@pytest.fixture
def small_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_CHANNELS", 5), ("_SIZE", 6), ("_SIMULATED_IMAGES", 2)):
        monkeypatch.setattr(convolution, name, value)
    # It takes so little time that what is measured may be none.
    monkeypatch.setattr(convolution, "profile_layers", lambda *_: {"conv": 0.001})


@pytest.mark.usefixtures("small_layer")
def test_every_tool_gives_the_convolutions_exact_outputs() -> None:
    rows = convolution.compare().rows
    assert len(rows) == 5
    assert [row["equal"] for row in rows] == ["yes"] * 5
    assert rows[0]["times the simulator's"] == 1
    assert all(row["times the simulator's"] == row["seconds"] / 0.001 for row in rows)


@pytest.mark.usefixtures("small_layer")
def test_what_takes_no_time_has_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "profile_layers", lambda *_: {"conv": 0.0})
    rows = convolution.compare().rows
    assert [row["times the simulator's"] for row in rows] == [None] * 5


@pytest.mark.usefixtures("small_layer")
def test_a_missing_tool_costs_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("apytypes", "fxpmath"):
        monkeypatch.setitem(sys.modules, name, None)
    equal = {row["tool"]: row["equal"] for row in convolution.compare().rows}
    assert equal.pop("simulator") == equal.pop("oracle") == "yes"
    assert sorted(equal.values()) == ["not installed: apytypes"] * 2 + ["not installed: fxpmath"]


@pytest.mark.usefixtures("small_layer")
def test_a_wrong_value_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    right = convolution._simulate

    def wrong(problem):
        seconds, outputs = right(problem)
        outputs = outputs.copy()
        outputs[0, 0] += 1
        return seconds, outputs

    monkeypatch.setattr(convolution, "_simulate", wrong)
    assert [row["equal"] for row in convolution.compare().rows] == ["NO"] + ["yes"] * 4


def test_layers_are_compared_with_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    network = networks.network_of_every_kind()
    images = networks.random_images(network, 2, seed=0)
    macs = network.macs()
    quickest, *others = (name for name, count in macs.items() if count)
    measured = dict.fromkeys(throughput.profile_layers(network, images), 1e-6)
    monkeypatch.setattr(
        throughput, "profile_layers", lambda network, images: measured | {quickest: 0.0}
    )
    section = throughput.layer_table(network, images, 1e12)
    weighted = {row["layer"]: row for row in section.rows if "M products" in row}
    assert weighted.keys() == {quickest, *others, "all"}
    assert "of the peak" not in weighted[quickest]
    for name in others:
        products = weighted[name]["M products"] * 1e6
        assert products in (macs[name], 2 * macs[name])
        assert weighted[name]["of the peak"] == f"{products * 1e6 / 1e12:.0%}"
    whole = section.rows[-1]
    assert whole["layer"] == "all"
    products = sum(row["M products"] for row in weighted.values()) - whole["M products"]
    assert products == pytest.approx(whole["M products"])
    assert whole["G products/s"] == pytest.approx(whole["M products"] / whole["ms"])
    assert not any(
        "of the peak" in row for row in throughput.layer_table(network, images, None).rows
    )


def test_runners_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []
    seconds = interleave({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    assert order == ["a", "b"] * 3
    assert [len(values) for values in seconds.values()] == [2, 2]


def test_a_table_has_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    section = Section(title="T", rows=[{"a": 1}, {"a": 2.5, "b": "x"}], notes=["N."])
    show(section, "markdown")
    lines = capsys.readouterr().out.split("\n")
    assert lines[1:7] == ["T", "", "| a   | b |", "| --- | - |", "| 1   |   |", "| 2.5 | x |"]
    show(section, "json")
    assert json.loads(capsys.readouterr().out)["rows"] == section.rows


def test_rows_of_before_are_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sections = [Section(title=name, rows=[{"a": number}]) for name, number in (("T", 1), ("U", 2))]
    for section in sections:
        show(section, "json")
    kept = tmp_path / "kept.json"
    kept.write_text(capsys.readouterr().out)
    for section in sections:
        show(section, "markdown")
    wanted = capsys.readouterr().out
    tables.main([str(kept)])
    assert capsys.readouterr().out == wanted
    kept.write_text(kept.read_text() + "{}\n")
    with pytest.raises(InputError, match=r"kept\.json, line 3: it must be a benchmark's JSON"):
        tables.main([str(kept)])


def test_the_page_of_training_has_the_measured_tables(capsys: pytest.CaptureFixture[str]) -> None:
    docs = Path(__file__).parents[1] / "docs"
    tables.main([str(docs / "data" / "ptq.json")])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    page = (docs / "training.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 10 and not set(lines) - set(page)


def test_the_peak_is_of_a_processor_with_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    rate = peak.integer_peak()
    assert rate is None or rate > 1e9

    def refuse(kernel: str) -> None:
        raise InputError(f"kernel {kernel} needs another processor")

    monkeypatch.setattr(peak, "choose_kernel", refuse)
    assert peak.integer_peak() is None


@pytest.mark.usefixtures("small_layer")
def test_every_kernel_is_timed() -> None:
    network = networks.network_of_every_kind()
    section = kernels.compare_kernels(network, networks.random_images(network, 3, seed=0), 2)
    assert [row["kernel"] for row in section.rows] == available_kernels()
    assert all(row[f"{network.name}, images/s"] > 0 for row in section.rows)


def test_drawn_windows_are_those_of_the_convolution() -> None:
    image = np.arange(2 * 28 * 28).reshape(2, 28, 28).astype(np.uint8)
    windows = convolution._windows(image)
    codes = np.minimum((image.astype(int) + 8) // 16, 15)
    assert windows.shape == (784, 18)
    np.testing.assert_array_equal(windows[29].reshape(2, 3, 3), codes[:, :3, :3])
    assert windows[0].reshape(2, 3, 3)[:, 0].max() == 0


def test_a_thousand_images_take_the_memory_of_one() -> None:
    scale.in_new_process(1)  # compiles where nothing is cached, which takes memory too
    one, many = (scale.in_new_process(count) for count in (1, 1000))
    assert many["peak_mebibytes"] < 1.1 * one["peak_mebibytes"]
