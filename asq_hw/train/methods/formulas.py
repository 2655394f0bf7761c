"""The staircases of the methods, in units of a step: what acts, and what gives the gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from asq_hw.train.quantizers.gradients import with_gradient_of

__all__ = [
    "DAQ_ACTIVATION_SIGMA",
    "DAQ_WEIGHT_SIGMA",
    "DSQ_ALPHA",
    "distance_aware_round",
    "interval_transform",
    "soft_staircase_round",
    "straight_round",
]

DSQ_ALPHA = 0.2
"""DSQ's first characteristic variable."""
DSQ_ALPHA_RANGE = (0.01, 0.49)
"""Beyond, the staircase is as steep as the hard one, or no staircase any more."""
DAQ_GAMMA = 2.0
"""DAQ's gamma: the soft assignment that the temperature keeps, before it is stretched."""
DAQ_WEIGHT_SIGMA, DAQ_ACTIVATION_SIGMA = 1.0, 2.0
"""Widths of DAQ's kernels, in levels, as its authors' code sets them."""


def straight_round(x: Tensor) -> Tensor:
    """Round to integers, ties to even; the gradient passes as if nothing had happened."""
    return with_gradient_of(x, x.detach().round())


def soft_staircase_round(ratio: Tensor, alpha: Tensor) -> Tensor:
    """Round as DSQ does (Gong et al., arXiv:1908.05033, Eq. 3-8).

    Between the integers i and i + 1 the asymptotic function is
    ``phi = s * tanh(k * (r - i - 1/2))`` with ``s = 1 / (1 - alpha)`` and
    ``k = ln(2 / alpha - 1)`` in units of the interval, so that the pieces meet at the integers.
    Forward its sign counts, ``i + (sgn(phi) + 1) / 2``, which is rounding; backward the soft
    staircase ``i + (phi + 1) / 2`` stands in its place, for the input and for alpha.

    Parameters
    ----------
    ratio : float tensor
        The input in units of the interval, clipped.
    alpha : float tensor of shape ``()``
        The characteristic variable; smaller is steeper.
    """
    steep = alpha.clamp(*DSQ_ALPHA_RANGE)
    lower = ratio.detach().floor()
    slope = torch.log(2 / steep - 1)
    phi = torch.tanh(slope * (ratio - lower - 0.5)) / (1 - steep)
    return with_gradient_of(lower + (phi + 1) / 2, ratio.detach().round())


def distance_aware_round(ratio: Tensor, sigma: float) -> Tensor:
    """Round as DAQ does (Kim et al., arXiv:2108.06983, distance-aware soft rounding).

    The two neighboring integers score ``exp(-distance)``, the farther one also times the kernel
    ``exp(-1 / sigma**2)``, and a soft argmax with temperature shares the input among them:
    ``i + sigmoid(beta * (upper - lower))``. The temperature follows the distance,
    ``beta = gamma / |upper - lower|``, so that the share is always ``sigmoid(+-gamma)``;
    stretched to 0 and 1 that is rounding. Backward beta and the kernel are constants and the soft
    argmax of the scores gives the gradient: largest where the neighbors are equally far.

    Parameters
    ----------
    ratio : float tensor
        The input in units of the step, clipped.
    sigma : float
        Width of the kernel, in levels.
    """
    lower = ratio.detach().floor()
    fraction = ratio - lower
    nearer_upper = fraction.detach() > 0.5
    kernel = math.exp(-1 / sigma**2)
    upper_score = torch.exp(fraction - 1) * torch.where(nearer_upper, 1.0, kernel)
    lower_score = torch.exp(-fraction) * torch.where(nearer_upper, kernel, 1.0)
    gap = upper_score - lower_score
    beta = DAQ_GAMMA / gap.detach().abs()
    share = torch.sigmoid(beta * gap) - 0.5
    stretched = 0.5 + share / math.tanh(DAQ_GAMMA / 2)  # 2 * sigmoid(g) - 1 = tanh(g / 2)
    return with_gradient_of(lower + stretched, ratio.detach().round())


def interval_transform(magnitude: Tensor, center: Tensor, radius: Tensor) -> Tensor:
    """Map QIL's interval onto 0 to 1 (Jung et al., arXiv:1808.05779, Eq. 3).

    ``alpha * |x| + beta`` with ``alpha = 1 / (2 d)`` and ``beta = -c / (2 d) + 1 / 2`` for center c
    and radius d; 0 below the interval (pruned), 1 above it (clipped).
    """
    return ((magnitude - center) / (2 * radius) + 0.5).clamp(0, 1)
