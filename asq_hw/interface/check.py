"""Whether a network can be quantized and become integers, layer by layer, before any training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from asq_hw.train.graph.canonical.findings import Finding, FindingKind
from asq_hw.train.graph.canonical.rewrite import rewrite
from asq_hw.train.graph.conversion import layer_roles

__all__ = ["CheckedLayer", "Report", "check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLayer:
    """A layer that would be quantized.

    Parameters
    ----------
    name : str
        As recipes and the integer network call it.
    kind : str
        ``Conv2d`` or ``Linear``.
    weights : tuple of int
        Shape of its weights.
    is_edge : bool
        Whether it is one of the first or of the last layers, which keep more bits.
    signed_input : bool
        Whether its input can be negative.
    """

    name: str
    kind: str
    weights: tuple[int, ...]
    is_edge: bool
    signed_input: bool

    def __str__(self) -> str:
        """One line for a person."""
        shape = " x ".join(map(str, self.weights))
        place = "first or last" if self.is_edge else "inner"
        sign = "signed" if self.signed_input else "unsigned"
        return f"{self.name}: {self.kind} {shape}, {place}, {sign} input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found in a network.

    Parameters
    ----------
    network : str
        Name of its class.
    layers : tuple of CheckedLayer
        Every layer that would be quantized, in the order of execution; none if something is
        refused.
    findings : tuple of Finding
        What would be rewritten or left out, and all that is refused, with its place in the
        network, its line of code and what to write instead.
    """

    network: str
    layers: tuple[CheckedLayer, ...]
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> tuple[Finding, ...]:
        """What stops the network."""
        return tuple(f for f in self.findings if f.kind is FindingKind.REFUSED)

    @property
    def ok(self) -> bool:
        """Whether the network can be quantized."""
        return not self.refused

    def __str__(self) -> str:
        """Everything, a line each."""
        found = [f"{finding.kind}: {finding}" for finding in self.findings]
        verdict = "can be quantized" if self.ok else "cannot be quantized"
        return "\n".join([f"{self.network} {verdict}", *map(str, self.layers), *found])


def check(model: nn.Module, example: Tensor) -> Report:
    """Find out what a network would become, without changing it.

    Parameters
    ----------
    model : nn.Module
        Any network of images or vectors, however it is written; it is read as in evaluation mode.
    example : Tensor of shape (N, C, H, W), or (N, C)
        Images or vectors as the network takes them, float32.

    Returns
    -------
    Report
        Every layer, or everything that stops the network, at once.

    Raises
    ------
    InputError
        If the network cannot be traced, returns what is no tensor, or fails on the example.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softsign(), nn.Flatten(), nn.Linear(288, 10))
    >>> report = check(net, torch.rand(1, 3, 8, 8))
    >>> report.ok, report.refused[0].what, report.refused[0].place
    (False, 'a division of maps has no integer form', '1')
    """
    rewriting = rewrite(model, example)
    layers = () if rewriting.network is None else _layers(rewriting.network)
    return Report(network=type(model).__name__, layers=layers, findings=rewriting.findings)


def _layers(network: nn.Module) -> tuple[CheckedLayer, ...]:
    made = []
    for name, role in layer_roles(network).items():
        module = network.get_submodule(name)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        made.append(
            CheckedLayer(
                name=name,
                kind=type(module).__name__,
                weights=tuple(module.weight.shape),
                is_edge=role.is_edge,
                signed_input=role.signed_input,
            )
        )
    return tuple(made)
