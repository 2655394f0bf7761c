"""State dicts with torchvision's names load; what does not fit is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.models import build
from asq_hw.train.starting_point import new_model

SHAPE = {"in_channels": 3, "num_classes": 10}


def torchvision_resnet18() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes as torchvision's ResNet-18 has them, with 64 channels and 10 classes."""

    def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{part}", (channels,)
        yield f"{name}.num_batches_tracked", ()

    yield "conv1.weight", (64, 3, 7, 7)
    yield from norm("bn1", 64)
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            first = max(64, channels // 2) if block == 0 else channels
            name = f"layer{stage}.{block}"
            yield f"{name}.conv1.weight", (channels, first, 3, 3)
            yield from norm(f"{name}.bn1", channels)
            yield f"{name}.conv2.weight", (channels, channels, 3, 3)
            yield from norm(f"{name}.bn2", channels)
            if first != channels:
                yield f"{name}.downsample.0.weight", (channels, first, 1, 1)
                yield from norm(f"{name}.downsample.1", channels)
    yield "fc.weight", (10, 512)
    yield "fc.bias", (10,)


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(shape, generator=generator) if shape else torch.tensor(3)
        for name, shape in torchvision_resnet18()
    }


def start(tmp_path: Path, state: object) -> nn.Module:
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    recipe = recipes.load("imagenet-resnet18-asq-lsq-w4a4")
    return new_model(recipe, path, **SHAPE)


def test_a_resnet18_with_torchvisions_names_loads(tmp_path: Path, state: dict[str, Tensor]) -> None:
    plain = build("resnet18", width=64, **SHAPE).state_dict()
    assert {name: value.shape for name, value in plain.items()} == {
        name: value.shape for name, value in state.items()
    }
    model = start(tmp_path, state)
    found = model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert any("weight_quantizer" in name for name in found)


def test_counters_may_be_missing(tmp_path: Path, state: dict[str, Tensor]) -> None:
    older = {name: value for name, value in state.items() if "num_batches" not in name}
    found = start(tmp_path, older).state_dict()
    assert all(torch.equal(found[name], value) for name, value in older.items())


def test_what_does_not_fit_is_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    name = "layer2.0.downsample.0.weight"
    without = {key: value for key, value in state.items() if key != name}
    missing = rf"must hold tensor {name} of shape \[128, 64, 1, 1\], and does not"
    with pytest.raises(InputError, match=missing):
        start(tmp_path, without)
    misshapen = rf"tensor {name} of .* must have shape \[128, 64, 1, 1\], not \[128, 64, 3, 3\]"
    with pytest.raises(InputError, match=misshapen):
        start(tmp_path, state | {name: torch.zeros(128, 64, 3, 3)})
    with pytest.raises(InputError, match=r"tensor layer5\.0 of .* has no place in the network"):
        start(tmp_path, state | {"layer5.0": torch.zeros(1)})
    with pytest.raises(InputError, match="neither a checkpoint of asq-hw train nor a state dict"):
        start(tmp_path, {"state_dict": state})
