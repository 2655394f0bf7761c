"""SGD as the paper trains: which parameters decay, and the learning rate of every step."""

from __future__ import annotations

import math

import torch
from torch import nn

from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.recipes import Recipe

__all__ = ["decayed_parameters", "learning_rate", "make_optimizer"]


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


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """Make SGD with momentum, with weight decay on `decayed_parameters` only."""
    decayed = decayed_parameters(model)
    chosen = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    return torch.optim.SGD(
        [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
    )


def learning_rate(recipe: Recipe, step: int, batches: int) -> float:
    """The rate of a step, counted from 0, with `batches` steps in an epoch.

    A linear rise over the warm-up, then half a cosine down to zero, without restarts.
    """
    warmup = recipe.warmup_epochs * batches
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, recipe.epochs * batches - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
