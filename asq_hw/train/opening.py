"""Networks from files: a checkpoint of ours, or a state dict that a recipe names the network of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from asq_hw import datasets
from asq_hw.datasets import ImageFolder
from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec
from asq_hw.train.checkpoints.checkpoint import Checkpoint, load_any
from asq_hw.train.checkpoints.pretrained import fill_foreign
from asq_hw.train.checkpoints.state_dict import StateDict
from asq_hw.train.data.trained_images import training_data, with_normalization
from asq_hw.train.floating import floating_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.recipes import Recipe

__all__ = ["open_network"]


def open_network(
    path: str | Path,
    recipe: Recipe | None = None,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Checkpoint:
    """Read a network from a file.

    Parameters
    ----------
    path : str or Path
        A checkpoint, which names its network itself, or a state dict.
    recipe : Recipe, optional
        Of a state dict: the network, what quantizes it, and the data set, whose definition gives
        the images that the network takes and its classes.
    mean, std : sequence of float, optional
        Of a state dict: how its training normalized images, by channel, if not as the data set
        does.

    Returns
    -------
    Checkpoint
        With all that evaluation and export need; a state dict's is of epoch 0.

    Raises
    ------
    InputError
        If the file cannot be read, a state dict comes without a recipe or a checkpoint with one,
        the data set is not there, or the tensors are not those of the recipe's network.
    """
    found = load_any(path)
    if isinstance(found, Checkpoint):
        if recipe is not None or mean is not None or std is not None:
            raise InputError(
                f"checkpoint {path} names its network and images itself: a recipe, a mean and a "
                "std are for state dicts"
            )
        return found
    if recipe is None:
        raise InputError(
            f"{path} is a state dict, which does not say of which network: name a recipe with it"
        )
    images = with_normalization(_images_of(recipe), mean or (), std or ())
    return Checkpoint(
        recipe=recipe,
        in_channels=images.shape[0],
        num_classes=len(images.classes),
        epoch=0,
        accuracy=None,
        weights=_weights(found, recipe, images),
        images=images,
    )


def _images_of(recipe: Recipe) -> ImageSpec:
    """What a network takes that is trained by a recipe, from what there is of the data."""
    try:
        return training_data(replace(recipe, training_images=0)).images
    except InputError:
        test = datasets.open_dataset(recipe.dataset, image_size=recipe.image_size or None)
        images = with_normalization(datasets.image_spec(test), recipe.mean, recipe.std)
        # Of other files' normalization and classes the training images alone can tell.
        if recipe.dataset not in datasets.NAMES and not isinstance(test, ImageFolder):
            raise
        return images


def _weights(state: StateDict, recipe: Recipe, images: ImageSpec) -> dict[str, torch.Tensor]:
    """The tensors under the names of the recipe's network, which they fit."""
    with torch.random.fork_rng(devices=[]):
        model = floating_network(
            recipe.model,
            width=recipe.width,
            in_channels=images.shape[0],
            num_classes=len(images.classes),
            image_size=images.shape[1:],
        )
        model = quantize(model, recipe)
    fill_foreign(model, state)
    return model.state_dict()
