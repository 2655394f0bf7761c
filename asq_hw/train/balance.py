"""How fast a network's learned weight scales move beside the weights themselves.

Balance is LSQ's measure (Esser et al., arXiv:1902.08153, section 2.2): a scale's gradient over the
scale, divided by the norm of the weights' gradient over the norm of the weights. Near 1 both learn
at one pace; far above, the scale is thrown about.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.train.data.batches import training_steps
from asq_hw.train.data.trained_images import training_data
from asq_hw.train.distributed import join_processes
from asq_hw.train.lost_channels import lost_channels
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from asq_hw.train.quantizers.weights import ScaledWeightQuantizer
from asq_hw.train.recipes import Recipe
from asq_hw.train.run.beginning import begin, join_training, use_compiled_loops
from asq_hw.train.run.epoch import EpochTrainer
from asq_hw.train.run.folder import RunFolder
from asq_hw.train.run.progress import Progress
from asq_hw.train.threads import limited_threads

__all__ = ["Balance", "measure_balance"]

_STEPS = 100


@dataclass(slots=True)
class Balance:
    """What was seen of a layer's weights and of their scale, or scales, step by step.

    Parameters
    ----------
    bits : int
        Of the weights.
    scales : int
        How many the layer learns.
    scale_pace, weight_pace : list of float
        Of each step: root mean square of the scales' gradients over the scales, and norm of the
        weights' gradient over the norm of the weights.
    least, largest : float
        Of all scales and steps, over where they started.
    lost : int
        Output channels whose weights all round to 0 after the last step.
    """

    bits: int
    scales: int
    scale_pace: list[float] = field(default_factory=list)
    weight_pace: list[float] = field(default_factory=list)
    least: float = 1.0
    largest: float = 1.0
    lost: int = 0

    @property
    def balance(self) -> float:
        """LSQ's R, of root mean squares over the steps; not a number where no weight moves."""
        weights = math.hypot(*self.weight_pace)
        return math.hypot(*self.scale_pace) / weights if weights else math.nan


def measure_balance(
    recipe: Recipe, init: Path | None, *, steps: int | None = None
) -> dict[str, Balance]:
    """Train for some steps, and watch each layer whose weights have a learned step or alpha.

    Parameters
    ----------
    recipe : Recipe
        What to train, and how; on the CPU, by one process and thread.
    init : Path or None
        The full-precision network to start from.
    steps : int, optional
        Of the recipe's, from the first on; 100 by default, or the first pass where it has fewer.

    Raises
    ------
    InputError
        If there is no such layer, or the training cannot begin or diverges.
    """
    data = training_data(recipe)
    with (
        tempfile.TemporaryDirectory() as scratch,
        limited_threads(1),
        join_processes("cpu") as processes,
    ):
        epoch = training_steps(data.training, recipe, processes.share)
        steps = min(_STEPS, epoch) if steps is None else steps
        if not 1 <= steps <= epoch:
            raise InputError(f"steps must be 1..{epoch}, which is a pass, not {steps}")
        folder = RunFolder(Path(scratch), writes=True)
        state = begin(recipe, init, folder, data, processes, resume=False, must_export=False)
        watched = list(_watched(state.model))
        if not watched:
            raise InputError(f"recipe {recipe.name} must have weights with a learned step or alpha")
        use_compiled_loops(state, processes.device)
        network = join_training(state, data.training, processes)
        trainer = EpochTrainer(state, network, data.training, processes, steps=epoch, workers=0)
        state.optimizer.register_step_pre_hook(lambda *_: _see_all(watched))

        def report(progress: Progress) -> None:
            if progress.batch == steps:
                raise _EnoughError

        with suppress(_EnoughError):
            trainer.train(report)
        lost = lost_channels(state.model.eval())
    for layer in watched:
        layer.balance.lost = lost.get(layer.name, 0)
    return {layer.name: layer.balance for layer in watched}


class _EnoughError(Exception):
    """So many steps as were asked for are done."""


@dataclass(slots=True, kw_only=True)
class _Watched:
    """A layer whose weights have a learned scale, where that started, and what was seen."""

    name: str
    weight: Tensor
    scale: nn.Parameter
    start: Tensor
    balance: Balance


def _watched(model: nn.Module) -> Iterator[_Watched]:
    for name, layer in model.named_modules():
        if not isinstance(layer, QuantConv2d | QuantLinear):
            continue
        quantizer = layer.weight_quantizer
        if isinstance(quantizer, ScaledWeightQuantizer):
            scale = quantizer.learned.value
            yield _Watched(
                name=name,
                weight=layer.weight,
                scale=scale,
                start=scale.detach().clone(),
                balance=Balance(bits=quantizer.grid.bits, scales=scale.numel()),
            )


def _see_all(watched: Iterable[_Watched]) -> None:
    """Note what a step of training is about to move, and where scales stand."""
    for layer in watched:
        weight, scale, balance = layer.weight, layer.scale, layer.balance
        if weight.grad is None or scale.grad is None:
            continue
        with torch.no_grad():
            balance.scale_pace.append(float((scale.grad / scale).square().mean().sqrt()))
            balance.weight_pace.append(float(weight.grad.norm() / weight.norm()))
            moved = scale / layer.start
        balance.least = min(balance.least, float(moved.min()))
        balance.largest = max(balance.largest, float(moved.max()))
