"""The conformance files are what the oracle makes and what the simulator makes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from asq_hw import datasets, modelfile, oracle
from asq_hw.conformance.__main__ import main
from asq_hw.conformance.files import FOLDER, command, write_all
from asq_hw.conformance.models import EXAMPLES, Example
from asq_hw.datasets.samples import Samples, load_samples
from asq_hw.guard import guarded
from asq_hw.network.activation import Step
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import (
    LAYER_KINDS,
    AveragePool,
    Conv,
    GlobalAveragePool,
    Input,
    Layer,
    Linear,
)
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.products import Product
from asq_hw.numbers.schemes import POST, POT, SCHEMES
from asq_hw.sim import TraceComparison, simulate

ROOT = Path(__file__).parents[2]

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


def test_the_files_are_what_the_oracle_makes_of_the_examples(tmp_path: Path) -> None:
    assert main(["--write", str(tmp_path)]) == 0
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(FOLDER) for path in FOLDER.rglob("*") if path.is_file()}
    assert made == kept
    assert len(made) > 200
    for path in made:
        assert (tmp_path / path).read_bytes() == (FOLDER / path).read_bytes(), path


def stored(example: Example) -> tuple[IntegerNetwork, datasets.Dataset | Samples, Product]:
    """An example as somebody reads it who has only its files."""
    folder = FOLDER / example.name
    index = json.loads((folder / "trace" / "index.json").read_text())
    product = Product(kind=index["product"], lut_fraction_bits=index["lut_fraction_bits"])
    network = modelfile.load(folder / "model.asq")
    array = folder / "data" / "inputs.npy"
    data = load_samples(network, str(array)) if array.exists() else datasets.load(array.parent)
    assert len(data) == index["images"]
    return network, data, product


@each_example
def test_the_oracle_makes_every_tensor_of_the_files(example: Example) -> None:
    network, data, product = stored(example)
    tensors = oracle.trace(network, data.images, product).tensors()
    folder = FOLDER / example.name / "trace"
    assert list(tensors) == json.loads((folder / "index.json").read_text())["tensors"]
    assert {path.stem for path in folder.glob("*.npy")} == set(tensors)
    for name, values in tensors.items():
        assert np.array_equal(np.load(folder / f"{name}.npy", allow_pickle=False), values), name
    if data.labels is not None:
        assert np.array_equal(oracle.predict(network, data.images, product), data.labels)
    assert (data.labels is None) == (network.input.bits != 8)


@each_example
def test_the_simulator_makes_every_tensor_of_the_files(example: Example) -> None:
    network, data, product = stored(example)
    for kernel in ("auto", "portable"):
        comparison = TraceComparison(FOLDER / example.name / "trace", network, product)
        result = simulate(
            network, data.images, product=product, kernel=kernel, threads=1, trace=comparison
        )
        assert comparison.result() is None
        if data.labels is not None:
            assert np.array_equal(result.predictions, data.labels)
        assert [*result.outputs] == [output.name for output in network.outputs]
        for output in network.outputs:
            path = FOLDER / example.name / "trace" / f"{output.layer}.npy"
            assert np.array_equal(result.outputs[output.name].integers, np.load(path))


def run_cli(line: str) -> subprocess.CompletedProcess[str]:
    program, *words = line.split(" ")
    assert program == "asq-hw"
    code = "import sys; from asq_hw.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_the_printed_commands_check_the_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if not line.startswith("# ")]
    assert lines == [command(example) for example in EXAMPLES]
    for line in (lines[0], next(line for line in lines if "post-lut" in line), lines[-1]):
        result = run_cli(line)
        assert result.returncode == 0, result.stderr
        assert "Every tensor is equal to the one in" in result.stdout
        assert "top-1 100.00%" in result.stdout or "no class scores" in result.stdout


def test_an_executor_that_is_wrong_is_told_where(tmp_path: Path) -> None:
    write_all(tmp_path)
    path = tmp_path / "residual" / "trace" / "grouped-sum.npy"
    values = np.load(path, allow_pickle=False)
    values[2, 1, 3, 0] += 1
    np.save(path, values)
    example = next(example for example in EXAMPLES if example.name == "residual")
    result = run_cli(command(example, tmp_path))
    assert result.returncode == 1
    assert re.search(r"grouped-sum\[2, 1, 3, 0\] is -?\d+, expected -?\d+", result.stderr)


def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    status = guarded("asq_hw.conformance", lambda: main(["--write", str(tmp_path / "file")]))
    assert status == 2
    assert "error: cannot make folder" in capsys.readouterr().err


# The examples reach what they are there for


def all_layers() -> list[Layer]:
    return [layer for example in EXAMPLES for layer in example.network.layers]


def test_every_kind_scheme_encoding_and_version_is_there() -> None:
    assert {type(layer) for layer in all_layers()} == set(LAYER_KINDS.values())
    weighted = [layer for layer in all_layers() if isinstance(layer, Conv | Linear)]
    grids = {layer.weight_grid for layer in weighted}
    assert {grid.scheme for grid in grids} == set(SCHEMES.values())
    for scheme in (POT, POST):
        assert {grid.encoding for grid in grids if grid.scheme is scheme} == set(Encoding)
    assert {layer.quantizer.grid.signed for layer in weighted} == {True, False}
    assert {24, 4} <= {layer.output.bits for layer in weighted}
    assert {type(layer.quantizer.step) for layer in weighted} == set(get_args(Step))
    versions = {example.version for example in EXAMPLES}
    assert versions == set(range(1, modelfile.file.VERSION + 1))


@pytest.mark.parametrize(
    "grid", ["uniform 4", "uniform 8", "pot 4", "apot 4", "apot 7", "apot 8", "post 4", "post 7"]
)
def test_every_code_of_a_grid_is_a_weight(grid: str) -> None:
    scheme, bits = grid.split()
    used: dict[Encoding, set[int]] = {}
    for layer in all_layers():
        if isinstance(layer, Conv | Linear):
            found = layer.weight_grid
            if (found.scheme.name, found.bits) == (scheme, int(bits)):
                codes = used.setdefault(found.encoding, set())
                codes.update(layer.weight_codes.reshape(-1).tolist())
    assert used
    for encoding, codes in used.items():
        expected = oracle.codes.grid_codes(scheme, int(bits), str(encoding)).pairs
        assert codes == set(expected)


def is_tie(value: Fraction) -> bool:
    return value.denominator == 2


def test_every_rounding_meets_ties_of_both_signs() -> None:
    met: dict[str, set[bool]] = {}

    def see(what: str, value: Fraction) -> None:
        if is_tie(value):
            met.setdefault(what, set()).add(value < 0)

    for example in EXAMPLES:
        made = oracle.trace(example.network, example.images, example.product)
        for layer in example.network.layers:
            match layer:
                case Input():
                    for pixel in np.unique(example.images[:, 0]).tolist():
                        value = pixel * int(layer.multiplier[0]) + int(layer.offset[0])
                        see("input", Fraction(value, 2**layer.shift))
                case AveragePool() | GlobalAveragePool():
                    if isinstance(layer, GlobalAveragePool) or layer.kernel_size == (1, 1):
                        maps = made.feature_maps[layer.source]
                        sums = (
                            maps.sum(axis=(2, 3)) if isinstance(layer, GlobalAveragePool) else maps
                        )
                        for value in np.unique(sums).tolist():
                            see("pool", Fraction(value * layer.multiplier, 2**layer.shift))
                case Conv() | Linear():
                    scale = 2**layer.quantizer.step_fraction_bits
                    step = made.steps[layer.name].tolist()
                    for sample, size in zip(made.feature_maps[layer.source], step, strict=True):
                        for value in np.unique(sample).tolist():
                            see("codes", Fraction(value * scale, size))
                            if layer.name in made.odd_codes:
                                odd_step = (size * 46341 + 2**15) >> 16
                                see("odd codes", Fraction(value * scale, odd_step))
                    for multiplier in layer.multiplier.tolist():
                        see("m", Fraction(step[0] * multiplier, 2**layer.narrow_shift))
                    sums = made.accumulators[layer.name]
                    if len(sums) == 2:
                        for odd in np.unique(sums[1]).tolist():
                            see("V", Fraction(odd * 46341, 2**11))
                    elif not layer.weight_grid.uses_sqrt2:
                        for channel, multiplier in enumerate(layer.multiplier.tolist()):
                            m = (step[0] * multiplier * 2 + 2**layer.narrow_shift) >> (
                                layer.narrow_shift + 1
                            )
                            for value in np.unique(sums[0][:, channel]).tolist():
                                see("Y", Fraction(value * m, 2**layer.shift))
                case _:
                    pass
    roundings = ("input", "pool", "codes", "odd codes", "m", "V", "Y")
    assert met == {rounding: {True, False} for rounding in roundings}
