"""What quantization does to weights and activations, measured on trained networks.

Every line of a measurement begins with where its network comes from
(`analysis.paper.measured.ORIGIN`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.paper.measured import Measured
from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write
from asq_hw.train.methods.catalog import METHODS

if TYPE_CHECKING:
    import pandas as pd

    from asq_hw.train.recipes import Recipe

__all__ = [
    "IMAGES",
    "measure_activations",
    "measure_beta",
    "measure_blocks",
    "measure_layers",
    "measure_weights",
    "method_name",
    "write_frame",
]

IMAGES = 1000
"""Test images that are measured on, drawn evenly."""

_BINS = 81
_QUANTILES = {"least": 0.0, "low": 0.05, "median": 0.5, "high": 0.95, "most": 1.0}
_SPREAD_OF_MEANS = (0.05, 0.5, 0.95)


def method_name(recipe: Recipe) -> str:
    """Name what quantizes a network, activations first: ``ASQ + POST weights, 4 bit``."""
    if not recipe.is_quantized:
        return "full precision"
    titles = {method.name: method.title for method in METHODS}
    activations, weights = (titles.get(side, side) for side in (recipe.activations, recipe.weights))
    return f"{activations} + {weights} weights, {recipe.weight_bits} bit"


def measure_weights(networks: Sequence[Measured], *, layer: str) -> pd.DataFrame:
    """Histogram one layer's weights before quantization, and count its levels after.

    Returns
    -------
    DataFrame
        Columns ``method``, ``part`` (``before`` or ``after``), ``value`` (a bin's center, or a
        level), ``share`` (of the weights).
    """
    from asq_hw.train import inspection

    rows: list[dict[str, Any]] = []
    for network in networks:
        weights = inspection.weight_sample(network.model, layer)
        nearest = np.abs(weights.quantized[:, None] - weights.levels).argmin(axis=1)
        counts = np.bincount(nearest, minlength=len(weights.levels))
        edge = float(np.abs(weights.values).max())
        base = _base(network)
        rows += _histogram(weights.values, -edge, edge, base | {"part": "before"})
        rows += _shares(weights.levels, counts, base | {"part": "after"})
    return _frame(rows)


def measure_activations(networks: Sequence[Measured], *, layer: str) -> pd.DataFrame:
    """Histogram one layer's input for three images, and count its codes.

    The images are those whose mean input lies at 5 %, 50 % and 95 % of all images' in the first
    network.

    Returns
    -------
    DataFrame
        Columns ``method``, ``image``, ``part`` (``before`` or ``after``), ``value`` (a bin's
        center, or a level), ``share`` (of the elements), ``step`` (of that image).
    """
    from asq_hw.train import inspection

    rows: list[dict[str, Any]] = []
    chosen: list[int] = []
    edge = 0.0
    for network in networks:
        samples = inspection.activation_samples(network.model, network.dataset, layer)
        if not chosen:
            order = np.argsort([sample.values.mean() for sample in samples], kind="stable")
            chosen = [int(order[round(q * (len(order) - 1))]) for q in _SPREAD_OF_MEANS]
            edge = max(float(samples[image].values.max()) for image in chosen)
        for image in chosen:
            sample = samples[image]
            base = _base(network) | {"image": image, "step": sample.step}
            codes = np.arange(sample.codes.min(), 1 << network.recipe.activation_bits)
            counts = np.bincount(sample.codes - codes[0], minlength=len(codes))
            low = min(0.0, float(sample.values.min()))
            rows += _histogram(sample.values, low, edge, base | {"part": "before"})
            rows += _shares(codes * sample.step, counts, base | {"part": "after"})
    return _frame(rows)


def measure_blocks(reference: Measured, networks: Sequence[Measured]) -> pd.DataFrame:
    """Compare the output of each residual block with that of a network in full precision.

    Parameters
    ----------
    reference : Measured
        The full-precision network that the others started from.
    networks : sequence of Measured
        Quantized networks of its shape.

    Returns
    -------
    DataFrame
        Columns ``method``, ``block`` (from 1), ``against`` (``start``: the reference; ``itself``:
        the same network with its quantizers taken out), ``mean`` and ``deviation`` over the
        images of the L2 norm of the difference over the L2 norm of what it is compared with.
    """
    from asq_hw.train import inspection

    rows = []
    start = inspection.block_outputs(reference.model, reference.dataset)
    for network in networks:
        found = inspection.block_outputs(network.model, network.dataset)
        with inspection.full_precision(network.model):
            itself = inspection.block_outputs(network.model, network.dataset)
        for against, wanted in (("start", start), ("itself", itself)):
            for block, (name, output) in enumerate(found.items(), start=1):
                base = _base(network) | {"block": block, "against": against}
                rows.append(base | _relative(output, wanted[name]))
    return _frame(rows)


def measure_layers(networks: Sequence[Measured]) -> pd.DataFrame:
    """Measure rounding and clipping at the input of each layer.

    Returns
    -------
    DataFrame
        Columns ``method``, ``layer``, ``bits``, ``error`` (``rounding`` or ``clipping``), ``mean``
        and ``deviation`` over the images of its L2 norm over the input's, ``codes_used`` (mean
        over the images).
    """
    from asq_hw.train import inspection

    rows = []
    for network in networks:
        for found in inspection.layer_errors(network.model, network.dataset):
            for error, norms in (("rounding", found.rounding), ("clipping", found.clipping)):
                share = norms / np.maximum(found.norm, np.finfo(np.float64).tiny)
                rows.append(
                    _base(network)
                    | {
                        "layer": found.layer,
                        "bits": found.bits,
                        "error": error,
                        "mean": share.mean(),
                        "deviation": share.std(),
                        "codes_used": found.codes_used.mean(),
                    }
                )
    return _frame(rows)


def measure_beta(networks: Sequence[Measured]) -> pd.DataFrame:
    """Measure how much beta moves over the images, and what its moving is worth.

    Returns
    -------
    DataFrame
        A line for each adapter: ``network``, ``layer``, ``mean``, ``deviation``, and the quantiles
        ``least``, ``low`` (5 %), ``median``, ``high`` (95 %) and ``most`` over the images.
        A line with the layer ``all`` for each network: ``images``, ``correct``,
        ``correct_constant`` (with every beta replaced by its layer's mean) and ``changed``
        (predictions that this replacement changes).
    """
    from asq_hw.train import inspection
    from asq_hw.train.evaluation import predict

    rows: list[dict[str, Any]] = []
    for network in networks:
        model, recipe, dataset = network.model, network.recipe, network.dataset
        assert dataset.labels is not None, "networks are trained on labeled images"
        betas = {
            found.layer: found.beta
            for found in inspection.layer_errors(model, dataset)
            if found.adaptive
        }
        if not betas:
            raise InputError(f"networks must have adapters, which {recipe.name} has not")
        base = network.origin | {"network": f"{method_name(recipe)}, width {recipe.width}"}
        rows += [base | {"layer": layer} | _summary(beta) for layer, beta in betas.items()]
        own = predict(model, dataset)
        with inspection.constant_beta(model, {n: float(b.mean()) for n, b in betas.items()}):
            constant = predict(model, dataset)
        rows.append(
            base
            | {
                "layer": "all",
                "images": len(dataset),
                "correct": int((own == dataset.labels).sum()),
                "correct_constant": int((constant == dataset.labels).sum()),
                "changed": int((own != constant).sum()),
            }
        )
    return _frame(rows)


def _base(network: Measured) -> dict[str, Any]:
    """The first columns of every line of a network."""
    return network.origin | {"method": method_name(network.recipe)}


def _histogram(
    values: NDArray[np.float64], low: float, high: float, base: dict[str, Any]
) -> list[dict[str, Any]]:
    counts, edges = np.histogram(values, bins=_BINS, range=(low, high))
    return _shares((edges[1:] + edges[:-1]) / 2, counts, base, total=len(values))


def _shares(
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    base: dict[str, Any],
    total: int | None = None,
) -> list[dict[str, Any]]:
    total = total or int(counts.sum())
    pairs = zip(values, counts, strict=True)
    return [base | {"value": float(v), "share": int(count) / total} for v, count in pairs]


def _relative(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> dict[str, float]:
    if found.shape != wanted.shape:
        raise InputError("networks of one figure must be of one shape, not of several")
    difference = np.linalg.norm(found.astype(np.float64) - wanted, axis=1)
    share = difference / np.linalg.norm(wanted.astype(np.float64), axis=1)
    return {"mean": float(share.mean()), "deviation": float(share.std())}


def _summary(beta: NDArray[np.float64]) -> dict[str, float]:
    quantiles = {name: float(np.quantile(beta, q)) for name, q in _QUANTILES.items()}
    return {"mean": float(beta.mean()), "deviation": float(beta.std()), **quantiles}


def _frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows))


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a measurement with six digits of each number, all or nothing."""
    text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    with atomic_write(path) as file:
        file.write(text.encode())
