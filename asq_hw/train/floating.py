"""A network in full precision by its name, known or somebody's own, with somebody's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from asq_hw.errors import InputError
from asq_hw.interchange.floating import IMAGE_SHAPE
from asq_hw.train.checkpoints.pretrained import fill, fill_foreign
from asq_hw.train.checkpoints.state_dict import StateDict
from asq_hw.train.graph.canonical.rewrite import rewrite
from asq_hw.train.graph.results import named
from asq_hw.train.models import build
from asq_hw.train.models.own import build_own, is_own, own_code
from asq_hw.train.modes import evaluation_mode

__all__ = [
    "check_image_shape",
    "example_images",
    "floating_network",
    "own_network",
    "score_count",
    "told_shape",
]

_EXAMPLES = 2


def floating_network(
    name: str,
    *,
    width: int,
    in_channels: int,
    num_classes: int,
    image_size: tuple[int, ...] | None = None,
    weights: StateDict | None = None,
    any_results: bool = False,
) -> nn.Module:
    """Make a network as it is before it is quantized.

    Parameters
    ----------
    name : str
        One of `asq_hw.train.models.names`; or ``FILE.py:BUILDER`` or ``NET.onnx``, whose network
        is rewritten as plain layers (`asq_hw.train.graph.canonical`).
    width : int
        Channels of the first stage of a known network.
    in_channels, num_classes : int
        What it maps from and to.
    image_size : tuple of int, optional
        Height and width of its images, for which an own network is read; empty for vectors.
    weights : StateDict, optional
        What it is filled with, under the names that its own code gives.
    any_results : bool
        Whether an own network may return other tensors than class scores.

    Raises
    ------
    InputError
        If there is no such network, the weights do not fit it, its code fails, something in it has
        no integer form, or it makes another number of scores, or none.
    """
    if not is_own(name):
        model = build(name, width=width, in_channels=in_channels, num_classes=num_classes)
        if weights is not None:
            fill_foreign(model, weights)
        return model
    if image_size is None:
        raise InputError(f"{name} cannot be built without the size of its images")
    model = own_network(name, weights)
    check_image_shape(name, model, (in_channels, *image_size))
    example = example_images((in_channels, *image_size))
    with own_code(name):
        rewriting = rewrite(model, example)
    if rewriting.network is None:
        refused = "; ".join(map(str, rewriting.refused))
        raise InputError(f"{name} cannot be quantized: {refused}")
    scores = score_count(rewriting.network, example.shape[1:])
    if scores is None and not any_results:
        raise InputError(
            f"{name} must return class scores, and returns maps or several tensors: quantize it, "
            "or train it in a loop of your own (asq_hw.prepare)"
        )
    if scores not in (None, num_classes) and not any_results:
        raise InputError(
            f"{name} must make one score for each of {num_classes} classes, not {scores}"
        )
    return rewriting.network.train()


def score_count(network: nn.Module, shape: Sequence[int]) -> int | None:
    """How many class scores a network makes; None if it returns maps, or several tensors.

    Parameters
    ----------
    network : nn.Module
        Its modes stay as they are.
    shape : sequence of int
        Of one sample.
    """
    with evaluation_mode(network), torch.no_grad():
        results = [*named(network(example_images(tuple(shape)))).values()]
    if len(results) != 1 or results[0][0, 0].numel() != 1:
        return None
    return int(results[0].shape[1])


def own_network(name: str, weights: StateDict | None = None) -> nn.Module:
    """Make a network of one's own, as it is written.

    Parameters are those of `floating_network`.

    Raises
    ------
    InputError
        If its code fails, or the weights do not fit.
    """
    model = build_own(name)
    if weights is not None:
        fill(model, weights.named_as(model.state_dict().keys()), weights.source)
    return model


def check_image_shape(name: str, model: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse images ``(C, H, W)`` of another size than a network's file tells.

    Raises
    ------
    InputError
        If it is an ONNX file, and its images are others.
    """
    told = told_shape(model)
    if told is not None and told != shape:
        raise InputError(f"{name} takes images of {told}, not of {shape}")


def told_shape(model: nn.Module) -> tuple[int, ...] | None:
    """``(C, H, W)`` of its images, where a network's file tells it: where it is an ONNX file."""
    found: tuple[int, ...] | None = getattr(model, "meta", {}).get(IMAGE_SHAPE)
    return found


def example_images(shape: tuple[int, ...]) -> torch.Tensor:
    """Two images or vectors that a network of one's own is read on, always the same."""
    return torch.randn(_EXAMPLES, *shape, generator=torch.Generator().manual_seed(0))
