"""ResNet-20 with shortcuts without parameters: by hand, in training, and refused in integers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asq_hw import datasets
from asq_hw.errors import InputError
from asq_hw.network.topologies import TOPOLOGIES
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


def test_it_trains_and_what_integers_lack_is_named(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    start = recipes.load("digits-float", SMALL)
    first = train(start, output=tmp_path / "float", threads=1)
    assert first.accuracy > 0.15
    recipe = recipes.load("digits-asq-post-w4a4", SMALL)
    lacking = r"layer2\.0\.downsample\.getitem: getitem has no integer form"
    with pytest.raises(InputError, match=lacking):
        train(recipe, output=tmp_path / "refused", init=first.last, threads=1)
    found = train(
        recipe, output=tmp_path / "quantized", init=first.last, threads=1, must_export=False
    )
    model, loaded = load_model(found.last)
    assert loaded == recipe
    with pytest.raises(InputError, match=lacking):
        export_network(model, recipe, datasets.load("digits", split="train", limit=16))


def test_quantizing_keeps_the_zeros_of_a_shortcut() -> None:
    recipe = recipes.load("digits-asq-post-w4a4", SMALL)
    model = quantize(build("resnet20-a", width=4, in_channels=1, num_classes=10), recipe)
    x = torch.rand(2, 4, 8, 8)
    y = model.get_submodule("layer2.0.downsample")(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert y[:, :2].count_nonzero() == y[:, 6:].count_nonzero() == 0
