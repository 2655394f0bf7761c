"""Batches: every image once, cropped and mirrored as its pixels say, drawn from one seed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from asq_hw import datasets
from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.data.batches import (
    Share,
    augment,
    evaluation_batches,
    normalize,
    training_batches,
)
from asq_hw.train.recipes import Recipe


def dataset(count: int = 10, *, labeled: bool = True) -> Dataset:
    images = np.arange(count * 12, dtype=np.uint8).reshape(count, 1, 3, 4)
    labels = np.arange(count, dtype=np.int64) if labeled else None
    classes = tuple(str(label) for label in range(count))
    return Dataset(name="counted", images=images, labels=labels, classes=classes, mean=0.5, std=0.2)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_normalize_by_hand() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    expected = [(0 - 0.5) / 0.2, (0.2 - 0.5) / 0.2, (1 - 0.5) / 0.2]
    assert normalize(images, mean=0.5, std=0.2).flatten().tolist() == pytest.approx(expected)


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


def recipe(**changes: object) -> Recipe:
    return recipes.load("digits-float", {"batch_size": 3, "crop_padding": 0} | changes)


def batches(
    seed: int,
    data: Dataset | ImageFolder | None = None,
    share: Share | None = None,
    epoch: int = 0,
    **changes: int,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    options = recipe(**{"seed": seed} | changes)
    return list(
        training_batches(
            data or dataset(),
            options,
            generator=generator(seed),
            epoch=epoch,
            share=share or Share(),
        )
    )


def test_normalize_by_channel() -> None:
    images = torch.tensor([51, 255], dtype=torch.uint8).reshape(1, 2, 1, 1)
    expected = [(0.2 - 0.5) / 0.2, (1 - 0.25) / 0.1]
    found = normalize(images, mean=(0.5, 0.25), std=(0.2, 0.1))
    assert found.flatten().tolist() == pytest.approx(expected)


def test_an_epoch_holds_each_image_at_most_once_with_its_label() -> None:
    epoch = batches(1)
    assert [len(labels) for _, labels in epoch] == [3, 3, 3]
    seen = torch.cat([labels for _, labels in epoch]).tolist()
    assert len(set(seen)) == 9
    whole = torch.from_numpy(dataset().images.copy())
    for images, labels in epoch:
        assert torch.equal(images, whole[labels])


def test_the_seed_decides_the_order() -> None:
    first, again, other = (batches(seed, crop_padding=1) for seed in (1, 1, 2))
    for (images, labels), (images_again, labels_again) in zip(first, again, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)
    assert any(not torch.equal(a[1], b[1]) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("crop_padding", [0, 2])
def test_parts_of_a_batch_are_the_batch(crop_padding: int) -> None:
    """Two processes with two parts each see what one sees whole, in the same order of images."""
    options = {"batch_size": 8, "crop_padding": crop_padding, "flip": crop_padding > 0}
    ((images, labels),) = batches(1, **options)
    shares = [Share(rank=rank, processes=2) for rank in range(2)]
    parts = [batches(1, share=share, accumulate=2, **options) for share in shares]
    assert [len(part) for part in parts] == [2, 2]
    order = [parts[rank][index] for index in range(2) for rank in range(2)]
    assert torch.equal(torch.cat([part for part, _ in order]), images)
    assert torch.equal(torch.cat([part for _, part in order]), labels)


@pytest.mark.parametrize("padding", [0, 1])
def test_the_first_epochs_have_smaller_crops_around_the_middle(padding: int) -> None:
    images = np.arange(64 * 36, dtype=np.uint16).reshape(64, 1, 6, 6)
    images = (images % 251).astype(np.uint8)  # nothing repeats where an image could be cut
    whole = replace(dataset(64), images=images)
    options = {"batch_size": 16, "crop_padding": padding, "early_crop": 4, "early_epochs": 2}
    for epoch, size in enumerate((4, 4, 6)):
        found = batches(1, whole, epoch=epoch, **options)
        assert {tuple(crops.shape) for crops, _ in found} == {(16, 1, size, size)}
    offsets = set()
    for crops, labels in batches(1, whole, epoch=1, **options):
        for crop, label in zip(crops, labels, strict=True):
            cut = crop.numpy()
            places = [
                (top, left)
                for top in range(3)
                for left in range(3)
                if np.array_equal(cut, whole.images[label, :, top : top + 4, left : left + 4])
            ]
            assert len(places) == 1
            offsets.update(places)
    around = range(1 - padding, 2 + padding)
    assert offsets == {(top, left) for top in around for left in around}


def test_parts_of_a_batch_of_smaller_crops_are_the_batch() -> None:
    options = {"batch_size": 8, "crop_padding": 1, "early_crop": 2, "early_epochs": 1}
    ((images, _),) = batches(1, **options)
    parts = [batches(1, share=Share(rank=rank, processes=2), **options)[0][0] for rank in range(2)]
    assert images.shape[2:] == (2, 2)
    assert torch.equal(torch.cat(parts), images)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_the_evaluation(processes: int) -> None:
    shares = [Share(rank=rank, processes=processes) for rank in range(processes)]
    parts = [list(evaluation_batches(dataset(), batch_size=3, share=share)) for share in shares]
    whole = list(evaluation_batches(dataset(), batch_size=3))
    assert [len(batch) for batch in whole] == [3, 3, 3, 1]
    for index, batch in enumerate(whole):
        assert torch.equal(parts[index % processes][index // processes], batch)


def test_what_cannot_be_trained_with_is_named(tmp_path: Path) -> None:
    images = photographs(tmp_path)
    cases: dict[str, Callable[[], object]] = {
        "at most the 10 images of counted, not 11": lambda: batches(1, batch_size=11),
        "counted has no labels": lambda: batches(1, dataset(labeled=False)),
        "a multiple of accumulate 1 times 2 processes, not 3": lambda: batches(
            1, share=Share(processes=2)
        ),
        "crop_padding must be 0 for images in folders, .* not 1": lambda: batches(
            1, images, crop_padding=1
        ),
        "early_crop must be 0 for images in folders, .* not 2": lambda: batches(
            1, images, early_crop=2, early_epochs=1
        ),
        "early_crop must be no larger than the images of 3x4 of counted, not 4": lambda: batches(
            1, early_crop=4, early_epochs=1
        ),
    }
    for message, attempt in cases.items():
        with pytest.raises(InputError, match=message):
            attempt()


def photographs(folder: Path) -> ImageFolder:
    """A folder of seven images, each of one color, in two classes."""
    for index in range(7):
        path = folder / "train" / f"n{index // 4}" / f"{index}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (20 + index, 30 - index)
        Image.new("RGB", size, (40 * index, 0, 255 - index)).save(path)
    found = datasets.open_dataset(folder, split="train", image_size=8)
    assert isinstance(found, ImageFolder)
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_files_are_read_in_the_order_of_the_seed(tmp_path: Path, workers: int) -> None:
    images = photographs(tmp_path)
    epoch = list(training_batches(images, recipe(), generator=generator(), workers=workers))
    assert [tuple(pixels.shape) for pixels, _ in epoch] == [(3, 3, 8, 8)] * 2
    order = torch.randperm(7, generator=generator())[:6]
    colors = torch.cat([pixels[:, 0, 0, 0] for pixels, _ in epoch]) // 40
    assert colors.tolist() == order.tolist()
    assert torch.cat([labels for _, labels in epoch]).tolist() == [i // 4 for i in order.tolist()]
    whole = torch.cat(list(evaluation_batches(images, batch_size=4, workers=workers)))
    assert (whole[:, 0, 0, 0] // 40).tolist() == list(range(7))


def gradients(folder: Path) -> ImageFolder:
    ramp = np.add.outer(np.arange(40), 3 * np.arange(60)).astype(np.uint8)
    path = folder / "train" / "n0" / "ramp.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(ramp).save(path)
    (path.parent / "again.png").symlink_to(path)
    found = datasets.open_dataset(folder, split="train", image_size=8)
    assert isinstance(found, ImageFolder)
    return found


def test_crops_of_files_depend_on_seed_epoch_and_image_alone(tmp_path: Path) -> None:
    images = gradients(tmp_path)

    def crops(epoch: int, seed: int = 1, **options: Any) -> list[bytes]:
        recipe_ = recipe(batch_size=2, seed=seed, flip=True)
        found = training_batches(images, recipe_, generator=generator(), epoch=epoch, **options)
        return sorted(image.numpy().tobytes() for batch, _ in found for image in batch)

    assert crops(0) == crops(0, workers=1)
    halves = [crops(0, share=Share(rank=rank, processes=2)) for rank in range(2)]
    assert crops(0) == sorted(halves[0] + halves[1])
    assert len({*crops(0), *crops(1), *crops(0, seed=2)}) == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_in_one_line(tmp_path: Path, workers: int) -> None:
    images = photographs(tmp_path)
    path = tmp_path / "train" / "n1" / "5.PNG"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"^image \S*n1/5.PNG could not be read: [^\n]+$"):
        list(training_batches(images, recipe(), generator=generator(), workers=workers))
