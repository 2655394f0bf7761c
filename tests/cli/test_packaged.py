"""What comes with the package: its networks by name, and the one that training starts from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from asq_hw import datasets, modelfile, sim
from asq_hw.cli import main
from asq_hw.cli.options import model_path
from asq_hw.files.packaged import PACKAGED_CHECKPOINTS, PACKAGED_MODELS, checkpoint_path
from asq_hw.network.activation import AdaptiveStep
from asq_hw.network.layers import Conv, Linear
from asq_hw.sim.instruction_sets import Kernel
from asq_hw.sim.kernel_choice import available_kernels
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.checkpoints.digest import weights_digest
from tests.datasets.test_cifar import write

START = "cifar10-resnet20-float"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.fixture
def few_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10 in its own format, with four images of noise in each batch."""
    write(tmp_path, "binary", packed=False)
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path))
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, object]:
    assert main([*command, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]  # an object


def test_both_networks_have_names_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    first = printed(capsys, "simulate", "--limit", "3")
    assert first["model"] == printed(capsys, "simulate", "fashion-mnist", "--limit", "3")["model"]
    for name in PACKAGED_MODELS:
        assert model_path(name).is_file()
        assert printed(capsys, "overhead", name)["network"] == modelfile.load(model_path(name)).name


def test_cifar10_s_is_the_paper_s_scheme_2() -> None:
    network = modelfile.load(model_path("cifar10"))
    layers = [layer for layer in network.layers if isinstance(layer, Conv | Linear)]
    assert network.image_shape == (3, 32, 32) and network.classes[6] == "frog"
    inner = layers[1:-1]
    grids = {(layer.weight_grid.scheme.name, layer.weight_grid.bits) for layer in inner}
    assert grids == {("post", 4)}
    assert {layer.quantizer.grid.bits for layer in inner} == {4}
    adaptive = [layer for layer in layers if isinstance(layer.quantizer.step, AdaptiveStep)]
    assert len(layers) == 22 and len(adaptive) == 20
    assert len(network.references["cifar10"]) == 10_000


def test_all_kernels_run_it_alike() -> None:
    network = modelfile.load(model_path("cifar10"))
    images = np.random.default_rng(2).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    found = [sim.simulate(network, images, kernel=kernel) for kernel in available_kernels()]
    assert Kernel.PORTABLE in available_kernels()
    for result in found[1:]:
        for name, output in result.outputs.items():
            assert np.array_equal(output.integers, found[0].outputs[name].integers)


def test_without_data_it_gets_cifar10(few_images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = printed(capsys, "simulate", "cifar10")
    assert (document["dataset"], document["images"]) == ("cifar10", 4)
    assert document["agreement"] is None  # these are other images than those it was exported with


def test_where_cifar10_is_missing_the_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path))
    assert main(["simulate", "cifar10"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path) in line and "cifar-10" in line


def test_training_starts_from_the_packaged_network(
    few_images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated = printed(capsys, "eval", START)
    assert evaluated["images"] == 4 and evaluated["digest"] in DOCUMENT
    options = ["--set", "epochs=1", "--set", "batch_size=20", "--threads", "1"]
    run = tmp_path / "run"
    command = ["train", "--recipe", "cifar10-resnet20-asq-post-w4a4", "--init", START, *options]
    printed(capsys, *command, "-o", str(run))
    assert checkpoints.load(run / "last.pt").start == evaluated["digest"]


def test_it_is_in_full_precision_and_can_be_read_without_data() -> None:
    found = checkpoints.load_any(START)
    assert isinstance(found, Checkpoint)
    assert (found.recipe.model, found.recipe.width, found.recipe.is_quantized) == (
        "resnet20",
        16,
        False,
    )
    assert found.training == {}
    assert weights_digest(found.build_model().state_dict()) in DOCUMENT


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checkpoint_path(START) == PACKAGED_CHECKPOINTS[START]
    (tmp_path / START).write_bytes(b"")
    assert checkpoint_path(START) == Path(START)
    assert checkpoint_path("absent.pt") == Path("absent.pt")
