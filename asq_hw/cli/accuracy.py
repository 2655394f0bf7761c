"""How well an integer network does, by itself and beside the trained network it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from asq_hw.datasets import Dataset

__all__ = ["Accuracy", "measure_accuracy"]

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


def measure_accuracy(
    predictions: NDArray[Any], dataset: Dataset, references: Mapping[str, NDArray[Any]]
) -> Accuracy:
    """Hold predicted classes (N,) against labels and against the reference predictions."""
    known = (dataset.name, _FIRST_IMAGES_OF.get(dataset.name, ""))
    found = (references[name] for name in known if name in references)
    reference = next((r[: len(dataset)] for r in found if len(r) >= len(dataset)), None)
    return Accuracy(
        top1=_share(predictions, dataset.labels),
        reference_top1=_share(reference, dataset.labels),
        agreement=_share(predictions, reference),
    )


def _share(classes: NDArray[Any] | None, expected: NDArray[Any] | None) -> float | None:
    if classes is None or expected is None:
        return None
    return float((classes == expected).mean())
