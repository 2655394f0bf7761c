"""Predictions in double precision: the same network, and images moved no further than told."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from asq_hw.datasets import Dataset
from asq_hw.train.sensitivity import predict_in_double

MEAN, STD = 0.25, 0.5


class Watched(nn.Module):
    """Classifies by the first row's pixels, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []
        self.types: set[torch.dtype] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        self.types.add(self.weight.dtype)
        return x[:, 0, 0] * self.weight

    def __deepcopy__(self, memo: object) -> "Watched":
        twin = Watched()
        twin.seen, twin.types = self.seen, self.types
        return twin


@pytest.fixture
def images() -> Dataset:
    pixels = np.random.default_rng(3).permutation(np.arange(240, dtype=np.uint8))
    return Dataset(
        name="drawn",
        images=pixels.reshape(10, 1, 4, 6),
        labels=None,
        classes=tuple("abcdef"),
        mean=MEAN,
        std=STD,
    )


def pixels_of(model: Watched) -> Tensor:
    return (torch.cat(model.seen) * STD + MEAN) * 255


def test_images_not_moved_are_seen_in_double_precision(images: Dataset) -> None:
    model = Watched()
    found = predict_in_double(model, images)
    assert np.array_equal(found, images.images[:, 0, 0].argmax(axis=1))
    assert pixels_of(model).dtype == torch.float64
    wanted = torch.from_numpy(images.images.astype(np.float64))
    torch.testing.assert_close(pixels_of(model), wanted, rtol=0, atol=1e-11)
    assert model.types == {torch.float64}
    assert model.weight.dtype is torch.float32


def test_no_pixel_moves_further_than_told(images: Dataset) -> None:
    model = Watched()
    predict_in_double(model, images, nudge=0.25)
    moved = pixels_of(model) - torch.from_numpy(images.images.astype(np.float64))
    assert 0.2 < float(moved.max()) < 0.25 + 1e-9
    assert -0.25 - 1e-9 < float(moved.min()) < -0.2


def test_the_seed_decides_how_pixels_move(images: Dataset) -> None:
    runs = []
    for seed in (1, 1, 2):
        runs.append(Watched())
        predict_in_double(runs[-1], images, nudge=0.25, seed=seed)
    assert torch.equal(pixels_of(runs[0]), pixels_of(runs[1]))
    assert not torch.equal(pixels_of(runs[0]), pixels_of(runs[2]))
