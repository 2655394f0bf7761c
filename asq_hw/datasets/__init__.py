"""Labelled image sets: by name, or from a folder or an archive in the formats they come in.

Images stay as the 8-bit integers they are stored as; ``mean`` and ``std`` say how a network
that was trained on them sees them, ``(pixel / 255 - mean) / std``. `open_dataset` leaves images in
folders where they are (`ImageFolder`); `load` reads them into arrays (`Dataset`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from asq_hw.datasets.cifar import cifar10_place, holds_cifar10, is_archive, load_cifar10
from asq_hw.datasets.dataset import Dataset, Normalization
from asq_hw.datasets.fitting import DIGEST_LETTERS, content_name, fitted, image_spec
from asq_hw.datasets.folders import (
    DEFAULT_IMAGE_SIZE,
    ImageFolder,
    find_images,
    holds_images,
    imagenet_folder,
)
from asq_hw.datasets.idx import fashion_mnist_folder, holds_idx, load_idx_folder
from asq_hw.datasets.places import DATA_VARIABLE, SYSTEM_DATA
from asq_hw.datasets.small import load_bundled, load_digits
from asq_hw.errors import InputError

__all__ = [
    "DATA_VARIABLE",
    "NAMES",
    "SYSTEM_DATA",
    "Dataset",
    "ImageFolder",
    "Normalization",
    "fashion_mnist_folder",
    "find_reference",
    "fitted",
    "image_spec",
    "load",
    "open_dataset",
    "reference_name",
]

NAMES = ("fashion-mnist", "cifar10", "imagenet", "digits", "bundled")
"""The datasets that are known by name."""

Reference = TypeVar("Reference")


def open_dataset(
    name_or_path: str | Path,
    *,
    split: str = "test",
    image_size: int | None = None,
    shape: tuple[int, int, int] | None = None,
    classes: Sequence[str] = (),
) -> Dataset | ImageFolder:
    """Open a dataset by name, or from a folder or an archive.

    Parameters
    ----------
    name_or_path : str or Path
        One of `NAMES`; a folder with the four files of MNIST's or Fashion-MNIST's distribution,
        gzipped or not; CIFAR-10's folder or archive, of its python or its binary version; or a
        folder of images, one for each class, below ``train/`` and ``val/``.
    split : {'test', 'train'}
        Which part. ``bundled`` has a test part only.
    image_size : int, optional
        Height and width of images in folders as the network sees them, 224 by default. All
        others are what they are.
    shape, classes : optional
        Channels, height and width of the images that a network takes, and the names of its
        classes: images in folders are read so, and labels are places in these classes.

    Raises
    ------
    InputError
        If the name is unknown, a file is missing or damaged, an argument is out of range, or
        the images or their classes are not the network's.

    Examples
    --------
    >>> dataset = open_dataset("bundled")
    >>> len(dataset), dataset.image_shape
    (1000, (1, 28, 28))
    """
    if split not in ("test", "train"):
        raise InputError(f"split must be test or train, not {split!r}")
    if shape is not None:
        found = _open(str(name_or_path), split, DEFAULT_IMAGE_SIZE)
        found = found.shaped(shape) if isinstance(found, ImageFolder) else found
        return fitted(found, shape, classes)
    size = DEFAULT_IMAGE_SIZE if image_size is None else image_size
    dataset = _open(str(name_or_path), split, size)
    _, height, width = dataset.image_shape
    if image_size is not None and (height, width) != (image_size, image_size):
        raise InputError(
            f"image size must be {height} x {width} for {dataset.name}, "
            f"not {image_size} x {image_size}"
        )
    return dataset


def load(
    name_or_path: str | Path,
    *,
    limit: int | None = None,
    split: str = "test",
    image_size: int | None = None,
    shape: tuple[int, int, int] | None = None,
    classes: Sequence[str] = (),
) -> Dataset:
    """Load a dataset into memory.

    Parameters
    ----------
    name_or_path, split, image_size, shape, classes
        As for `open_dataset`.
    limit : int, optional
        Keep only `limit` images, drawn evenly and always the same ones.

    Raises
    ------
    InputError
        As `open_dataset`, and if images in folders would take more than 1 GB.

    Examples
    --------
    >>> load("bundled", limit=10).images.shape
    (10, 1, 28, 28)
    """
    if limit is not None and (isinstance(limit, bool) or limit < 1):
        raise InputError(f"limit must be at least 1, not {limit}")
    dataset = open_dataset(
        name_or_path, split=split, image_size=image_size, shape=shape, classes=classes
    ).sample(limit)
    return dataset if isinstance(dataset, Dataset) else dataset.load()


def reference_name(dataset: Dataset | ImageFolder) -> str:
    """What a network's predictions on a whole data set are kept under.

    A data set that is known by name has that name; any other one is named for what it holds.
    """
    return dataset.name if dataset.name in NAMES else content_name(dataset)


def find_reference(
    references: Mapping[str, Reference], dataset: Dataset | ImageFolder
) -> Reference | None:
    """What is kept for a whole data set, if anything is; its path does not count."""
    name = reference_name(dataset)
    if dataset.name in NAMES:
        return references.get(name)
    digest = name[-DIGEST_LETTERS:]
    return next((kept for key, kept in references.items() if key.endswith(f"-{digest}")), None)


def _open(name: str, split: str, size: int) -> Dataset | ImageFolder:
    match name:
        case "fashion-mnist":
            return load_idx_folder(name, fashion_mnist_folder(), split)
        case "cifar10":
            return load_cifar10(name, cifar10_place(), split)
        case "imagenet":
            return find_images(name, imagenet_folder(), split, size=size)
        case "digits":
            return load_digits(split)
        case "bundled":
            return load_bundled(split)
    return _open_path(name, Path(name), split, size)


def _open_path(name: str, path: Path, split: str, size: int) -> Dataset | ImageFolder:
    """Open what is not known by name: a folder or an archive, by what it holds."""
    if is_archive(path):
        return load_cifar10(name, path, split)
    if not path.is_dir():
        known = ", ".join(NAMES)
        raise InputError(f"dataset must be one of {known}, or a folder of images, not {name!r}")
    if holds_idx(path):
        return load_idx_folder(name, path, split)
    if holds_cifar10(path):
        return load_cifar10(name, path, split)
    if holds_images(path):
        return find_images(name, path, split, size=size)
    raise InputError(
        f"{path} must hold IDX files, CIFAR-10's batches, or a folder of images for each class"
    )
