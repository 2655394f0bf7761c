"""export: a prepared network's integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw.datasets import Dataset
from asq_hw.datasets.fitting import ContentDigest
from asq_hw.errors import InputError
from asq_hw.interface.network import Network, network_of
from asq_hw.interface.prepared import CALIBRATION_IMAGES, Prepared, device_of, prepared
from asq_hw.network.images import ImageSpec
from asq_hw.train.calibration import is_calibrated
from asq_hw.train.data.loaders import EvenSample, Loader, float_batches
from asq_hw.train.data.pixels import pixels_of
from asq_hw.train.export.network import integer_network
from asq_hw.train.modes import evaluation_mode

__all__ = ["export"]

_STEM = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """What a network makes of the images of a loader."""

    name: str
    classes: NDArray[np.uint16]
    sample: Tensor


def export(
    quantized: nn.Module,
    *,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    classes: Sequence[str] = (),
    reference: Loader | None = None,
    name: str | None = None,
) -> Network:
    """Turn a prepared network into integers, and make sure that they compute the same.

    Parameters
    ----------
    quantized : nn.Module
        What `asq_hw.prepare` made, calibrated or trained; it is left as it is.
    mean, std : float, or a sequence of one for each channel
        How its images were normalized: it sees ``(pixel / 255 - mean) / std``.
    classes : sequence of str
        What each score stands for; empty where that does not matter.
    reference : iterable, optional
        Batches of images like those of `asq_hw.calibrate`. The network keeps what `quantized`
        predicts for them, and `asq_hw.simulate` compares itself with that on the same images.
    name : str, optional
        What the network is called; by default as the class that it was made of.

    Returns
    -------
    Network
        An integer network, with a method ``save``.

    Raises
    ------
    InputError
        If the network is none of `asq_hw.prepare` or was not calibrated, images are not pixels
        with this mean and deviation, the classes are not as many as scores, or the integers would
        not be close to the network.
    """
    facts = prepared(quantized, "export")
    if not is_calibrated(quantized):
        raise InputError(
            "a network must be calibrated before export: asq_hw.calibrate(network, loader), or "
            "train it"
        )
    kept = None if reference is None else _predicted(quantized, facts, reference, mean, std)
    sample = facts.images if kept is None or facts.images is not None else kept.sample
    if sample is None:
        raise InputError(
            "export needs images to choose formats from: give a loader as reference, or calibrate"
        )
    spec = _spec(tuple(sample.shape[1:]), mean, std, classes)
    pixels = pixels_of(sample, spec).numpy()
    made = integer_network(
        quantized,
        Dataset(
            name="calibration", images=pixels, labels=None, classes=(), mean=spec.mean, std=spec.std
        ),
        name=name or facts.name,
        metadata=_metadata(facts, len(pixels)),
        references=lambda: {} if kept is None else {kept.name: kept.classes},
        images=spec,
    )
    return network_of(made)


def _spec(
    shape: tuple[int, ...],
    mean: float | Sequence[float],
    std: float | Sequence[float],
    classes: Sequence[str] = (),
) -> ImageSpec:
    channels, height, width = shape
    return ImageSpec(
        shape=(channels, height, width),
        mean=_by_channel("mean", mean, channels),
        std=_by_channel("std", std, channels),
        classes=tuple(classes),
    )


def _by_channel(key: str, value: object, channels: int) -> tuple[float, ...]:
    """Numbers by channel, of one number, a sequence, an array or a tensor."""
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{key} must be numbers, not {value!r}") from None
    return tuple(np.broadcast_to(found, channels).tolist() if found.ndim == 0 else found.tolist())


def _metadata(facts: Prepared, images: int) -> dict[str, str]:
    how = facts.how
    rules = {rule.pattern: rule.replaced() for rule in how.layers}
    return {
        "model": facts.name,
        "weights": f"{how.weights}, {how.weight_bits} bits",
        "activations": f"{how.activations}, {how.activation_bits} bits",
        "edges": f"{how.edge_bits} bits",
        **({"layers": repr(rules)} if rules else {}),
        "calibration": f"{images} images",
    }


@torch.no_grad()
def _predicted(
    quantized: nn.Module,
    facts: Prepared,
    loader: Loader,
    mean: float | Sequence[float],
    std: float | Sequence[float],
) -> _Reference:
    """Run a loader's images through a network."""
    sample = EvenSample(CALIBRATION_IMAGES)
    found, digest, spec = [], None, None
    with evaluation_mode(quantized):
        for images, _ in float_batches(loader, shape=facts.shape):
            if digest is None or spec is None:
                spec = _spec(tuple(images.shape[1:]), mean, std)
                digest = ContentDigest(spec.shape)
            digest.add(pixels_of(images, spec).numpy())
            sample.add(images)
            scores = quantized(images.to(device_of(quantized))).flatten(1)
            if not bool(torch.isfinite(scores).all()):
                raise InputError("the network's scores must be finite, and are not on these images")
            found.append(scores.argmax(1).cpu().numpy().astype(np.uint16))
    assert digest is not None  # a loader that yields nothing was refused
    return _Reference(
        name=digest.name(_STEM), classes=np.concatenate(found), sample=sample.images()
    )
