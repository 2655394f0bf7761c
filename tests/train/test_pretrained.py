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
    with pytest.raises(InputError, match=rf"it lacks {name} \[128, 64, 1, 1\] \("):
        start(tmp_path, without)
    misshapen = rf"it has in another shape {name} \[128, 64, 3, 3\], not \[128, 64, 1, 1\] \("
    with pytest.raises(InputError, match=misshapen):
        start(tmp_path, state | {name: torch.zeros(128, 64, 3, 3)})
    with pytest.raises(InputError, match=r"it has without a place layer5\.0 \("):
        start(tmp_path, state | {"layer5.0": torch.zeros(1)})


def test_all_that_does_not_fit_is_said_at_once(tmp_path: Path, state: dict[str, Tensor]) -> None:
    wrong = {key: value for key, value in state.items() if "downsample.1" not in key}
    wrong |= {"fc.weight": torch.zeros(10, 256), "quantizer\nalpha": torch.zeros(1)}
    with pytest.raises(InputError) as error:
        start(tmp_path, wrong)
    said = str(error.value)
    assert "it lacks layer2.0.downsample.1.weight [128], " in said
    assert "and 9 more; it has in another shape fc.weight [10, 256], not [10, 512]; " in said
    assert "it has without a place 'quantizer\\nalpha' (nor does it fit any other network" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("model", "width", "num_classes"),
    [("resnet34", 8, 10), ("resnet18", 8, 7), ("mobilenetv2", 8, 10), ("resnet20-a", 5, 10)],
)
def test_the_network_that_a_state_dict_fits_is_named(
    tmp_path: Path, model: str, width: int, num_classes: int
) -> None:
    other = build(model, width=width, in_channels=3, num_classes=num_classes).state_dict()
    named = rf"it fits a {model} of width {width} .* of 3 channels in {num_classes} classes"
    with pytest.raises(InputError, match=named):
        start(tmp_path, other)


@pytest.mark.parametrize(
    "wild",
    [
        {"a": torch.zeros(1, 1, 1, 1), "b": torch.zeros(1, 1)},
        {"a": torch.zeros(10**6, 0, 1, 1), "b": torch.zeros(1, 1)},
        {"a": torch.zeros(7, 10**5, 1, 1), "b": torch.zeros(10**5, 1)},
        {"a": torch.zeros(3, 3, 1, 1), "b": torch.zeros(0, 3)},
        {"a": torch.zeros(3)},
    ],
)
def test_shapes_that_no_network_has_are_refused_too(
    tmp_path: Path, wild: dict[str, Tensor]
) -> None:
    with pytest.raises(InputError, match="nor does it fit any other network"):
        start(tmp_path, wild)
