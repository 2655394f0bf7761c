"""Batches for training: shuffled, cropped, mirrored, normalised; all from one seeded generator."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from asq_hw.datasets import Dataset
from asq_hw.errors import InputError

__all__ = ["augment", "normalise", "training_batches"]


def normalise(images: Tensor, *, mean: float, std: float) -> Tensor:
    """Map uint8 pixels to ``(pixel / 255 - mean) / std`` in float32, channels last in memory."""
    scaled = images.to(torch.float32).div_(255).sub_(mean).div_(std)
    return scaled.contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, *, crop_padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Crop each image at random from its zero-padded self, and mirror every second one.

    Parameters
    ----------
    images : uint8 tensor of shape (N, C, H, W)
    crop_padding : int
        Pixels of padding on each side; 0 for no cropping.
    flip : bool
        Whether to mirror left and right, with probability 1/2 for each image.
    generator : torch.Generator
        Source of the random numbers.
    """
    if not crop_padding and not flip:
        return images
    count, _, height, width = images.shape
    offsets = torch.randint(0, 2 * crop_padding + 1, (2, count, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)
    columns = offsets[1] + torch.arange(width)
    if flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = functional.pad(images, (crop_padding,) * 4)
    sample = torch.arange(count)[:, None, None]
    chosen = padded[sample, :, rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2)


def training_batches(
    dataset: Dataset, *, batch_size: int, crop_padding: int, flip: bool, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch of normalised images and labels; a last, smaller batch is left out.

    Raises
    ------
    InputError
        If the dataset has no labels, or fewer images than one batch.
    """
    if dataset.labels is None:
        raise InputError(f"dataset {dataset.name} has no labels to train with")
    if len(dataset) < batch_size:
        raise InputError(
            f"batch_size must be at most the {len(dataset)} images of {dataset.name}, "
            f"not {batch_size}"
        )
    # Copies: torch does not take read-only arrays.
    images = torch.from_numpy(dataset.images.copy())
    labels = torch.from_numpy(dataset.labels.copy())
    order = torch.randperm(len(dataset), generator=generator)
    for start in range(0, len(order) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        batch = augment(images[chosen], crop_padding=crop_padding, flip=flip, generator=generator)
        yield normalise(batch, mean=dataset.mean, std=dataset.std), labels[chosen]
