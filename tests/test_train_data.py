"""Batches: every image once, cropped and mirrored as its pixels say, drawn from one seed."""

import numpy as np
import pytest
import torch

from asq_hw.datasets import Dataset
from asq_hw.errors import InputError
from asq_hw.train.data import augment, normalise, training_batches


def dataset(count: int = 10, *, labelled: bool = True) -> Dataset:
    images = np.arange(count * 12, dtype=np.uint8).reshape(count, 1, 3, 4)
    labels = np.arange(count, dtype=np.int64) if labelled else None
    classes = tuple(str(label) for label in range(count))
    return Dataset(name="counted", images=images, labels=labels, classes=classes, mean=0.5, std=0.2)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_normalise_by_hand() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    expected = [(0 - 0.5) / 0.2, (0.2 - 0.5) / 0.2, (1 - 0.5) / 0.2]
    assert normalise(images, mean=0.5, std=0.2).flatten().tolist() == pytest.approx(expected)


def crop_of(padded: torch.Tensor, top: int, left: int) -> torch.Tensor:
    return padded[:, top : top + 3, left : left + 4]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_augmented_image_is_a_crop_of_its_padded_self(channels: int) -> None:
    images = torch.randint(1, 256, (64, channels, 3, 4), dtype=torch.uint8, generator=generator())
    padded = torch.zeros(64, channels, 7, 8, dtype=torch.uint8)
    padded[:, :, 2:5, 2:6] = images
    found = augment(images, crop_padding=2, flip=True, generator=generator())
    assert found.shape == images.shape
    offsets, mirrored = set(), set()
    for sample, whole in zip(found, padded, strict=True):
        matches = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if torch.equal(sample.flip(2) if flip else sample, crop_of(whole, top, left))
        ]
        assert matches
        offsets.add(matches[0][:2])
        mirrored.add(matches[0][2])
    assert {top for top, _ in offsets} == set(range(5))
    assert {left for _, left in offsets} == set(range(5))
    assert mirrored == {False, True}


def test_without_augmentation_images_are_untouched() -> None:
    images = torch.from_numpy(dataset().images.copy())
    assert augment(images, crop_padding=0, flip=False, generator=generator()) is images


def batches(seed: int, **changes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    options = {"batch_size": 3, "crop_padding": 0} | changes
    return list(training_batches(dataset(), flip=False, generator=generator(seed), **options))


def test_an_epoch_holds_each_image_at_most_once_with_its_label() -> None:
    epoch = batches(1)
    assert [len(labels) for _, labels in epoch] == [3, 3, 3]
    seen = torch.cat([labels for _, labels in epoch]).tolist()
    assert len(set(seen)) == 9
    whole = normalise(torch.from_numpy(dataset().images.copy()), mean=0.5, std=0.2)
    for images, labels in epoch:
        assert torch.equal(images, whole[labels])


def test_the_seed_decides_the_order() -> None:
    first, again, other = (batches(seed, crop_padding=1) for seed in (1, 1, 2))
    for (images, labels), (images_again, labels_again) in zip(first, again, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)
    assert any(not torch.equal(a[1], b[1]) for a, b in zip(first, other, strict=True))


def test_what_cannot_be_trained_with_is_named() -> None:
    with pytest.raises(InputError, match="at most the 10 images of counted, not 11"):
        batches(1, batch_size=11)
    unlabelled = training_batches(
        dataset(labelled=False), batch_size=2, crop_padding=0, flip=False, generator=generator()
    )
    with pytest.raises(InputError, match="counted has no labels"):
        next(unlabelled)
