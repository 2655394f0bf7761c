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
from asq_hw.train.data.batches import normalize
from asq_hw.train.floating import floating_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.models.own import is_own
from asq_hw.train.recipes import Precision, Recipe

__all__ = ["autocast", "full_precision_model", "network_input", "new_model", "start_steps"]


def new_model(
    recipe: Recipe,
    init: Path | None,
    *,
    in_channels: int,
    num_classes: int,
    image_size: tuple[int, int] | None = None,
) -> nn.Module:
    """Make the network: fresh, or from a full-precision one, and quantized by the recipe.

    Parameters
    ----------
    recipe : Recipe
        What to train.
    init : Path or None
        Checkpoint of the full-precision network to start from, or its state dict
        (`asq_hw.train.checkpoints.state_dict`).
    in_channels, num_classes : int
        What the network maps from and to.
    image_size : tuple of int, optional
        Height and width of its images, which a network of one's own needs.

    Raises
    ------
    InputError
        If `init` is not the recipe's network in full precision; a tensor that is missing or
        has another shape is named.
    """
    model = full_precision_model(
        recipe,
        init,
        in_channels=in_channels,
        num_classes=num_classes,
        image_size=image_size,
    )
    return quantize(model, recipe)


def full_precision_model(
    recipe: Recipe,
    init: Path | None,
    *,
    in_channels: int,
    num_classes: int,
    image_size: tuple[int, ...] | None = None,
    any_results: bool = False,
) -> nn.Module:
    """Make the network that `new_model` quantizes.

    Parameters are those of `new_model` and of `asq_hw.train.floating.floating_network`, and so are
    the errors.
    """
    shape = {"in_channels": in_channels, "num_classes": num_classes}
    source = None if init is None else checkpoints.load_any(init)
    if isinstance(source, Checkpoint):
        _check_init(init, source, recipe, shape)
        return source.build_model()
    return floating_network(
        recipe.model,
        width=recipe.width,
        image_size=image_size,
        weights=source,
        any_results=any_results,
        **shape,
    )


def _check_init(
    init: Path | None, source: Checkpoint, recipe: Recipe, shape: dict[str, int]
) -> None:
    """Refuse a network to start from that is not the recipe's."""
    if source.recipe.is_quantized:
        raise InputError(f"init {init} must be a full-precision network, not a quantized one")
    found = source.recipe
    is_wide = found.width == recipe.width or is_own(recipe.model)  # its code sets its widths
    if found.model != recipe.model or not is_wide:
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
