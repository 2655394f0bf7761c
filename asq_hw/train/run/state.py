"""What moves on together while a network trains, and goes into a checkpoint together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec
from asq_hw.train.batch_norm import freeze_batch_norm
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.export.forward import ranges_of
from asq_hw.train.recipes import Recipe

__all__ = ["TrainingState"]


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """A network in training.

    Parameters
    ----------
    recipe : Recipe
        How it is trained.
    images : ImageSpec
        What it takes, and the classes that it tells apart.
    model : nn.Module
        The network, on its device.
    optimizer : torch.optim.SGD
        Its optimizer.
    generator : torch.Generator
        Draws the order of the images and their augmentation.
    start : str or None
        Digest of the weights that training began with, if they were somebody's.
    epoch : int
        Epochs that are done.
    accuracy : float or None
        Test accuracy of the latest epoch, if it was measured.
    best_accuracy : float
        Test accuracy of the most accurate epoch that was.
    """

    recipe: Recipe
    images: ImageSpec
    model: nn.Module
    optimizer: torch.optim.SGD
    generator: torch.Generator
    start: str | None = None
    epoch: int = 0
    accuracy: float | None = None
    best_accuracy: float = -1.0

    @property
    def learning_rate(self) -> float:
        """Rate of the latest step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def enter_training_mode(self, network: nn.Module) -> None:
        """Put the network, or what wraps it, into the mode of the epoch that comes."""
        network.train()
        if self.epoch >= self.recipe.epochs - self.recipe.freeze_bn_epochs:
            freeze_batch_norm(network)

    def raise_best(self) -> bool:
        """Note the latest accuracy as the best, if none before was as high; whether it was so."""
        if self.accuracy is None or self.accuracy <= self.best_accuracy:
            return False
        self.best_accuracy = self.accuracy
        return True

    def checkpoint(self, *, resumable: bool = True) -> Checkpoint:
        """What is saved: with what resuming needs, or the network alone."""
        training: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "best_accuracy": self.best_accuracy,
        }
        return Checkpoint(
            recipe=self.recipe,
            epoch=self.epoch,
            accuracy=self.accuracy,
            weights=self.model.state_dict(),
            training=training if resumable else {},
            images=self.images,
            start=self.start,
            in_channels=self.images.shape[0],
            num_classes=len(self.images.classes),
            ranges=ranges_of(self.model),
        )

    def restore(self, saved: Checkpoint, path: Path) -> None:
        """Go on from a checkpoint; the network has its weights already.

        Raises
        ------
        InputError
            If it does not hold what resuming needs; the message names its path.
        """
        training = saved.training
        try:
            self.optimizer.load_state_dict(training["optimizer"])
            self.generator.set_state(training["generator"])
            self.best_accuracy = float(training["best_accuracy"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise InputError(f"{path} does not hold what resuming needs") from None
        self.epoch, self.accuracy = saved.epoch, saved.accuracy
        self.start = saved.start
