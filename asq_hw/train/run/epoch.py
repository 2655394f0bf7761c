"""One epoch: SGD over all training images, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from asq_hw.errors import InputError
from asq_hw.train.data.batches import Batch, training_batches
from asq_hw.train.data.trained_images import AnyDataset
from asq_hw.train.distributed import Processes
from asq_hw.train.run.optimizer import learning_rate, set_learning_rate
from asq_hw.train.run.progress import Progress, Report
from asq_hw.train.run.state import TrainingState
from asq_hw.train.starting_point import autocast, network_input

__all__ = ["REPORT_EVERY", "EpochTrainer"]

REPORT_EVERY = {"cpu": 1, "cuda": 20}
"""Steps between reports; reading the loss of a GPU waits for it."""

_SEED_STRIDE = 1_000_003
"""Keeps the seeds of one run's epochs apart from those of another's."""


class EpochTrainer:
    """Trains a network for an epoch at a time.

    Parameters
    ----------
    state : TrainingState
        What is trained.
    network : nn.Module
        Its model, or what averages the model's gradients over the processes.
    training : Dataset or ImageFolder
        The training images.
    processes : Processes
        Those that train together.
    steps : int
        Steps in an epoch.
    workers : int
        Processes that read images in folders; 0 reads them here.
    """

    def __init__(
        self,
        state: TrainingState,
        network: nn.Module,
        training: AnyDataset,
        processes: Processes,
        *,
        steps: int,
        workers: int,
    ) -> None:
        self.state, self.network, self.training = state, network, training
        self.processes, self.steps, self.workers = processes, steps, workers

    def train(self, report: Report) -> float:
        """Train for the epoch that comes, and return its mean loss over all processes.

        Raises
        ------
        InputError
            If the loss diverges.
        """
        self.state.enter_training_mode(self.network)
        self._seed_dropout()
        batches = self._batches()
        total = torch.zeros((), dtype=torch.float64, device=self.processes.device)
        for step in range(self.steps):
            total += self._step(islice(batches, self.state.recipe.accumulate), step)
            done = step + 1
            if done % REPORT_EVERY[self.processes.device.type] == 0 or done == self.steps:
                mean = float(total) / done
                self._check_loss(mean)
                report(self.progress(done, mean))
        return mean

    def progress(self, batch: int, loss: float) -> Progress:
        """Where the epoch in work stands after so many batches."""
        return Progress(
            epoch=self.state.epoch + 1,
            epochs=self.state.recipe.epochs,
            batch=batch,
            batches=self.steps,
            loss=loss,
            learning_rate=self.state.learning_rate,
        )

    def _seed_dropout(self) -> None:
        """Dropout draws from torch's generator; nothing else does."""
        run = self.state.recipe.seed * _SEED_STRIDE + self.state.epoch
        torch.manual_seed(run * self.processes.count + self.processes.rank)

    def _batches(self) -> Iterator[Batch]:
        return training_batches(
            self.training,
            self.state.recipe,
            generator=self.state.generator,
            epoch=self.state.epoch,
            share=self.processes.share,
            workers=self.workers,
        )

    def _step(self, parts: Iterator[Batch], step: int) -> Tensor:
        """Learn from one batch, part by part, and return its mean loss over all processes."""
        recipe, optimizer = self.state.recipe, self.state.optimizer
        step += self.state.epoch * self.steps
        set_learning_rate(optimizer, learning_rate(recipe, step, self.steps))
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.processes.device)
        for index, (images, labels) in enumerate(parts):
            with self._reduction(is_last=index == recipe.accumulate - 1):
                loss = self._loss(images, labels) / recipe.accumulate
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += loss.detach()
        optimizer.step()
        return self.processes.reduce(total) / self.processes.count

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        recipe, device = self.state.recipe, self.processes.device
        with autocast(recipe, device):
            logits = self.network(network_input(images, self.training, device))
        return functional.cross_entropy(
            logits.float(),
            labels.to(device, non_blocking=True),
            label_smoothing=recipe.label_smoothing,
        )

    def _reduction(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """Average gradients over the processes once in a step, with those of the last part."""
        if isinstance(self.network, DistributedDataParallel) and not is_last:
            return self.network.no_sync()
        return nullcontext()

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged in epoch {self.state.epoch + 1}: the loss is {loss}; "
                f"learning_rate must be lower than {self.state.recipe.learning_rate}"
            )
