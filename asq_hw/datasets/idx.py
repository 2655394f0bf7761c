"""Fashion-MNIST, and any folder of IDX files like it."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asq_hw.datasets.dataset import Dataset
from asq_hw.datasets.places import find_place
from asq_hw.errors import InputError

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
    """Read one part of an MNIST-like folder; it is normalised as Fashion-MNIST is.

    Only Fashion-MNIST's own labels have names: the files hold none.
    """
    prefix = _IDX_PREFIXES[split]
    images = _read_idx(_find_idx(folder, f"{prefix}-images-idx3-ubyte"), dimensions=3)
    labels = _read_idx(_find_idx(folder, f"{prefix}-labels-idx1-ubyte"), dimensions=1)
    named = name == FASHION_MNIST
    return like_fashion_mnist(name, images[:, np.newaxis], labels.astype(np.int64), named=named)


def like_fashion_mnist(
    name: str, images: NDArray[np.uint8], labels: NDArray[np.int64], *, named: bool = True
) -> Dataset:
    """Images ``(N, 1, H, W)`` normalised as Fashion-MNIST is, with its classes if `named`."""
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
    content = _read_bytes(path)
    header_bytes = 4 + 4 * dimensions
    if len(content) < header_bytes:
        raise InputError(f"{path} must have an IDX header of {header_bytes} bytes")
    magic = struct.unpack_from(">I", content)[0]
    expected = _IDX_UNSIGNED_BYTE << 8 | dimensions
    if magic != expected:
        raise InputError(f"{path} must begin with IDX magic 0x{expected:08x}, not 0x{magic:08x}")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    size = math.prod(shape)
    if len(content) != header_bytes + size:
        found = len(content) - header_bytes
        raise InputError(f"{path} must hold {size} bytes for its shape {shape}, not {found}")
    if size == 0:
        raise InputError(f"{path} must not be empty: its shape is {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=header_bytes).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    """Read a file, unpacked if it is gzipped; never more than the limit."""
    try:
        with path.open("rb") as stored:
            stream = gzip.GzipFile(fileobj=stored) if path.suffix == ".gz" else stored
            content = stream.read(_IDX_BYTES_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} could not be read: {error}") from error
    if len(content) > _IDX_BYTES_LIMIT:
        raise InputError(f"{path} must unpack to at most {_IDX_BYTES_LIMIT} bytes")
    return content
