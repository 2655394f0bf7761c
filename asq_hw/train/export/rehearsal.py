"""Whether a network can be exported, found out before the first step and not after the last."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from asq_hw import modelfile
from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec
from asq_hw.train.data.batches import normalize
from asq_hw.train.export.network import export_network
from asq_hw.train.recipes import Recipe
from asq_hw.train.starting_point import start_steps

__all__ = ["check_export"]

_IMAGES = 2
"""Batch norm in training mode needs more than one."""


def check_export(
    model: nn.Module, recipe: Recipe, training: Dataset | ImageFolder, images: ImageSpec
) -> None:
    """Export a copy of a network that is still to be trained, and write its file.

    Parameters
    ----------
    model : nn.Module
        The converted network; nothing of it changes.
    recipe : Recipe
        What it is trained by. One whose methods have no integer form is not checked.
    training : Dataset or ImageFolder
        The training images, of which a few are looked at.
    images : ImageSpec
        What the network takes.

    Raises
    ------
    InputError
        If export would refuse the network, or its file.
    """
    if not recipe.is_quantized or recipe.without_integers:
        return
    seen = training.sample(_IMAGES).load()
    pixels = torch.from_numpy(np.array(seen.images))
    twin = copy.deepcopy(model)
    try:
        with torch.random.fork_rng(devices=[]):
            twin.train()
            start_steps(twin, normalize(pixels, mean=images.mean, std=images.std), recipe)
            network = export_network(twin, recipe, seen, images=images)
        with TemporaryDirectory() as folder:
            modelfile.save(network, Path(folder) / "model.asq")
    except InputError as error:
        raise InputError(
            f"the network could not be exported once it is trained: {error} "
            "(train it all the same with --no-export)"
        ) from None
