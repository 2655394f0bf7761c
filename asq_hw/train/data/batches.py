"""Batches for training and evaluation: shuffled, cropped, mirrored; all from seeds.

A training step takes ``batch_size`` images in all. They are divided into ``accumulate`` parts, one
after another, and each part among the processes. Every process draws the random numbers of the
whole batch and uses its own, so what is trained on does not depend on how many there are.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from asq_hw.datasets import Dataset, ImageFolder, Normalization
from asq_hw.errors import InputError
from asq_hw.train.recipes import Recipe

__all__ = [
    "EVALUATION_BATCH",
    "Share",
    "augment",
    "evaluation_batches",
    "normalize",
    "training_batches",
    "training_steps",
]

EVALUATION_BATCH = 500
"""Images that are evaluated at once."""

Batch = tuple[Tensor, Tensor]
"""uint8 images ``(N, C, H, W)`` and their int64 labels ``(N,)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The share of every batch that one process works on.

    Parameters
    ----------
    rank, processes : int
        Which process, from 0, of how many.
    """

    rank: int = 0
    processes: int = 1

    def of(self, batch_size: int, parts: int) -> list[slice]:
        """What the process takes of each of the parts of a batch."""
        part = batch_size // parts
        own = part // self.processes
        starts = (index * part + self.rank * own for index in range(parts))
        return [slice(start, start + own) for start in starts]


ALONE = Share()


def normalize(images: Tensor, *, mean: Normalization, std: Normalization) -> Tensor:
    """Map pixels to ``(pixel / 255 - mean) / std``, channels last in memory.

    Computed in float32, pixels in float64 in that.
    """
    dtype = torch.promote_types(images.dtype, torch.float32)
    scaled = images.to(dtype, copy=True).div_(255)
    scaled.sub_(_by_channel(mean, scaled)).div_(_by_channel(std, scaled))
    return scaled.contiguous(memory_format=torch.channels_last)


def _by_channel(value: Normalization, images: Tensor) -> Tensor | float:
    if isinstance(value, tuple):
        return torch.tensor(value, dtype=images.dtype, device=images.device)[:, None, None]
    return value


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
    size = (images.shape[2], images.shape[3])
    chosen = _draw_crops(images, size, crop_padding=crop_padding, flip=flip, generator=generator)
    return _crop(images, *chosen, crop_padding=crop_padding)


def _draw_crops(
    images: Tensor,
    size: tuple[int, int],
    *,
    crop_padding: int,
    flip: bool,
    generator: torch.Generator,
) -> Batch:
    """Draw the rows ``(N, H')`` and columns ``(N, W')`` of the padded images that are kept.

    A crop of `size`, ``(H', W')``, lies `crop_padding` pixels or less off the middle.
    """
    count, _, height, width = images.shape
    offsets = torch.randint(0, 2 * crop_padding + 1, (2, count, 1), generator=generator)
    rows = offsets[0] + (height - size[0]) // 2 + torch.arange(size[0])
    columns = offsets[1] + (width - size[1]) // 2 + torch.arange(size[1])
    if flip:
        mirrored = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return rows, columns


def _crop(images: Tensor, rows: Tensor, columns: Tensor, *, crop_padding: int) -> Tensor:
    padded = functional.pad(images, (crop_padding,) * 4)
    sample = torch.arange(len(images))[:, None, None]
    chosen = padded[sample, :, rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2)


def training_steps(dataset: Dataset | ImageFolder, recipe: Recipe, share: Share = ALONE) -> int:
    """How many steps an epoch has; a last, smaller batch is left out.

    Raises
    ------
    InputError
        If the dataset cannot be trained on as the recipe says, or the batch cannot be divided.
    """
    if dataset.labels is None:
        raise InputError(f"dataset {dataset.name} has no labels to train with")
    if len(dataset) < recipe.batch_size:
        raise InputError(
            f"batch_size must be at most the {len(dataset)} images of {dataset.name}, "
            f"not {recipe.batch_size}"
        )
    if recipe.batch_size % (recipe.accumulate * share.processes):
        raise InputError(
            f"batch_size must be a multiple of accumulate {recipe.accumulate} times "
            f"{share.processes} processes, not {recipe.batch_size}"
        )
    if isinstance(dataset, ImageFolder) and recipe.crop_padding:
        raise InputError(
            "crop_padding must be 0 for images in folders, whose crops are of any size, "
            f"not {recipe.crop_padding}"
        )
    _check_early_crops(dataset, recipe)
    return len(dataset) // recipe.batch_size


def _check_early_crops(dataset: Dataset | ImageFolder, recipe: Recipe) -> None:
    if not recipe.early_crop:
        return
    if isinstance(dataset, ImageFolder):
        raise InputError(
            "early_crop must be 0 for images in folders, whose crops are of any size, "
            f"not {recipe.early_crop}"
        )
    shape = dataset.images.shape[2:]
    if len(shape) != 2 or recipe.early_crop > min(shape):
        what = f"images of {'x'.join(map(str, shape))}" if shape else "vectors"
        raise InputError(
            f"early_crop must be no larger than the {what} of {dataset.name}, "
            f"not {recipe.early_crop}"
        )


def training_batches(
    dataset: Dataset | ImageFolder,
    recipe: Recipe,
    *,
    generator: torch.Generator,
    epoch: int = 0,
    share: Share = ALONE,
    workers: int = 0,
) -> Iterator[Batch]:
    """Yield this process' part of one epoch, ``accumulate`` times for each step.

    Parameters
    ----------
    dataset : Dataset or ImageFolder
        Labeled images.
    recipe : Recipe
        Size of the batches, and how images are cropped and mirrored.
    generator : torch.Generator
        Source of the order and, for images in memory, of the crops; the same in every process.
    epoch : int
        Seeds the crops of images in folders, together with the recipe's seed.
    share : Share
        Which part of each batch.
    workers : int
        Processes that read images in folders; 0 reads them here.

    Raises
    ------
    InputError
        As `training_steps`, and if a file is missing or damaged.
    """
    steps = training_steps(dataset, recipe, share)
    order = torch.randperm(len(dataset), generator=generator)
    batches = order[: steps * recipe.batch_size].reshape(steps, recipe.batch_size)
    if isinstance(dataset, Dataset):
        crop = recipe.early_crop if epoch < recipe.early_epochs else 0
        return _array_batches(dataset, recipe, batches, share, generator, crop=crop)
    slices = share.of(recipe.batch_size, recipe.accumulate)
    reader = partial(_read_random, dataset, recipe, epoch)
    return _read_files(
        reader, [batch[own].tolist() for batch in batches for own in slices], workers
    )


def _array_batches(
    dataset: Dataset,
    recipe: Recipe,
    batches: Tensor,
    share: Share,
    generator: torch.Generator,
    *,
    crop: int,
) -> Iterator[Batch]:
    """Cut batches out of arrays; the crops of a whole batch are drawn at once.

    They are `crop` pixels high and wide, or as large as the images where that is 0.
    """
    # Copies: torch does not take read-only arrays.
    images = torch.from_numpy(dataset.images.copy())
    labels = torch.from_numpy(np.array(dataset.labels))
    padding, flip = recipe.crop_padding, recipe.flip
    slices = share.of(recipe.batch_size, recipe.accumulate)
    for batch in batches:
        if not padding and not flip and not crop:
            yield from ((images[batch[own]], labels[batch[own]]) for own in slices)
            continue
        rows, columns = _draw_crops(
            images[batch[:1]].expand(len(batch), -1, -1, -1),
            (crop or images.shape[2], crop or images.shape[3]),
            crop_padding=padding,
            flip=flip,
            generator=generator,
        )
        for own in slices:
            part = _crop(images[batch[own]], rows[own], columns[own], crop_padding=padding)
            yield part, labels[batch[own]]


def evaluation_batches(
    dataset: Dataset | ImageFolder,
    *,
    batch_size: int = EVALUATION_BATCH,
    share: Share = ALONE,
    workers: int = 0,
) -> Iterator[Tensor]:
    """Yield uint8 images in order: every batch of one process, or each process its own.

    Process r of n gets batch r, r + n, ..., so that every batch is the same for any n.

    Parameters
    ----------
    dataset : Dataset or ImageFolder
        The images.
    batch_size : int
        Images at once.
    share : Share
        Which process this is, of how many.
    workers : int
        Processes that read images in folders; 0 reads them here.
    """
    starts = range(share.rank * batch_size, len(dataset), batch_size * share.processes)
    if isinstance(dataset, Dataset):
        for start in starts:
            yield torch.from_numpy(dataset.images[start : start + batch_size].copy())
        return
    reader = partial(_read_centers, dataset)
    rows = [list(range(start, min(start + batch_size, len(dataset)))) for start in starts]
    yield from (images for images, _ in _read_files(reader, rows, workers))


def _read_random(dataset: ImageFolder, recipe: Recipe, epoch: int, indices: list[int]) -> Batch:
    """Crops for training; each image has a generator of its own, whoever reads it."""
    images = [
        dataset.random_image(
            index,
            np.random.default_rng([recipe.seed, epoch, index]),
            min_area=recipe.min_crop_area,
            flip=recipe.flip,
        )
        for index in indices
    ]
    return torch.from_numpy(np.stack(images)), torch.from_numpy(dataset.labels[indices])


def _read_centers(dataset: ImageFolder, indices: list[int]) -> Batch:
    images = [dataset.image(index) for index in indices]
    return torch.from_numpy(np.stack(images)), torch.from_numpy(dataset.labels[indices])


class _Reading(torch.utils.data.Dataset[Batch | str]):
    """What a worker process does: it reads a batch, or says in one line why it could not."""

    def __init__(self, reader: partial[Batch]) -> None:
        self.reader = reader

    def __getitem__(self, indices: list[int]) -> Batch | str:
        try:
            return self.reader(indices)
        except InputError as error:  # raised there it would come back with a worker's traceback
            return str(error)


def _read_files(reader: partial[Batch], rows: Sequence[list[int]], workers: int) -> Iterator[Batch]:
    """Read rows of images ahead in worker processes, in order."""
    loader = DataLoader(
        _Reading(reader),
        batch_size=None,
        sampler=rows,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=_ignore_interrupts,
        # Its own: the workers' seeds, which nobody uses, are not taken from torch's generator.
        generator=torch.Generator(),
    )
    with _interrupts_held():
        batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, str):
                raise InputError(batch)
            yield batch
    finally:
        with _interrupts_held():
            del batches


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait while workers are started and ended.

    Python drops an exception in what runs after a fork, or when an object is deleted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def _unchanged(batch: Any) -> Any:
    return batch


def _ignore_interrupts(_: int) -> None:
    """Leave Ctrl-C to the process that trains, which then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
