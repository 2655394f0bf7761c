"""Arrays in files as what a network takes: integers, or real values that become integers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.datasets.dataset import even_places
from asq_hw.errors import InputError
from asq_hw.files.arrays import SUFFIX, read_array
from asq_hw.network.graph import IntegerNetwork

__all__ = ["Samples", "is_array_file", "load_samples", "read_samples"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Integers for a network, without labels.

    Parameters
    ----------
    name : str
        Of the file.
    images : integer array of shape (N, C, H, W)
        Of the type of the network's input.
    """

    name: str
    images: NDArray[np.integer[Any]]
    labels: None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self.images)


def is_array_file(data: str) -> bool:
    """Whether what names the data is a file of one array."""
    return data.endswith(SUFFIX)


def read_samples(data: str, limit: int | None = None) -> NDArray[Any]:
    """A file's array of samples, the first axis theirs; of float, in single precision.

    Parameters
    ----------
    data : str
        A file of numpy's.
    limit : int, optional
        Keep only so many samples, drawn evenly.

    Raises
    ------
    InputError
        If it cannot be read, or holds no samples (N, C, H, W) or (N, C).
    """
    array = read_array(Path(data), "data")
    if array.ndim not in (2, 4) or not array.size:
        raise InputError(f"{data} must hold an array (N, C, H, W) or (N, C), not {array.shape}")
    places = even_places(len(array), limit)
    chosen = np.array(array if places is None else array[places])
    return chosen.astype(np.float32) if chosen.dtype.kind == "f" else chosen


def load_samples(network: IntegerNetwork, data: str, limit: int | None = None) -> Samples:
    """A file's samples as a network takes them.

    Parameters
    ----------
    network : IntegerNetwork
        What they are for.
    data : str
        A file of numpy's: integers of the network's input, or floating-point values as the network
        before export took them.
    limit : int, optional
        Keep only so many samples, drawn evenly.

    Raises
    ------
    InputError
        If the file cannot be read, its samples have another shape, or one is out of range.
    """
    values = read_samples(data, limit)
    shape = network.image_shape
    if shape not in (values.shape[1:], (*values.shape[1:], 1, 1)):
        raise InputError(
            f"{data} must hold samples of the network's shape {shape}, not {values.shape[1:]}"
        )
    values = values.reshape(-1, *shape)
    try:
        if values.dtype.kind != "f":
            return Samples(name=data, images=network.input.integers.checked(values))
        if network.images is None:
            raise InputError(
                "a network that does not tell what its input stands for takes integers"
            )
        return Samples(name=data, images=network.images.integers_of(values))
    except InputError as error:
        raise InputError(f"{data}: {error}") from None
