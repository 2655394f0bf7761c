"""Images in folders, one for each class, as ImageNet comes: they stay on disk until asked for.

The paper's crops: a network is evaluated on the center of an image whose shorter side was
scaled to 8/7 of the network's size (256 for 224), and trained on random parts of it, of any
area down to a share and an aspect ratio of 3/4 to 4/3, scaled to that size.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from asq_hw.datasets.dataset import Dataset, Normalization, check_labels, even_places
from asq_hw.datasets.images import ENDINGS, pillow, read_image
from asq_hw.datasets.places import find_place
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DEFAULT_IMAGE_SIZE",
    "MOST_IMAGE_SIZE",
    "ImageFolder",
    "find_images",
    "holds_images",
    "imagenet_folder",
]

DEFAULT_IMAGE_SIZE: Final = 224
"""Height and width of what ImageNet's networks see."""
MOST_IMAGE_SIZE: Final = 4096
"""Height and width, at most, that images are scaled to."""

# Of ImageNet's training images, by channel, as pixel / 255; used for every folder of images.
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)

_MODES: Final = {1: "L", 3: "RGB"}
"""Pillow's name for what the network sees, by channels."""
_PARTS: Final = {"train": ("train",), "test": ("val", "test")}
_ARRAY_LIMIT: Final = 1 << 30
_LONGEST: Final = 16
"""An image that is longer, in its shorter side, is cut before it is scaled."""
_ATTEMPTS: Final = 10
_LOG_RATIO: Final = math.log(4 / 3)

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """Labelled images that are read from their files one by one.

    Parameters
    ----------
    name : str
        Short name, or the folder.
    folder : Path
        Where the files are.
    files : bytes array of shape (N,)
        Their paths below `folder`; an array, for a million strings would fill memory.
    labels : int64 array of shape (N,)
        Index into `classes`.
    classes : tuple of str
        Names of the classes' folders, sorted.
    size : int
        Height and width of the images as the network sees them.
    channels : int
        3 for color, or 1 for gray.
    mean, std : float, or tuple of floats
        Of ``pixel / 255``, for the trainer to normalize with.
    places : int64 array of shape (N,), or None
        Where each image stands in the data set that `sample` drew it from; None for a whole one.
    """

    name: str
    folder: Path
    files: NDArray[np.bytes_]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    size: int = DEFAULT_IMAGE_SIZE
    channels: int = 3
    mean: Normalization = MEAN
    std: Normalization = STD
    places: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MOST_IMAGE_SIZE:
            raise InputError(f"image size must be 1..{MOST_IMAGE_SIZE}, not {self.size}")
        if self.channels not in _MODES:
            raise InputError(f"images in folders must have 1 or 3 channels, not {self.channels}")
        check_labels(self.name, self.labels, len(self.files), len(self.classes))

    def __len__(self) -> int:
        """The number of images."""
        return len(self.files)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image as the network sees it."""
        return self.channels, self.size, self.size

    def sample(self, count: int | None) -> ImageFolder:
        """`count` images drawn evenly, so of every class; all of them for None."""
        places = even_places(len(self), count)
        if places is None:
            return self
        return replace(
            self,
            files=self.files[places],
            labels=self.labels[places],
            places=places if self.places is None else self.places[places],
        )

    def shaped(self, shape: tuple[int, int, int]) -> ImageFolder:
        """The same images as a network of another shape (C, H, W) sees them.

        Raises
        ------
        InputError
            If it sees no squares, or neither gray nor color.
        """
        channels, height, width = shape
        if height != width:
            raise InputError(
                f"images in folders are cut to squares, and the network takes {height} x {width}"
            )
        if channels == self.channels:
            return replace(self, size=height)
        mean, std = (sum(value) / len(value) for value in (MEAN, STD))
        return replace(self, size=height, channels=channels, mean=mean, std=std)

    def file_sizes(self) -> NDArray[np.int64]:
        """The bytes of every file, int64 of shape (N,).

        Raises
        ------
        InputError
            If a file is missing.
        """
        sizes = np.empty(len(self), dtype=np.int64)
        for index in range(len(self)):
            path = self._path(index)
            try:
                sizes[index] = path.stat().st_size
            except OSError as error:
                raise InputError(f"image {path} could not be read: {error.strerror}") from None
        return sizes

    def image(self, index: int) -> NDArray[np.uint8]:
        """The center of an image as ``(3, size, size)``: what is evaluated.

        Raises
        ------
        InputError
            If the file is missing or damaged.
        """
        whole = _middle(self._open(index))
        width, height = whole.size
        scale = _resized_side(self.size) / min(width, height)
        width, height = max(self.size, int(width * scale)), max(self.size, int(height * scale))
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        box = (left, top, left + self.size, top + self.size)
        return _pixels(_resized(whole, width, height).crop(box))

    def random_image(
        self, index: int, rng: np.random.Generator, *, min_area: float, flip: bool
    ) -> NDArray[np.uint8]:
        """A random part of an image as ``(3, size, size)``: what is trained with.

        Parameters
        ----------
        index : int
            Which image.
        rng : numpy.random.Generator
            Source of the random numbers.
        min_area : float
            Smallest share of the area that is taken.
        flip : bool
            Whether every second image is mirrored.

        Raises
        ------
        InputError
            If the file is missing or damaged.
        """
        whole = self._open(index)
        box = random_box(whole.size, rng, min_area=min_area)
        pixels = _pixels(_resized(whole.crop(box), self.size, self.size))
        mirrored = flip and rng.random() < 0.5
        return np.ascontiguousarray(pixels[:, :, ::-1]) if mirrored else pixels

    def load(self) -> Dataset:
        """Read every image, for readers that want them in memory.

        Raises
        ------
        InputError
            If that would take more than 1 GB, or a file is missing or damaged.
        """
        fitting = _ARRAY_LIMIT // math.prod(self.image_shape)
        if len(self) > fitting:
            raise InputError(
                f"{self.name} holds {len(self)} images of {self.size} x {self.size}, and at most "
                f"{fitting} fit in memory at once: limit them to {fitting}"
            )
        images = np.empty((len(self), *self.image_shape), dtype=np.uint8)
        for index in range(len(self)):
            images[index] = self.image(index)
        return Dataset(
            name=self.name,
            images=images,
            labels=self.labels.copy(),
            classes=self.classes,
            mean=self.mean,
            std=self.std,
            places=self.places,
        )

    def _path(self, index: int) -> Path:
        return self.folder / os.fsdecode(bytes(self.files[index]))

    def _open(self, index: int) -> Image:
        """Read and decode one file."""
        image = read_image(self._path(index))
        return image if self.channels == 3 else image.convert(_MODES[self.channels])


def random_box(size: tuple[int, int], rng: np.random.Generator, *, min_area: float) -> Box:
    """Draw the part of an image of (width, height) to train on, as left, top, right, bottom.

    Its share of the area is uniform in `min_area` to 1 and the logarithm of its aspect ratio
    uniform between those of 3/4 and 4/3; where ten draws do not fit, the largest part in
    the middle whose ratio is allowed.
    """
    width, height = size
    for _ in range(_ATTEMPTS):
        area = width * height * rng.uniform(min_area, 1)
        ratio = math.exp(rng.uniform(-_LOG_RATIO, _LOG_RATIO))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left = int(rng.integers(0, width - wide + 1))
            top = int(rng.integers(0, height - high + 1))
            return left, top, left + wide, top + high
    wide = min(width, max(1, round(height * 4 / 3)))
    high = min(height, max(1, round(width * 4 / 3)))
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high


def imagenet_folder() -> Path:
    """Find the folder ``imagenet`` with ``train/`` and ``val/``."""
    return find_place("imagenet", ["imagenet"], "")


def holds_images(folder: Path) -> bool:
    """Whether a folder holds folders, as one of images does."""
    with os.scandir(folder) as entries:
        return any(_is_class(entry) for entry in entries)


def find_images(
    name: str, folder: Path, split: str, *, size: int = DEFAULT_IMAGE_SIZE
) -> ImageFolder:
    """Find the images of one part of a folder; none is read yet.

    Parameters
    ----------
    name : str
        Short name, or the folder.
    folder : Path
        Holds ``train/`` and ``val/`` (or ``test/``), and these a folder for each class. One that
        holds the classes' folders itself is for testing, as a whole.
    split : {'test', 'train'}
        Which part.
    size : int
        Height and width of the images as the network sees them.

    Raises
    ------
    InputError
        If a folder is missing or empty, or the parts have different classes.
    """
    part = _part(folder, split)
    classes = _classes(part)
    training = folder / "train"
    if part not in (folder, training) and training.is_dir():
        # A label is the class's place among those that were trained.
        unknown = sorted(set(classes) - set(trained := _classes(training)))
        if unknown:
            raise InputError(f"{part} must hold the classes of {training}, not {unknown[0]}")
        classes = trained
    files, labels = _scan(part, classes)
    return ImageFolder(
        name=name, folder=part, files=files, labels=labels, classes=tuple(classes), size=size
    )


def _part(folder: Path, split: str) -> Path:
    """The folder of one part."""
    for name in _PARTS[split]:
        if (folder / name).is_dir():
            return folder / name
    is_divided = any((folder / name).is_dir() for names in _PARTS.values() for name in names)
    if split == "train" or is_divided:
        raise InputError(
            f"{folder} must hold {' or '.join(f'{name}/' for name in _PARTS[split])} "
            "with a folder of images for each class"
        )
    return folder


def _classes(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(folder) if _is_class(entry))
    if not names:
        raise InputError(f"{folder} must hold a folder of images for each class")
    return names


def _is_class(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _scan(part: Path, classes: Sequence[str]) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
    """List the files of every class, sorted; only names are read."""
    files: list[bytes] = []
    counts = []
    for name in classes:
        folder = part / name
        found = (
            sorted(e.name for e in os.scandir(folder) if e.name.lower().endswith(ENDINGS))
            if folder.is_dir()
            else []
        )
        if not found and folder.is_dir():
            raise InputError(f"{folder} must hold at least one image ({', '.join(ENDINGS)})")
        files += [os.fsencode(f"{name}/{file}") for file in found]
        counts.append(len(found))
    return np.array(files, dtype=np.bytes_), np.repeat(np.arange(len(classes)), counts)


def _resized_side(size: int) -> int:
    """Length of the shorter side from whose middle `size` is cut: 256 for 224."""
    return round(size * 8 / 7)


def _middle(image: Image) -> Image:
    """An image without most of what would be cut off after scaling, where that is very much."""
    width, height = image.size
    longest = _LONGEST * min(width, height)
    if max(width, height) <= longest:
        return image
    wide, high = min(width, longest), min(height, longest)
    left, top = (width - wide) // 2, (height - high) // 2
    return image.crop((left, top, left + wide, top + high))


def _resized(image: Image, width: int, height: int) -> Image:
    return image.resize((width, height), pillow().Resampling.BILINEAR)


def _pixels(image: Image) -> NDArray[np.uint8]:
    pixels = np.atleast_3d(np.asarray(image, dtype=np.uint8))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
