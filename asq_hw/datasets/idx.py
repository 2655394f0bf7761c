"""Fashion-MNIST, and any folder of IDX files like it."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asq_hw.datasets.dataset import Dataset
from asq_hw.datasets.places import find_place
from asq_hw.datasets.unpacked import Gunzip, PlainFile, Source, UnpackError
from asq_hw.errors import InputError
from asq_hw.files.reading import open_regular

__all__ = ["fashion_mnist_folder", "holds_idx", "like_fashion_mnist", "load_idx_folder"]

FASHION_MNIST = "fashion-mnist"
"""What Fashion-MNIST is called on the command line and in recipes."""

_FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Of the 60,000 training images, as pixel / 255.
_FASHION_MNIST_MEAN, _FASHION_MNIST_STD = 0.2860, 0.3530
_IDX_PREFIXES = {"train": "train", "test": "t10k"}
# What an IDX file may unpack to; the largest real one holds 47 MB. Keeps a gzip bomb out.
_IDX_BYTES_LIMIT = 1 << 28
_IDX_UNSIGNED_BYTE = 0x08


def fashion_mnist_folder() -> Path:
    """Find the folder with Fashion-MNIST: the user's first, then the system's."""
    advice = "install Debian's package dataset-fashion-mnist, or "
    return find_place(FASHION_MNIST, [FASHION_MNIST], advice)


def holds_idx(folder: Path) -> bool:
    """Whether a folder looks like MNIST's or Fashion-MNIST's."""
    return any(folder.glob("*-ubyte")) or any(folder.glob("*-ubyte.gz"))


def load_idx_folder(name: str, folder: Path, split: str) -> Dataset:
    """Read one part of an MNIST-like folder.

    Only Fashion-MNIST's own labels have names: the files hold none. The training images of any
    other folder are normalized by their own mean and deviation. Its test images cannot know
    those, and until a network says how it sees them they are normalized as Fashion-MNIST is.
    """
    prefix = _IDX_PREFIXES[split]
    images = _read_idx(_find_idx(folder, f"{prefix}-images-idx3-ubyte"), dimensions=3)
    labels = _read_idx(_find_idx(folder, f"{prefix}-labels-idx1-ubyte"), dimensions=1)
    named = name == FASHION_MNIST
    dataset = like_fashion_mnist(name, images[:, np.newaxis], labels.astype(np.int64), named=named)
    if named or split != "train":
        return dataset
    mean, std = _mean_and_deviation(images)
    if std == 0:
        raise InputError(f"{folder} must hold training images of more than one level of gray")
    return replace(dataset, mean=mean, std=std)


def _mean_and_deviation(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of all pixels / 255, from exact sums."""
    counts = np.bincount(images.ravel(), minlength=256).tolist()
    total = images.size
    first = sum(level * count for level, count in enumerate(counts))
    second = sum(level * level * count for level, count in enumerate(counts))
    # The variance times total squared, an integer: nothing cancels.
    return first / total / 255, math.sqrt(total * second - first * first) / total / 255


def like_fashion_mnist(
    name: str, images: NDArray[np.uint8], labels: NDArray[np.int64], *, named: bool = True
) -> Dataset:
    """Images normalized as Fashion-MNIST is.

    Parameters
    ----------
    name : str
        The data set.
    images : uint8 (N, 1, H, W)
        Pixels.
    labels : int64 (N,)
        Numbers of classes.
    named : bool
        Whether the classes are Fashion-MNIST's.
    """
    return Dataset(
        name=name,
        images=images,
        labels=labels,
        classes=_FASHION_MNIST_CLASSES if named else (),
        mean=_FASHION_MNIST_MEAN,
        std=_FASHION_MNIST_STD,
    )


def _find_idx(folder: Path, stem: str) -> Path:
    for path in (folder / f"{stem}.gz", folder / stem):
        if path.is_file():
            return path
    raise InputError(f"{folder} must hold {stem}.gz or {stem}")


def _read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes: magic, one big-endian size for each axis, the data."""
    with open_regular(path, "file") as stored:
        unpacker = Gunzip if path.suffix == ".gz" else PlainFile
        try:
            return _decode_idx(path, unpacker(stored, _IDX_BYTES_LIMIT), dimensions)
        except (OSError, UnpackError) as error:
            raise InputError(f"{path} could not be read: {error}") from error


def _decode_idx(path: Path, source: Source, dimensions: int) -> NDArray[np.uint8]:
    header_bytes = 4 + 4 * dimensions
    header = source.read(header_bytes)
    if len(header) < header_bytes:
        raise InputError(f"{path} must have an IDX header of {header_bytes} bytes")
    magic = struct.unpack_from(">I", header)[0]
    expected = _IDX_UNSIGNED_BYTE << 8 | dimensions
    if magic != expected:
        raise InputError(f"{path} must begin with IDX magic 0x{expected:08x}, not 0x{magic:08x}")
    shape = struct.unpack_from(f">{dimensions}I", header, 4)
    size = math.prod(shape)
    if size == 0:
        raise InputError(f"{path} must not be empty: its shape is {shape}")
    if size > _IDX_BYTES_LIMIT - header_bytes:
        raise InputError(
            f"{path} must hold at most {_IDX_BYTES_LIMIT} bytes for its shape {shape}, not {size}"
        )
    content = source.read(size)
    if len(content) != size or source.read(1):
        raise InputError(f"{path} must hold {size} bytes for its shape {shape}, and does not")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
