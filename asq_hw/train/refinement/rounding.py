"""Adaptive rounding: the levels with which a layer's outputs change least, one weight at a time.

What is made small is AdaRound's error of a layer's outputs (Nagel et al., arXiv:2004.10568, Eq.
13), for levels of any grid, and not by its relaxation but weight after weight, each in turn at its
best while the others stay (cyclic coordinate descent, as Behdin et al., "QuantEase",
arXiv:2309.01885): the error never grows, and nothing has to be tuned. All output channels go
together.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from asq_hw.errors import InputError
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.levels import LevelTable, level_table
from asq_hw.train.quantizers.weights import IntegerWeightQuantizer
from asq_hw.train.refinement.moments import InputMoments, input_parts

__all__ = ["adapted_weight", "check_adaptable"]

_SWEEPS = 16
"""Most times that every weight is looked at."""
_SETTLED = 1e-3
"""Share of weights that still change where it ends."""
_LEAST_VARIANCE = 1e-2
"""Of a value, over the mean of all: it is added, so that what hardly varies still counts."""


def check_adaptable(name: str, layer: QuantConv2d | QuantLinear) -> None:
    """Make sure that weights which are levels stay as they are where they are rounded again.

    Raises
    ------
    InputError
        If they do not: the method's levels depend on the weights.
    """
    quantizer = layer.weight_quantizer
    if quantizer is None:
        return
    rounded = layer.quantized_weight().detach()
    if isinstance(quantizer, IntegerWeightQuantizer) and _same(quantizer(rounded), rounded):
        return
    raise InputError(
        f"layer {name}: adaptive rounding needs weights whose levels do not depend on the "
        f"weights, which those of {type(quantizer).__name__} do; round to the nearest"
    )


def _same(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, rtol=1e-5, atol=0)


def adapted_weight(layer: QuantConv2d | QuantLinear, moments: InputMoments) -> Tensor:
    """A layer's weights, rounded: in their shape, and each a level times its scale.

    Parameters
    ----------
    layer : QuantConv2d or QuantLinear
        A layer that `check_adaptable` has passed, whose scales have started.
    moments : InputMoments
        Its inputs in floating point.
    """
    weight, covariance = layer.weight.detach(), moments.covariance()
    quantizer = cast(IntegerWeightQuantizer, layer.weight_quantizer)
    groups = layer.groups if isinstance(layer, QuantConv2d) else 1
    pieces = input_parts(layer) // groups

    def in_parts(values: Tensor) -> Tensor:
        """From ``(O, ...)`` to ``(G, K, outputs of a group)``."""
        parts = values.reshape(groups, len(weight) // groups, pieces, -1)
        return parts.permute(0, 2, 3, 1).flatten(0, 1)

    scale = in_parts(quantizer.scale().expand_as(weight))[:, :1]
    table = level_table(quantizer.grid, weight)
    chosen = _descend(in_parts(weight), scale, table, covariance)
    rows = chosen.view(groups, pieces, *chosen.shape[1:]).permute(0, 3, 1, 2)
    return rows.reshape(weight.shape)


def _descend(weight: Tensor, scale: Tensor, table: LevelTable, covariance: Tensor) -> Tensor:
    """Weights ``(G, K, O)`` on the levels times scales ``(G, 1, O)``."""
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    floor = _LEAST_VARIANCE * diagonal.mean(1, keepdim=True)
    variance = torch.where(diagonal + floor > 0, diagonal + floor, torch.ones_like(diagonal))
    diagonal.copy_(variance)
    chosen = table.round(weight / scale) * scale
    # How much the outputs' mean square error changes with each weight, halved.
    slope = torch.bmm(covariance, chosen - weight)
    order = variance.sum(0).argsort(descending=True).tolist()
    for _ in range(_SWEEPS):
        changed = 0
        for k in order:
            best = chosen[:, k] - slope[:, k] / variance[:, k, None]
            level = table.round(best / scale[:, 0]) * scale[:, 0]
            change = level - chosen[:, k]
            if moved := int(torch.count_nonzero(change)):
                chosen[:, k] = level
                slope.baddbmm_(covariance[:, :, k, None], change[:, None])
                changed += moved
        if changed <= _SETTLED * chosen.numel():
            break
    return chosen
