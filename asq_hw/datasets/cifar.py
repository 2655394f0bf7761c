"""CIFAR-10, from the python or the binary version, as a folder or as the archive it comes in.

Both versions hold five training batches and one test batch of 32 x 32 color images. In the
binary one a batch is a row of records: a byte of label, then 3,072 bytes of pixels, the red
plane first. In the python one it is a pickled dictionary with ``data`` and ``labels``
(`asq_hw.datasets.pickled` reads it without running it).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from asq_hw.datasets.dataset import Dataset, check_labels
from asq_hw.datasets.pickled import read_pickle
from asq_hw.datasets.places import find_place
from asq_hw.datasets.unpacked import Gunzip, PlainFile, UnpackError, tar_members
from asq_hw.errors import InputError
from asq_hw.files.pickles import PickleError
from asq_hw.files.reading import open_regular, read_bounded

__all__ = ["cifar10_place", "holds_cifar10", "is_archive", "load_cifar10"]

CLASSES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# Of the 50,000 training images, by channel, as pixel / 255.
MEAN: Final = (0.4914, 0.4822, 0.4465)
STD: Final = (0.2470, 0.2435, 0.2616)

_PLACES = (
    "cifar-10-batches-py",
    "cifar-10-batches-bin",
    "cifar-10-python.tar.gz",
    "cifar-10-binary.tar.gz",
)
_BATCHES = {"train": tuple(f"data_batch_{index}" for index in range(1, 6)), "test": ("test_batch",)}
_BINARY = ".bin"
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
# A real batch is 31 MB, all of an archive 180 MB. Keeps a gzip bomb out.
_BATCH_LIMIT = 1 << 26
_ARCHIVE_LIMIT = 1 << 29

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


def cifar10_place() -> Path:
    """Find CIFAR-10 in one of its four forms."""
    return find_place("cifar10", _PLACES, "")


def holds_cifar10(folder: Path) -> bool:
    """Whether a folder holds a batch of either version."""
    names = (name for names in _BATCHES.values() for name in names)
    return any((folder / f"{name}{end}").is_file() for name in names for end in ("", _BINARY))


def is_archive(path: Path) -> bool:
    """Whether a file is called what an archive is called."""
    return path.is_file() and path.name.endswith((".tar.gz", ".tgz", ".tar"))


def load_cifar10(name: str, place: Path, split: str) -> Dataset:
    """Read one part of CIFAR-10 from a folder or an archive.

    Raises
    ------
    InputError
        If a batch is missing or damaged.
    """
    wanted = _BATCHES[split]
    found = _read_folder(place, wanted) if place.is_dir() else _read_archive(place, wanted)
    batches = [_decode(f"{place}/{stored}", content) for stored, content in found]
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return Dataset(
        name=name,
        images=images.reshape(-1, *_SHAPE),
        labels=labels,
        classes=CLASSES,
        mean=MEAN,
        std=STD,
    )


def _complete(
    place: Path, wanted: Iterable[str], found: dict[str, bytes]
) -> list[tuple[str, bytes]]:
    """Take every batch in the version that is there whole, or name what is missing."""
    for end in ("", _BINARY):
        names = [f"{name}{end}" for name in wanted]
        if all(name in found for name in names):
            return [(name, found[name]) for name in names]
    some = _BINARY if any(name.endswith(_BINARY) for name in found) else ""
    missing = next(f"{name}{some}" for name in wanted if f"{name}{some}" not in found)
    raise InputError(f"{place} must hold the CIFAR-10 batch {missing}")


def _read_folder(folder: Path, wanted: tuple[str, ...]) -> list[tuple[str, bytes]]:
    found: dict[str, bytes] = {}
    for name in (f"{name}{end}" for end in ("", _BINARY) for name in wanted):
        path = folder / name
        if path.is_file() and not _is_complete(wanted, found):
            found[name] = read_bounded(path, "batch", _BATCH_LIMIT)
    return _complete(folder, wanted, found)


def _read_archive(path: Path, wanted: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Read on until every batch of one version is found, and not further."""
    names = {f"{name}{end}" for end in ("", _BINARY) for name in wanted}
    found: dict[str, bytes] = {}
    try:
        with open_regular(path, "archive") as stored:
            unpacker = PlainFile if path.suffix == ".tar" else Gunzip
            for name, size, content in tar_members(unpacker(stored, _ARCHIVE_LIMIT)):
                if name in names and name not in found:
                    if size > _BATCH_LIMIT:
                        raise InputError(f"{path}/{name} must be at most {_BATCH_LIMIT} bytes")
                    found[name] = content.read(size)
                if _is_complete(wanted, found):
                    break
    except (OSError, UnpackError) as error:
        raise InputError(f"{path} could not be read as an archive: {error}") from error
    return _complete(path, wanted, found)


def _is_complete(wanted: Iterable[str], found: Collection[str]) -> bool:
    """Whether all batches of one version are there."""
    return any(all(f"{name}{end}" in found for name in wanted) for end in ("", _BINARY))


def _decode(name: str, content: bytes) -> Batch:
    images, labels = _binary(name, content) if name.endswith(_BINARY) else _python(name, content)
    if len(labels) == 0:
        raise InputError(f"{name} must not be empty")
    check_labels(name, labels, len(images), len(CLASSES))
    return images, labels


def _binary(name: str, content: bytes) -> Batch:
    if len(content) % (1 + _PIXELS):
        raise InputError(
            f"{name} must hold records of {1 + _PIXELS} bytes, not {len(content)} bytes in all"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + _PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _python(name: str, content: bytes) -> Batch:
    try:
        batch = read_pickle(content)
    except PickleError as error:
        raise InputError(f"{name} is no batch of CIFAR-10: {error}") from None
    match batch:
        case {b"data": np.ndarray() as images, b"labels": list(labels)}:
            pass
        case _:
            raise InputError(f"{name} must hold a dictionary with data and labels")
    if images.ndim != 2 or images.shape[1] != _PIXELS:
        raise InputError(f"{name} must hold data of shape (N, {_PIXELS}), not {images.shape}")
    if len(labels) != len(images) or any(type(label) is not int for label in labels):
        raise InputError(f"{name} must hold one integer label for each of {len(images)} images")
    return images, np.array(labels, dtype=np.int64)
