"""The networks that are known by name, one definition each.

A plan is plain data: PyTorch builds its modules from it, and overhead counts its layers without
loading PyTorch.
"""

from __future__ import annotations

from asq_hw.network.topologies import digits, mobilenet, resnet
from asq_hw.network.topologies.topology import Topology

__all__ = ["PUBLISHED", "TOPOLOGIES", "AnyPlan"]

AnyPlan = resnet.ResNet | mobilenet.MobileNetV2 | digits.DigitsNet
"""What a network is made of; its class says how the parts are put together."""

_ALL: tuple[Topology[AnyPlan], ...] = (
    *resnet.TOPOLOGIES,
    *mobilenet.TOPOLOGIES,
    *digits.TOPOLOGIES,
)

TOPOLOGIES = {topology.name: topology for topology in _ALL}
"""The networks by name."""

PUBLISHED = tuple(topology.name for topology in _ALL if topology.source and not topology.variant_of)
"""Names of those that papers are about, in one form each."""
