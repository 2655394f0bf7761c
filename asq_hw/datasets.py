"""Labelled image sets: Fashion-MNIST, scikit-learn's digits, and the images that ship with us.

Images stay as the 8-bit integers they are stored as; `Dataset.mean` and `Dataset.std` say how
a network that was trained on them sees them, ``(pixel / 255 - mean) / std``.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError

__all__ = ["NAMES", "Dataset", "load"]

NAMES = ("fashion-mnist", "digits", "bundled")
"""The datasets that are known by name."""

DATA_VARIABLE = "ASQ_HW_DATA"
"""Environment variable naming the folder that holds ``fashion-mnist/``."""

SYSTEM_DATA = Path("/usr/share/datasets")
"""Where Debian's package dataset-fashion-mnist puts its files."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images with their labels.

    Parameters
    ----------
    name : str
        Short name, or the folder it was read from.
    images : uint8 array of shape (N, C, H, W)
        Pixels, 0 to 255.
    labels : int64 array of shape (N,), or None
        Index into `classes`, where labels are known.
    classes : tuple of str
        Names of the classes.
    mean, std : float
        Mean and standard deviation of ``pixel / 255`` that the trainer normalises with.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    mean: float
    std: float

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            shape, dtype = self.images.shape, self.images.dtype
            raise InputError(f"images must be uint8 (N, C, H, W), not {dtype} {shape}")
        if self.labels is not None:
            _check_labels(self.name, self.labels, len(self.images), len(self.classes))
            self.labels.setflags(write=False)
        self.images.setflags(write=False)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


def load(name_or_dir: str | Path, *, limit: int | None = None, split: str = "test") -> Dataset:
    """Load a dataset by name, or from a folder of IDX files.

    Parameters
    ----------
    name_or_dir : str or Path
        ``fashion-mnist``, ``digits``, ``bundled``, or a folder that holds the four files of
        MNIST's or Fashion-MNIST's distribution, gzipped or not.
    limit : int, optional
        Keep the first `limit` images only.
    split : {'test', 'train'}
        Which part. ``bundled`` has a test part only.

    Raises
    ------
    InputError
        If the name is unknown, a file is missing or damaged, or an argument is out of range.
    """
    if split not in _IDX_PREFIXES:
        raise InputError(f"split must be test or train, not {split!r}")
    if limit is not None and (isinstance(limit, bool) or limit < 1):
        raise InputError(f"limit must be at least 1, not {limit}")
    dataset = _load_named(str(name_or_dir), split)
    if limit is None or limit >= len(dataset):
        return dataset
    return Dataset(
        name=dataset.name,
        images=dataset.images[:limit],
        labels=None if dataset.labels is None else dataset.labels[:limit],
        classes=dataset.classes,
        mean=dataset.mean,
        std=dataset.std,
    )


def _load_named(name: str, split: str) -> Dataset:
    match name:
        case "fashion-mnist":
            return _load_idx_folder(name, _fashion_mnist_folder(), split)
        case "digits":
            return _load_digits(split)
        case "bundled":
            return _load_bundled(split)
    if not Path(name).is_dir():
        known = ", ".join(NAMES)
        raise InputError(f"dataset must be one of {known}, or a folder of IDX files, not {name!r}")
    return _load_idx_folder(name, Path(name), split)


def _fashion_mnist_folder() -> Path:
    """Find the folder with Fashion-MNIST: the user's first, then the system's."""
    roots = [Path(os.environ[DATA_VARIABLE])] if os.environ.get(DATA_VARIABLE) else []
    candidates = [root / "fashion-mnist" for root in (*roots, SYSTEM_DATA)]
    for folder in candidates:
        if folder.is_dir():
            return folder
    looked = " and ".join(str(folder) for folder in candidates)
    raise InputError(
        f"fashion-mnist was not found (looked in {looked}): install Debian's package "
        f"dataset-fashion-mnist, or set {DATA_VARIABLE} to the folder that holds fashion-mnist/"
    )


def _load_idx_folder(name: str, folder: Path, split: str) -> Dataset:
    """Read one part of an MNIST-like folder; it is normalised as Fashion-MNIST is."""
    prefix = _IDX_PREFIXES[split]
    images = _read_idx(_find_idx(folder, f"{prefix}-images-idx3-ubyte"), dimensions=3)
    labels = _read_idx(_find_idx(folder, f"{prefix}-labels-idx1-ubyte"), dimensions=1)
    return Dataset(
        name=name,
        images=images[:, np.newaxis],
        labels=labels.astype(np.int64),
        classes=_FASHION_MNIST_CLASSES,
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


def _load_digits(split: str) -> Dataset:
    """Scikit-learn's 1,797 digits of 8 x 8; every fifth one is for testing."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError(
            "dataset digits needs scikit-learn: install it with pip install scikit-learn"
        ) from None
    digits = load_digits()
    for_test = np.arange(len(digits.target)) % 5 == 4
    chosen = for_test if split == "test" else ~for_test
    # Stored as 0..16; spread over the 8 bits that every other dataset uses.
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Dataset(
        name="digits",
        images=pixels[chosen][:, np.newaxis],
        labels=digits.target[chosen].astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        # Of the training part, as pixel / 255.
        mean=0.3059,
        std=0.3763,
    )


def _load_bundled(split: str) -> Dataset:
    """Load the first 1,000 test images of Fashion-MNIST, packaged with their licence."""
    if split != "test":
        raise InputError(f"dataset bundled has a test split only, not {split!r}")
    resource = files("asq_hw").joinpath("bundled", "fashion-mnist-1000.npz")
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    return Dataset(
        name="bundled",
        images=images,
        labels=labels.astype(np.int64),
        classes=_FASHION_MNIST_CLASSES,
        mean=_FASHION_MNIST_MEAN,
        std=_FASHION_MNIST_STD,
    )


def _check_labels(name: str, labels: NDArray[np.int64], images: int, classes: int) -> None:
    if labels.dtype != np.int64 or labels.shape != (images,):
        raise InputError(
            f"{name} must have one int64 label for each of {images} images, "
            f"not {labels.dtype} {labels.shape}"
        )
    if images and not (labels.min() >= 0 and labels.max() < classes):
        raise InputError(f"{name} must have labels 0..{classes - 1}, not {int(labels.max())}")
