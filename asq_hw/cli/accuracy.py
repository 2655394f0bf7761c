"""How well an integer network does, by itself and beside the trained network it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from asq_hw.cli.output import warn
from asq_hw.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asq_hw.datasets import Dataset, ImageFolder
    from asq_hw.datasets.samples import Samples
    from asq_hw.network.graph import IntegerNetwork

__all__ = ["Accuracy", "load_for", "measure_accuracy"]

_FIRST_IMAGES_OF = {"bundled": "fashion-mnist"}
"""Data sets that are the beginning of another one, whose reference predictions hold for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Shares of the images, 0 to 1; None where labels or reference predictions are unknown.

    Parameters
    ----------
    top1 : float or None
        Predictions that are right.
    reference_top1 : float or None
        The trained network's own predictions that are right.
    agreement : float or None
        Predictions that are the trained network's.
    """

    top1: float | None
    reference_top1: float | None
    agreement: float | None


def load_for(
    network: IntegerNetwork, data: str, limit: int | None
) -> tuple[Dataset | Samples, NDArray[Any] | None]:
    """Load images as a network takes them, and the trained network's predictions for them.

    Labels are places in the network's classes; where it does not name them and the data set has
    another number of classes, nothing says what is right, and the images are left without labels;
    so they are where the network makes no class scores.

    Parameters
    ----------
    network : IntegerNetwork
        What the images are for.
    data : str
        Data set by name, or its folder or archive; or a file of one array.
    limit : int or None
        Keep only so many images, drawn evenly.

    Raises
    ------
    InputError
        If the data cannot be read, or its images or classes are not the network's.
    """
    from asq_hw import datasets
    from asq_hw.datasets.samples import is_array_file, load_samples

    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, not {limit}")
    if is_array_file(data):
        return load_samples(network, data, limit), None
    if not network.input.takes_pixels:
        raise InputError(
            f"{network.name} takes integers of {network.input.bits} bits, which no data set holds: "
            "--data must be a file of an array, .npy"
        )
    whole = datasets.open_dataset(data, shape=network.image_shape, classes=network.classes)
    scores = network.score_count
    dataset = whole.sample(limit).load()
    if network.scores is None:
        dataset = replace(dataset, labels=None)
    elif dataset.labels is not None and len(dataset.classes or range(scores)) != scores:
        warn(
            f"{dataset.name} has {len(dataset.classes)} classes and the network {scores} scores "
            "without names: labels are not used"
        )
        dataset = replace(dataset, labels=None)
    return dataset, _reference(network, whole, dataset.places)


def _reference(
    network: IntegerNetwork, whole: Dataset | ImageFolder, places: NDArray[np.int64] | None
) -> NDArray[Any] | None:
    """The trained network's predictions for the images at `places` of a whole data set."""
    if not network.references:
        return None
    from asq_hw.datasets import find_reference

    found = find_reference(network.references, whole)
    if found is not None and len(found) != len(whole):
        found = None
    if found is None:
        found = network.references.get(_FIRST_IMAGES_OF.get(whole.name, ""))
        found = None if found is None or len(found) < len(whole) else found[: len(whole)]
    return found if found is None or places is None else found[places]


def measure_accuracy(
    predictions: NDArray[Any] | None,
    labels: NDArray[Any] | None,
    reference: NDArray[Any] | None,
) -> Accuracy:
    """Hold predicted classes (N,), if there are any, against labels and reference predictions."""
    return Accuracy(
        top1=_share(predictions, labels),
        reference_top1=_share(reference, labels),
        agreement=_share(predictions, reference),
    )


def _share(classes: NDArray[Any] | None, expected: NDArray[Any] | None) -> float | None:
    if classes is None or expected is None:
        return None
    return float((classes == expected).mean())
