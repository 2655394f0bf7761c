"""Defaults and limits of a run, each in this place alone; importing them loads nothing."""

from __future__ import annotations

__all__ = [
    "ANY_NETWORK_BYTES",
    "DEFAULT_BATCH_SIZE",
    "EACH_WEIGHT_BYTES",
    "MAX_BATCH_SIZE",
    "MAX_THREADS",
]

DEFAULT_BATCH_SIZE = 32
"""Images that a thread, or a worker of a cluster, takes at once."""
MAX_BATCH_SIZE = 1 << 30
MAX_THREADS = 4096

ANY_NETWORK_BYTES = 2 << 30
"""Memory that a run may take, whatever the network, if no limit is given; and besides"""
EACH_WEIGHT_BYTES = 64
"""for each weight of the network."""
