"""How many threads torch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["limited_threads"]


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads in the block, or as many as it does where that is None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
