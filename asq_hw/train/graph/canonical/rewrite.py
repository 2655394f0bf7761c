"""A network of anyone's as one of torch's plain layers that computes the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from asq_hw.errors import InputError
from asq_hw.train.graph.canonical.builder import Builder
from asq_hw.train.graph.canonical.capture import Capture, capture, evaluated_copy
from asq_hw.train.graph.canonical.findings import Finding, FindingKind
from asq_hw.train.graph.canonical.rules import RULES
from asq_hw.train.graph.results import named
from asq_hw.train.modes import evaluation_mode

__all__ = ["Rewriting", "rewrite"]

_TOLERANCE = 1e-4
"""Largest difference of results, relative to the largest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """What became of a network.

    Parameters
    ----------
    network : nn.Module or None
        It, of Conv2d, Linear, BatchNorm2d, ReLU, functions of single values, pooling, Flatten, sums
        and products; with copies of its weights. None if something in it was refused.
    findings : tuple of Finding
        What was rewritten, left out or refused, in the order in which it is computed.
    """

    network: nn.Module | None
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> tuple[Finding, ...]:
        """What stops the network."""
        return tuple(f for f in self.findings if f.kind is FindingKind.REFUSED)


def rewrite(model: nn.Module, example: Tensor) -> Rewriting:
    """Rewrite a network for quantization, and make sure that it still computes the same.

    Parameters
    ----------
    model : nn.Module
        Left as it is, its modes included. It is read as it computes in evaluation mode.
    example : Tensor of shape (N, C, H, W), or (N, C)
        Images or vectors as the network takes them, float32.

    Raises
    ------
    InputError
        If the network cannot be traced, takes no images, returns what is no tensor, or
        computes what is not finite, or what depends on no parameter, or takes a fixed part of a
        batch; and if what it was rewritten to does not compute the same, which would be a fault of
        ours.
    """
    images = _checked(example)
    original = evaluated_copy(model)
    with torch.random.fork_rng(devices=[]):  # new layers draw weights, before they get theirs
        found = capture(original, images)
        builder = Builder(capture=found, original=original, activations=_Activations(found, images))
        network = builder.build(RULES)
        if network is not None:
            if next(network.parameters(), None) is None:
                raise InputError(
                    f"what {type(model).__name__} returns must depend on parameters, and it does "
                    "not: nothing can be quantized"
                )
            _compare(original, network, images, builder)
            _check_each_by_itself(original, images)
    return Rewriting(network=network, findings=tuple(builder.findings))


def _checked(example: Tensor) -> Tensor:
    if not isinstance(example, Tensor) or example.dim() not in (2, 4) or not example.numel():
        shape = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise InputError(
            f"an example must be a tensor of images (N, C, H, W) or of vectors (N, C), not {shape}"
        )
    if example.dtype != torch.float32:
        raise InputError(f"an example must be float32, not {example.dtype}")
    if not torch.isfinite(example).all():
        raise InputError("an example must be finite")
    # With one image, the batch could not be told from what is one besides.
    return example if len(example) > 1 else torch.cat([example, example.flip(-1)])


class _Activations:
    """What each node of a captured graph is on the example; computed where it is asked for."""

    def __init__(self, captured: Capture, images: Tensor) -> None:
        self._captured, self._images = captured, images
        self._found: dict[fx.Node, Tensor] = {}

    def __call__(self, node: fx.Node) -> Tensor:
        if not self._found:
            self._run()
        return self._found[node]

    @torch.no_grad()
    def _run(self) -> None:
        values: dict[fx.Node, Any] = {**self._captured.constants}
        values[self._captured.image] = self._images
        for node in self._captured.graph.nodes:
            if node.op == "call_function":
                given: Any = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = node.target(*given[0], **given[1])
        self._found = {n: v for n, v in values.items() if isinstance(v, Tensor)}


@torch.no_grad()
def _compare(model: nn.Module, network: nn.Module, images: Tensor, builder: Builder) -> None:
    """Raise InputError unless both return the same."""
    with evaluation_mode(network):
        wanted, found = named(model(images)), named(network(images))
    for name, node in builder.capture.results.items():
        tail = builder.tails.get(node)
        result = found[name] if tail is None else tail(found[name])
        if not torch.isfinite(wanted[name]).all():
            raise InputError(f"{type(model).__name__} computes NaN or infinity on the example")
        largest = float(wanted[name].abs().max())
        if result.shape != wanted[name].shape or not bool(
            torch.allclose(result, wanted[name], rtol=0, atol=_TOLERANCE * max(largest, 1e-6))
        ):
            what = f"another {name}" if len(wanted) > 1 else "other scores"
            raise InputError(
                f"{type(model).__name__} was rewritten to something that computes {what}; please "
                "report it, with the network"
            )


@torch.no_grad()
def _check_each_by_itself(model: nn.Module, images: Tensor) -> None:
    """Raise InputError if a batch of one image more does not give one result more.

    What takes the first N images is no different from what takes all while there are N.
    """
    count = len(images) + 1
    try:
        results = named(model(torch.cat([images, images[:1]])))
    except Exception:  # the network's own code: it takes so many images and no others
        return
    for name, result in results.items():
        if not result.dim() or len(result) != count:
            raise InputError(
                f"{type(model).__name__} must compute {name} of each image of a batch, however "
                f"many there are: of {count} it gives {len(result) if result.dim() else 1}"
            )
