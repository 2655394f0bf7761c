"""ResNet-20 with shortcuts without parameters: by hand, in training and in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asq_hw import datasets, oracle
from asq_hw.network.layers import MaxPool, Pad
from asq_hw.network.topologies import TOPOLOGIES
from asq_hw.sim import simulate
from asq_hw.train import recipes
from asq_hw.train.checkpoints.checkpoint import load_model
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.conversion import layer_roles, quantize
from asq_hw.train.models import build
from asq_hw.train.models.resnet import PaddedShortcut
from asq_hw.train.run.training import train

SMALL = {
    "dataset": "digits", "model": "resnet20-a", "width": 4, "epochs": 1, "crop_padding": 0,
    "flip": "false", "training_images": 128, "batch_size": 32,
}  # fmt: skip


def test_a_shortcut_by_hand() -> None:
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    y = PaddedShortcut(2, 1, 1)(x)
    assert y.shape == (1, 4, 2, 2)
    assert y[0, 0].count_nonzero() == y[0, 3].count_nonzero() == 0
    assert y[0, 1].tolist() == [[0, 2], [8, 10]]
    assert y[0, 2].tolist() == [[16, 18], [24, 26]]


def test_its_tensors_are_those_of_resnet20_without_its_shortcuts() -> None:
    shape = {"width": 8, "in_channels": 3, "num_classes": 10}
    plain = build("resnet20", **shape).state_dict()
    padded = build("resnet20-a", **shape).state_dict()
    assert set(padded) == {name for name in plain if "downsample" not in name}
    x = torch.randn(2, 3, 32, 32)
    assert build("resnet20-a", **shape)(x).shape == (2, 10)


@pytest.mark.parametrize("width", [1, 5, 16])
def test_channels_of_every_width_stand_in_the_middle(width: int) -> None:
    blocks = [b for stage in TOPOLOGIES["resnet20-a"].plan(width=width).stages for b in stage]
    padded = [block for block in blocks if block.padding is not None]
    assert [block.name for block in padded] == ["layer2.0", "layer3.0"]
    for block in padded:
        before, behind = block.padding
        assert before + block.in_channels + behind == block.out_channels
        assert before == block.out_channels // 4
        assert block.downsample is None


def test_every_layer_is_quantized_and_knows_its_inputs_sign() -> None:
    roles = layer_roles(build("resnet20-a", width=4, in_channels=1, num_classes=10))
    assert [name for name, role in roles.items() if role.is_edge] == ["conv1", "fc"]
    assert [name for name, role in roles.items() if role.signed_input] == ["conv1"]


def test_it_trains_and_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    start = recipes.load("digits-float", SMALL)
    first = train(start, output=tmp_path / "float", threads=1)
    assert first.accuracy > 0.15
    recipe = recipes.load("digits-asq-post-w4a4", SMALL)
    found = train(recipe, output=tmp_path / "quantized", init=first.last, threads=1)
    model, loaded = load_model(found.last)
    assert loaded == recipe
    calibration = datasets.load("digits", split="train", limit=64)
    network = export_network(model, recipe, calibration)
    shortcut = {layer.name: layer for layer in network.layers if "downsample" in layer.name}
    assert [type(layer) for layer in shortcut.values()] == [MaxPool, Pad] * 2
    pad = shortcut["layer2.0.downsample.pad"]
    assert isinstance(pad, Pad) and pad.channels == (2, 2) and pad.rows == pad.columns == (0, 0)
    images = datasets.load("digits").images[:16]
    made, expected = simulate(network, images), oracle.run(network, images)
    assert np.array_equal(made.scores, expected[network.outputs[0].layer].reshape(16, 10))
    kept = expected[pad.source]
    assert np.array_equal(expected[pad.name][:, 2:6], kept)
    assert np.array_equal(kept, expected["layer1.2.relu_1"][:, :, ::2, ::2])


def test_quantizing_keeps_the_zeros_of_a_shortcut() -> None:
    recipe = recipes.load("digits-asq-post-w4a4", SMALL)
    model = quantize(build("resnet20-a", width=4, in_channels=1, num_classes=10), recipe)
    x = torch.rand(2, 4, 8, 8)
    y = model.get_submodule("layer2.0.downsample")(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert y[:, :2].count_nonzero() == y[:, 6:].count_nonzero() == 0
