"""Post-training quantization of a network that a recipe names: from its weights to integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.train.data.batches import evaluation_batches, normalize
from asq_hw.train.data.trained_images import AnyDataset, training_data
from asq_hw.train.evaluation import evaluate
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.recipes import Recipe
from asq_hw.train.refinement.options import PostTrainingSettings
from asq_hw.train.refinement.refine import quantize_after_training
from asq_hw.train.starting_point import full_precision_model

__all__ = ["PostTraining", "quantize_trained"]

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
    sample = data.training.sample(calibration_images)
    few = sample.load() if isinstance(sample, ImageFolder) else sample
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        floating = full_precision_model(
            recipe,
            weights,
            in_channels=images.shape[0],
            num_classes=len(images.classes),
            image_size=images.shape[1:],
        )
        before = None if test.labels is None else evaluate(floating, test, workers=workers)
        model = quantize(floating, recipe)
    quantize_after_training(model, _batches(few), lambda: torch.cat([*_batches(few)]), how)
    network = export_network(model, recipe, few, [test], images=images)
    (classes,) = network.references.values()
    return PostTraining(
        network=network,
        test=test,
        float_top1=before,
        top1=None if test.labels is None else float(np.mean(classes == test.labels)),
    )


def _batches(images: Dataset) -> Iterator[Tensor]:
    for pixels in evaluation_batches(images, batch_size=_AT_ONCE):
        yield normalize(pixels, mean=images.mean, std=images.std)
