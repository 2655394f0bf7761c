"""How far each image's best step is from the one for all, and what knowing it would save.

Errors are squared differences between a layer's input and its quantized input, summed over an
image. Whatever is fitted is fitted on every other image, and measured on those between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.paper.measured import open_measured

if TYPE_CHECKING:
    import pandas as pd

    from asq_hw.train.data.changes import ImageChange
    from asq_hw.train.step_errors import StepErrors

__all__ = ["adapting_frame", "decibels", "measure_adapting"]

_RIDGE = 1e-2
"""Of the predictor, in units of the standardized means' variance."""

Floats = NDArray[np.float64]


def adapting_frame(fitted: StepErrors, measured: StepErrors) -> pd.DataFrame:
    """Compare an image's best step with what foretells it.

    Parameters
    ----------
    fitted : StepErrors
        Images of which every other one is fitted to.
    measured : StepErrors
        The same images, or these changed; those between are measured.

    Returns
    -------
    DataFrame
        For each image that is measured ``best`` and ``beta``, both as powers of two over the one
        step for all; and its error with the one step for all (``constant``), its own best one
        (``oracle``), what a linear function of the means foretells (``predictor``), and beta times
        a constant (``adapter``).
    """
    import pandas as pd

    from asq_hw.train.step_errors import OCTAVE

    known, asked = slice(0, None, 2), slice(1, None, 2)
    constant = int(fitted.errors[known].sum(0).argmin())
    errors = measured.errors[asked]
    rows = np.arange(len(errors))

    def at(places: NDArray[np.int64]) -> Floats:
        found: Floats = errors[rows, places.clip(0, errors.shape[1] - 1)]
        return found

    foretold = _predictor(fitted.means[known], fitted.errors[known].argmin(1))
    level = int(fitted.adapted[known].sum(0).argmin())
    best = errors.argmin(1)
    return pd.DataFrame(
        {
            "best": (best - constant) / OCTAVE,
            "beta": np.log2(measured.beta[asked]) + (level - constant) / OCTAVE,
            "constant": errors[:, constant],
            "oracle": at(best),
            "predictor": at(foretold(measured.means[asked])),
            "adapter": measured.adapted[asked][:, level],
        }
    )


def _predictor(means: Floats, best: NDArray[np.int64]) -> _Linear:
    """Fit the best candidate's place by a ridge regression on standardized channel means."""
    center, scale = means.mean(0), means.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (means - center) / scale
    ridge = _RIDGE * len(z) * np.eye(z.shape[1])
    slopes = np.linalg.solve(z.T @ z + ridge, z.T @ (best - best.mean()))
    return _Linear(center=center, slopes=slopes / scale, level=float(best.mean()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear:
    center: Floats
    slopes: Floats
    level: float

    def __call__(self, means: Floats) -> NDArray[np.int64]:
        return np.rint(self.level + (means - self.center) @ self.slopes).astype(np.int64)


def decibels(frame: pd.DataFrame, what: str) -> float:
    """How many decibels less error than one step for all makes, over all images."""
    return float(10 * np.log10(frame["constant"].sum() / frame[what].sum()))


def measure_adapting(
    checkpoint: Path,
    *,
    layers: Sequence[str],
    change: ImageChange,
    images: int,
    data: str | None = None,
) -> pd.DataFrame:
    """Measure layers of a trained network on plain and on changed test images.

    Parameters
    ----------
    checkpoint : Path
        The network.
    layers : sequence of str
        Names of the layers.
    change : ImageChange
        What makes the changed images.
    images : int
        How many test images, drawn evenly.
    data : str, optional
        Data set by name, or its folder; by default what the network was trained on.

    Returns
    -------
    DataFrame
        The columns of `adapting_frame` and of `ORIGIN`, ``layer``, and ``images``: ``plain`` or
        ``changed``.
    """
    import pandas as pd

    from asq_hw.train.step_errors import step_errors

    (network,) = open_measured([checkpoint], images=images, data=data)
    frames = []
    for layer in layers:
        plain = step_errors(network.model, network.dataset, layer)
        for kind, seen in (
            ("plain", plain),
            ("changed", step_errors(network.model, network.dataset, layer, change)),
        ):
            labels = network.origin | {"layer": layer, "images": kind}
            frames.append(adapting_frame(plain, seen).assign(**labels))
    return pd.concat(frames, ignore_index=True)
