"""The network that a run starts with."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from asq_hw.datasets import Dataset, ImageFolder
from asq_hw.errors import InputError
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.checkpoints.pretrained import fill
from asq_hw.train.data.batches import normalize
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.models import build
from asq_hw.train.recipes import Precision, Recipe

__all__ = ["autocast", "network_input", "new_model", "start_steps"]


def new_model(
    recipe: Recipe, init: Path | None, *, in_channels: int, num_classes: int
) -> nn.Module:
    """Make the network: fresh, or from a full-precision one, and quantized by the recipe.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    init : Path or None
        Checkpoint of the full-precision network to start from, or a state dict with
        torchvision's names.
    in_channels, num_classes : int
        What the network maps from and to.

    Raises
    ------
    InputError
        If `init` is not the recipe's network in full precision; a tensor that is missing or
        has another shape is named.
    """
    shape = {"in_channels": in_channels, "num_classes": num_classes}
    if init is None:
        return quantize(build(recipe.model, width=recipe.width, **shape), recipe)
    state = checkpoints.load_state(init)
    if state is not None:
        model = build(recipe.model, width=recipe.width, **shape)
        fill(model, state, str(init))
        return quantize(model, recipe)
    source = checkpoints.load(init)
    _check_init(init, source, recipe, shape)
    return quantize(source.build_model(), recipe)


def _check_init(init: Path, source: Checkpoint, recipe: Recipe, shape: dict[str, int]) -> None:
    """Refuse a network to start from that is not the recipe's."""
    if source.recipe.is_quantized:
        raise InputError(f"init {init} must be a full-precision network, not a quantized one")
    found = source.recipe
    if (found.model, found.width) != (recipe.model, recipe.width):
        raise InputError(
            f"init {init} must be a {recipe.model} of width {recipe.width}, "
            f"not a {found.model} of width {found.width}"
        )
    for key, value in shape.items():
        if getattr(source, key) != value:
            raise InputError(f"init {init} must have {key} {value}, not {getattr(source, key)}")


def autocast(recipe: Recipe, device: torch.device) -> torch.autocast:
    """The context in which a network trains in the recipe's precision."""
    enabled = recipe.precision is Precision.BFLOAT16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def network_input(images: Tensor, dataset: Dataset | ImageFolder, device: torch.device) -> Tensor:
    """A data set's images as the network sees them, on its device."""
    moved = images.to(device, non_blocking=True)
    return normalize(moved, mean=dataset.mean, std=dataset.std)


def start_steps(model: nn.Module, x: Tensor, recipe: Recipe) -> None:
    """Let a network in training mode see its first batch ``(N, C, H, W)``, and learn nothing else.

    Activation steps start from the first batch. Where each of several processes sees a part of
    it only, one sees the whole beforehand, so that the steps start as they would with one.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    statistics = [copy.deepcopy(norm.state_dict()) for norm in norms]
    with torch.no_grad(), autocast(recipe, x.device):
        model(x)
    for norm, before in zip(norms, statistics, strict=True):
        norm.load_state_dict(before)
