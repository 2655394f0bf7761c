"""export: a prepared network's integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asq_hw.datasets.fitting import ContentDigest
from asq_hw.errors import InputError
from asq_hw.interface.network import Network, network_of
from asq_hw.interface.prepared import CALIBRATION_IMAGES, Prepared, device_of, prepared
from asq_hw.network.images import ImageSpec, by_channel
from asq_hw.network.input_format import PIXELS, InputFormat
from asq_hw.train.calibration import is_calibrated
from asq_hw.train.data.loaders import EvenSample, Loader, float_batches
from asq_hw.train.data.pixels import GivenIntegers, integers_of
from asq_hw.train.export.network import integer_network
from asq_hw.train.graph.results import named
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
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    classes: Sequence[str] = (),
    scores: str | bool = True,
    reference: Loader | None = None,
    input: InputFormat | None = None,
    name: str | None = None,
) -> Network:
    """Turn a prepared network into integers, and make sure that they compute the same.

    Parameters
    ----------
    quantized : nn.Module
        What `asq_hw.prepare` made, calibrated or trained; it is left as it is.
    mean, std : float, or a sequence of one for each channel
        How its images were normalized: it sees ``(pixel / 255 - mean) / std``, or with an `input`
        ``(integer * step - mean) / std``. They may be left out with an `input`, and are 0 and 1.
    classes : sequence of str
        What each score stands for; empty where that does not matter.
    scores : str or bool
        Which of what the network returns is class scores: its name, where it returns several
        (`asq_hw.simulate`); by default the only one, where it is a vector; False for none.
    reference : iterable, optional
        Batches of images like those of `asq_hw.calibrate`. The network keeps what `quantized`
        predicts for them, and `asq_hw.simulate` compares itself with that on the same images.
    input : InputFormat, optional
        The integers that it takes, where they are no 8-bit pixels. If it has no step, that is the
        power of two with which the values of calibration have half as much room again.
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
        with this mean and deviation or do not fit the `input`, no output is called `scores`, the
        classes are not as many as scores, or the integers would not be close to the network.
    """
    facts = prepared(quantized, "export")
    if not is_calibrated(quantized):
        raise InputError(
            "a network must be calibrated before export: asq_hw.calibrate(network, loader), or "
            "train it"
        )
    look = _Look(mean=mean, std=std, format=_format(input, facts, mean, std))
    kept = None if reference is None else _predicted(quantized, facts, reference, look, scores)
    sample = facts.images if kept is None or facts.images is not None else kept.sample
    if sample is None:
        raise InputError(
            "export needs images to choose formats from: give a loader as reference, or calibrate"
        )
    shape = tuple(sample.shape[1:])
    spec = look.spec(shape, classes)
    made = integer_network(
        quantized,
        GivenIntegers(integers=integers_of(sample, spec), spec=spec, shape=shape),
        spec,
        name=name or facts.name,
        metadata=_metadata(facts, len(sample)),
        references=lambda: {} if kept is None else {kept.name: kept.classes},
        scores=scores,
    )
    return network_of(made)


def _format(wanted: InputFormat | None, facts: Prepared, mean: object, std: object) -> InputFormat:
    """The integers that the network takes, with their step."""
    if wanted is None:
        if mean is None or std is None:
            raise InputError(
                "export needs mean and std, of pixels that are 8 bits, or the input's format: "
                "input=asq_hw.InputFormat(bits=16, signed=True)"
            )
        return PIXELS
    if not isinstance(wanted, InputFormat):
        raise InputError(f"input must be an InputFormat, not {type(wanted).__name__}")
    if wanted.step is not None:
        return wanted
    if mean is not None or std is not None:
        raise InputError("an input's step must be given where mean and std are")
    if facts.reach == 0:
        raise InputError("an input's step is found by asq_hw.calibrate; call it, or give the step")
    return wanted.with_step_for(facts.reach)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How a network sees its input."""

    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    format: InputFormat

    def spec(self, shape: tuple[int, ...], classes: Sequence[str] = ()) -> ImageSpec:
        """The same of samples of a shape, (C, H, W) or (C,)."""
        channels, height, width = (*shape, 1, 1)[:3]
        return ImageSpec(
            shape=(channels, height, width),
            mean=by_channel("mean", 0.0 if self.mean is None else self.mean, channels),
            std=by_channel("std", 1.0 if self.std is None else self.std, channels),
            classes=tuple(classes),
            format=self.format,
        )


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
    look: _Look,
    scores: str | bool,
) -> _Reference:
    """Run a loader's images through a network."""
    sample = EvenSample(CALIBRATION_IMAGES)
    found, digest, spec = [], None, None
    with evaluation_mode(quantized):
        for images, _ in float_batches(loader, shape=facts.shape):
            if digest is None or spec is None:
                spec = look.spec(tuple(images.shape[1:]))
                digest = ContentDigest(spec.shape)
            digest.add(integers_of(images, spec))
            sample.add(images)
            made = _class_scores(quantized(images.to(device_of(quantized))), scores)
            if not bool(torch.isfinite(made).all()):
                raise InputError("the network's scores must be finite, and are not on these images")
            found.append(made.argmax(1).cpu().numpy().astype(np.uint16))
    assert digest is not None  # a loader that yields nothing was refused
    return _Reference(
        name=digest.name(_STEM), classes=np.concatenate(found), sample=sample.images()
    )


def _class_scores(returned: object, scores: str | bool) -> Tensor:
    """Class scores (N, C) among what a network returned.

    Raises
    ------
    InputError
        If none of it is.
    """
    results = named(returned)
    if isinstance(scores, str) and scores in results:
        chosen = results[scores]
    elif scores is True and len(results) == 1:
        (chosen,) = results.values()
    else:
        chosen = None
    if chosen is None or chosen[0, 0].numel() != 1:
        names = ", ".join(results)
        raise InputError(
            f"a reference is of class scores, and none of the network's outputs ({names}) is said "
            "to be; name one with scores, or leave reference out"
        )
    made: Tensor = chosen.flatten(1)
    return made
