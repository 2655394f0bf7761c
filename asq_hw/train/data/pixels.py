"""From values as a network takes them to the integers that stand for them, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asq_hw.datasets import Dataset
from asq_hw.network.images import ImageSpec
from asq_hw.network.input_format import PIXELS
from asq_hw.train.data.batches import normalize

__all__ = ["GivenIntegers", "integers_of", "values_of"]

Integers = NDArray[np.integer[Any]]

_IMAGES_AT_ONCE = 16
"""That are in memory in double precision."""


def integers_of(values: Tensor, spec: ImageSpec) -> Integers:
    """The integers ``(N, C, H, W)`` of values as a network takes them (`ImageSpec.integers_of`).

    Parameters
    ----------
    values : floating-point tensor of shape (N, C, H, W), or (N, C) of vectors
    spec : ImageSpec
        What the network takes.

    Raises
    ------
    InputError
        As `ImageSpec.integers_of`.
    """
    given = values.detach().cpu()
    if spec.format != PIXELS:  # where one does not fit, its place among all of them is told
        return spec.integers_of(given.double().numpy())
    parts = given.tensor_split(max(1, -(-len(given) // _IMAGES_AT_ONCE)))
    return np.concatenate([spec.integers_of(part.double().numpy()) for part in parts])


def values_of(integers: Integers, spec: ImageSpec, shape: Sequence[int]) -> Tensor:
    """The values ``(integer * step - mean) / std``, float32, that integers stand for.

    Parameters
    ----------
    integers : array of shape (N, C, H, W)
    spec : ImageSpec
        What the network takes.
    shape : sequence of int
        Of one sample for the network before export: (C, H, W), or (C,) of a vector.
    """
    if spec.format == PIXELS:
        made = normalize(torch.from_numpy(np.array(integers)), mean=spec.mean, std=spec.std)
    else:
        mean, std = (np.array(numbers)[:, None, None] for numbers in (spec.mean, spec.std))
        real = integers.astype(np.float64) * spec.format.real_step
        made = torch.from_numpy(((real - mean) / std).astype(np.float32))
    return made.reshape(len(made), *shape) if len(shape) != made.dim() - 1 else made


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenIntegers:
    """A few samples, as integers and as the values that a network takes for them.

    Parameters
    ----------
    integers : array of shape (N, C, H, W)
        Of the type of the network's input.
    spec : ImageSpec
        What they stand for.
    shape : tuple of int
        Of one sample for the network before export: (C, H, W), or (C,) of a vector.
    """

    integers: Integers
    spec: ImageSpec
    shape: tuple[int, ...]

    @classmethod
    def of_dataset(cls, dataset: Dataset, spec: ImageSpec) -> GivenIntegers:
        """The images of a data set, which `spec` describes but for their normalization."""
        mean, std = (
            value if isinstance(value, tuple) else (value,) * spec.shape[0]
            for value in (dataset.mean, dataset.std)
        )
        own = ImageSpec(shape=spec.shape, mean=mean, std=std)
        return cls(integers=dataset.images, spec=own, shape=spec.shape)

    def __len__(self) -> int:
        return len(self.integers)

    def values(self, which: slice | NDArray[np.int64]) -> Tensor:
        """What the network takes for some of them."""
        return values_of(self.integers[which], self.spec, self.shape)
