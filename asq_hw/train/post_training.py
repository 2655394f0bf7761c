"""Post-training quantization of a network that a recipe names: from its weights to integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asq_hw.datasets import Dataset
from asq_hw.datasets.samples import read_samples
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.images import ImageSpec
from asq_hw.network.input_format import InputFormat
from asq_hw.train.data.batches import evaluation_batches, normalize
from asq_hw.train.data.pixels import GivenIntegers
from asq_hw.train.data.trained_images import AnyDataset, training_data
from asq_hw.train.evaluation import evaluate
from asq_hw.train.export.network import export_network, integer_network
from asq_hw.train.floating import score_count
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.recipes import Recipe
from asq_hw.train.refinement.options import PostTrainingSettings
from asq_hw.train.refinement.refine import quantize_after_training
from asq_hw.train.starting_point import full_precision_model

__all__ = ["PostTraining", "quantize_array", "quantize_trained"]

_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PostTraining:
    """What became of a trained network.

    Parameters
    ----------
    network : IntegerNetwork
        It, in integers.
    test : Dataset or ImageFolder
        The images that it was measured on.
    float_top1, top1 : float or None
        Share of these that it classifies right, before and with quantization; None without labels.
    """

    network: IntegerNetwork
    test: AnyDataset
    float_top1: float | None
    top1: float | None


def quantize_trained(
    recipe: Recipe,
    weights: Path | None,
    *,
    how: PostTrainingSettings,
    calibration_images: int,
    workers: int = 0,
) -> PostTraining:
    """Quantize a network as a recipe says, without training it.

    Parameters
    ----------
    recipe : Recipe
        The network, what quantizes it, and the data set; nothing of its training counts.
    weights : Path or None
        The network's state dict, or a checkpoint of it in full precision; None where the recipe
        names an ONNX file, which has its weights in it.
    how : PostTrainingSettings
        What is chosen from weights and images, and how.
    calibration_images : int
        Training images, drawn evenly, for that and for number formats.
    workers : int
        Processes that read images in folders.

    Raises
    ------
    InputError
        If the recipe's methods have no integer form, the data cannot be read, the weights do not
        fit, or the integers would not be close to the network.
    """
    if missing := recipe.without_integers or ([] if recipe.is_quantized else ["weights none"]):
        raise InputError(f"{' and '.join(missing)} have no integer form; choose other methods")
    data = training_data(recipe)
    images, test = data.images, data.test
    few = data.training.sample(calibration_images).load()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        floating = full_precision_model(
            recipe,
            weights,
            in_channels=images.shape[0],
            num_classes=len(images.classes),
            image_size=images.shape[1:],
            any_results=True,
        )
        scores = score_count(floating, images.shape)
        if scores not in (None, len(images.classes)):
            raise InputError(
                f"{recipe.model} must make one score for each of {len(images.classes)} classes, "
                f"not {scores}"
            )
        is_measured = scores is not None and test.labels is not None
        before = evaluate(floating, test, workers=workers) if is_measured else None
        model = quantize(floating, recipe)
    quantize_after_training(model, _batches(few), lambda: torch.cat([*_batches(few)]), how)
    if scores is None:
        images = replace(images, classes=())
    network = export_network(model, recipe, few, [] if scores is None else [test], images=images)
    right = [np.mean(classes == test.labels) for classes in network.references.values()]
    return PostTraining(
        network=network,
        test=test,
        float_top1=before,
        top1=float(right[0]) if is_measured else None,
    )


def quantize_array(
    recipe: Recipe,
    weights: Path | None,
    form: InputFormat,
    *,
    how: PostTrainingSettings,
    limit: int | None = None,
    scores: str | None = None,
) -> tuple[IntegerNetwork, int]:
    """Quantize a network of one's own, of values that are no pixels, without training it.

    Parameters
    ----------
    recipe : Recipe
        The network, what quantizes it, mean and deviation of what the integers stand for, and as
        data set a file of an array: the integers, or in floating point what the network takes.
    weights : Path or None
        As for `quantize_trained`.
    form : InputFormat
        The integers that it takes; without a step, that is found for the values.
    how : PostTrainingSettings
        What is chosen from weights and values, and how.
    limit : int, optional
        Take only so many of the array's samples, drawn evenly.
    scores : str, optional
        Which of what it returns is class scores; by default the only tensor, where it is a vector.

    Returns
    -------
    IntegerNetwork
    int
        Number of samples that it was calibrated with.

    Raises
    ------
    InputError
        As `quantize_trained`, and if a value is out of the format's range.
    """
    if missing := recipe.without_integers or ([] if recipe.is_quantized else ["weights none"]):
        raise InputError(f"{' and '.join(missing)} have no integer form; choose other methods")
    given = _given(read_samples(recipe.dataset, limit), recipe, form)
    values, shape = given.values(slice(None)), given.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        floating = full_precision_model(
            recipe,
            weights,
            in_channels=shape[0],
            num_classes=0,
            image_size=shape[1:],
            any_results=True,
        )
        model = quantize(floating, recipe)
    quantize_after_training(model, torch.split(values, _AT_ONCE), lambda: values, how)
    metadata = {"recipe": recipe.name, "calibration": f"{len(values)} of {recipe.dataset}"}
    made = integer_network(
        model,
        given,
        given.spec,
        name=recipe.name,
        metadata=metadata,
        scores=True if scores is None else scores,
    )
    return made, len(values)


def _given(array: NDArray[Any], recipe: Recipe, form: InputFormat) -> GivenIntegers:
    """An array's samples as integers, and what these stand for."""
    shape = tuple(array.shape[1:])
    channels, height, width = (*shape, 1, 1)[:3]
    is_real = array.dtype.kind == "f"
    if form.step is None and (not is_real or recipe.mean or recipe.std):
        raise InputError("step must be given of integers, and where mean or std is")
    spec = ImageSpec(
        shape=(channels, height, width),
        mean=_each(recipe.mean, 0.0, channels),
        std=_each(recipe.std, 1.0, channels),
        format=form.with_step_for(float(np.abs(array).max()) if is_real else 0.0),
    )
    maps = array.reshape(-1, *spec.shape)
    integers = spec.integers_of(maps) if is_real else spec.format.checked(maps)
    return GivenIntegers(integers=integers, spec=spec, shape=shape)


def _each(values: Sequence[float], usual: float, channels: int) -> tuple[float, ...]:
    """One number for each channel; the usual one where there is none."""
    found = tuple(values) or (usual,)
    return found * channels if len(found) == 1 else found


def _batches(images: Dataset) -> Iterator[Tensor]:
    for pixels in evaluation_batches(images, batch_size=_AT_ONCE):
        yield normalize(pixels, mean=images.mean, std=images.std)
