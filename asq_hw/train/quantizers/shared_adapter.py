"""One adapter for the layers of a block: the first layer computes beta, the others take it."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from asq_hw.train.quantizers.adapter import Adapter

__all__ = ["SharedAdapter"]


class SharedAdapter(Adapter):
    """The beta that another layer's adapter gave in the same pass, whatever this layer reads.

    It has no parameters: the other adapter's learn from both layers.

    Parameters
    ----------
    first : Adapter
        The other layer's, which runs before.
    """

    reads_input: ClassVar[bool] = False

    def __init__(self, first: Adapter) -> None:
        super().__init__()
        first.keeps_latest = True
        # In a tuple, so that it is no part of this module: it has its place in the network.
        self._first = (first,)

    @property
    def first(self) -> Adapter:
        """The other layer's adapter."""
        return self._first[0]

    def _beta(self, means: Tensor) -> Tensor:
        latest = self.first.latest
        assert latest is not None and len(latest) == len(means), "the first layer has not run"
        return latest
