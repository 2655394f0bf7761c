"""The images that a network is trained on, and later read as it was trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from asq_hw import datasets
from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.recipes import Recipe

__all__ = [
    "AnyDataset",
    "TrainingData",
    "images_of",
    "open_as_trained",
    "training_data",
    "with_normalization",
]

AnyDataset = Dataset | ImageFolder


class TrainingData(NamedTuple):
    """What a recipe trains and tests on, and what its network then takes."""

    training: AnyDataset
    test: AnyDataset
    images: ImageSpec


def training_data(recipe: Recipe) -> TrainingData:
    """Open what a recipe trains and tests on, and say what its network then takes.

    Raises
    ------
    InputError
        If the data cannot be read, the two parts do not fit each other, or `training_images`
        leaves out a class.
    """
    size = recipe.image_size or None
    training = datasets.open_dataset(recipe.dataset, split="train", image_size=size)
    test = datasets.open_dataset(recipe.dataset, split="test", image_size=size)
    images = datasets.image_spec(training, classes=_label_count(training, test))
    if recipe.mean or recipe.std:
        images = with_normalization(images, recipe.mean, recipe.std)
        training = replace(training, mean=images.mean, std=images.std)
    test = datasets.fitted(test, images.shape, images.classes)
    test = replace(test, mean=training.mean, std=training.std)
    return TrainingData(_part(training, recipe.training_images), test, images)


def with_normalization(images: ImageSpec, mean: Sequence[float], std: Sequence[float]) -> ImageSpec:
    """The same images with another mean and deviation, where these are not empty.

    Raises
    ------
    InputError
        If there is not one number for each channel, or one is out of range.
    """
    return replace(images, mean=tuple(mean) or images.mean, std=tuple(std) or images.std)


def _label_count(*parts: AnyDataset) -> int:
    """How many classes the labels show, where nothing names them."""
    largest = [int(part.labels.max(initial=0)) for part in parts if part.labels is not None]
    return 1 + max(largest, default=0)


def _part(training: AnyDataset, count: int) -> AnyDataset:
    """The training images that are used: every class must be among them."""
    if not count or count >= len(training):
        return training
    part = training.first(count) if isinstance(training, Dataset) else training.sample(count)
    if training.labels is not None and part.labels is not None:
        missing = np.setdiff1d(training.labels, part.labels)
        if missing.size:
            name = training.classes[missing[0]] if training.classes else missing[0]
            raise InputError(
                f"training_images must be more than {count} for {training.name}: "
                f"class {name} is not among the first"
            )
    return part


def images_of(checkpoint: Checkpoint) -> ImageSpec:
    """The images that a checkpoint's network takes.

    Files that were written before checkpoints told take them from the recipe's data set, and its
    test images say how they were normalized: IDX files had Fashion-MNIST's mean and deviation then.

    Raises
    ------
    InputError
        If the file does not tell, and that data set cannot be read.
    """
    if checkpoint.images is not None:
        return checkpoint.images
    recipe = checkpoint.recipe
    try:
        images = training_data(replace(recipe, training_images=0)).images
        test = datasets.open_dataset(recipe.dataset, image_size=recipe.image_size or None)
    except InputError as error:
        raise InputError(
            f"the checkpoint of {recipe.name} does not tell which images it takes, and its data "
            f"set cannot be read to find out: {error}"
        ) from None
    before = datasets.image_spec(test)
    return replace(images, mean=before.mean, std=before.std)


def open_as_trained(name: str, images: ImageSpec, *, split: str = "test") -> AnyDataset:
    """Open a data set as a network takes it: its shape, normalization and classes.

    Raises
    ------
    InputError
        If the data cannot be read, or its images or classes are not the network's.
    """
    found = datasets.open_dataset(name, split=split, shape=images.shape, classes=images.classes)
    return replace(found, mean=images.mean, std=images.std)
