"""SGD as the paper trains: which parameters decay, and the learning rate of every step."""

from __future__ import annotations

import math
from typing import Any, Final

import torch
from torch import nn

from asq_hw.train.quantizers.activations import BaseActivationQuantizer
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.recipes import Recipe

__all__ = [
    "RATE_FACTOR",
    "decayed_parameters",
    "factor_parameters",
    "learning_rate",
    "make_optimizer",
    "set_learning_rate",
]

RATE_FACTOR: Final = "rate_factor"
"""Key of a group of parameters that learns at another rate than the rest."""


def decayed_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What decays: the weights of convolutions and linear layers, and PACT's clips.

    Decay would pull steps and alphas toward zero, and an adapter toward the constant 1,
    whatever the loss says; biases and batch norm are left alone, as is usual. PACT's clip is
    published with a decay: nothing else pulls it below the largest activation.
    """
    adapters = (module for module in model.modules() if isinstance(module, Adapter))
    inside_adapters = {id(module) for adapter in adapters for module in adapter.modules()}
    decayed = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and id(module) not in inside_adapters:
            decayed.append(module.get_parameter("weight"))
        elif isinstance(module, PositiveParameter) and module.decays:
            decayed.append(module.value)
    return decayed


def factor_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What gives the factors on activation steps: adapters, or what is in their place."""
    found = {
        id(parameter): parameter
        for module in model.modules()
        if isinstance(module, BaseActivationQuantizer)
        for parameter in module.factor_parameters()
    }
    return list(found.values())


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Make SGD with momentum, with weight decay on `decayed_parameters` only.

    Where `factor_parameters` learn at another rate than the rest, they are a group with the factor
    on the rate as its ``RATE_FACTOR``.
    """
    decayed = decayed_parameters(model)
    factors = [] if recipe.adapter_rate == 1 else factor_parameters(model)
    chosen = {id(parameter) for parameter in (*decayed, *factors)}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if factors:
        groups.append({"params": factors, "weight_decay": 0.0, RATE_FACTOR: recipe.adapter_rate})
    return torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step have a rate, times each group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)


def learning_rate(recipe: Recipe, step: int, batches: int) -> float:
    """The rate of a step, counted from 0, with `batches` steps in an epoch.

    A linear rise over the warm-up, then half a cosine down to zero, without restarts.
    """
    warmup = recipe.warmup_epochs * batches
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, recipe.epochs * batches - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
