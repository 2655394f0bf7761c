"""What all quantizers have in common: the loops that they may round in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from asq_hw.train.compiled.rounding import CompiledRounding

__all__ = ["Quantizer", "round_in_loops"]


class Quantizer(nn.Module):
    """Base of all quantizers, of weights and of activations.

    Attributes
    ----------
    loops : CompiledRounding or None
        Compiled loops to round in, where they apply; without, PyTorch's own operations round.
    """

    loops: CompiledRounding | None = None


def round_in_loops(model: nn.Module, loops: CompiledRounding | None) -> None:
    """Let every quantizer of a network round in compiled loops; with None, in none."""
    for module in model.modules():
        if isinstance(module, Quantizer):
            module.loops = loops
