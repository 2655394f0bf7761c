"""A name for weights: the same for the same numbers, whatever file they come in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

__all__ = ["DIGEST_LETTERS", "weights_digest"]

DIGEST_LETTERS: Final = 16

_COUNTER: Final = "num_batches_tracked"
"""Counts steps, and is no part of what a network computes."""


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """The beginning of a SHA-256 over all tensors: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        if name.endswith(_COUNTER):
            continue
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:DIGEST_LETTERS]
