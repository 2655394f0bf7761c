"""The training loop: SGD on a half cosine, evaluated and saved after every epoch.

On a CPU the result depends on the recipe and the number of threads alone: a run that was
stopped, even killed, and resumed ends with the same bits as one that never was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from asq_hw import datasets
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError
from asq_hw.train import checkpoint as checkpoints
from asq_hw.train.checkpoint import Checkpoint
from asq_hw.train.convert import quantize
from asq_hw.train.data import normalise, training_batches
from asq_hw.train.models import build
from asq_hw.train.optimizer import learning_rate, make_optimizer
from asq_hw.train.recipes import Recipe

__all__ = ["BEST", "LAST", "Progress", "TrainingResult", "evaluate", "predict", "train"]

BEST = "best.pt"
"""Checkpoint of the epoch with the highest test accuracy, without what resuming needs."""
LAST = "last.pt"
"""Checkpoint of the latest whole epoch."""

EVALUATION_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training run stands; reported after every batch and every epoch.

    Parameters
    ----------
    epoch, epochs : int
        The epoch in work, from 1, and their number.
    batch, batches : int
        Batches done in it, and their number.
    loss : float
        Mean training loss of the epoch so far.
    learning_rate : float
        Rate of the latest step.
    accuracy : float or None
        Test accuracy, on the report that ends an epoch.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    learning_rate: float
    accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a finished run leaves.

    Parameters
    ----------
    best, last : Path
        Checkpoints of the most accurate and of the final epoch.
    best_accuracy, accuracy : float
        Their test accuracies. The best epoch was chosen on the test images, so its
        accuracy is the more flattering of the two.
    seconds : float
        Wall time of this call.
    """

    best: Path
    last: Path
    best_accuracy: float
    accuracy: float
    seconds: float


Report = Callable[[Progress], None]


def train(
    recipe: Recipe,
    *,
    output: Path,
    init: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    report: Report | None = None,
) -> TrainingResult:
    """Train a network and leave ``last.pt`` and ``best.pt`` in `output`.

    Parameters
    ----------
    recipe : Recipe
        What to train, and how.
    output : Path
        Folder of the run; made if missing.
    init : Path, optional
        Checkpoint of the full-precision network to start from.
    resume : bool
        Go on from ``last.pt`` in `output`; from the beginning if there is none yet.
    threads : int, optional
        Threads that torch uses; its own default otherwise.
    report : callable, optional
        Called with `Progress` after every batch and every epoch.

    Raises
    ------
    InputError
        If an input cannot be used, `output` holds another run, or the loss diverges.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    started = time.monotonic()
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng(devices=[]):
            run = _Run(recipe, output=output, init=init, resume=resume)
            run.finish(report or (lambda progress: None))
    finally:
        torch.set_num_threads(before)
    return TrainingResult(
        best=output / BEST,
        last=output / LAST,
        best_accuracy=run.best_accuracy,
        accuracy=run.accuracy,
        seconds=time.monotonic() - started,
    )


class _Run:
    """One run: the model, the optimizer and the generator that move on together."""

    def __init__(self, recipe: Recipe, *, output: Path, init: Path | None, resume: bool) -> None:
        self.recipe, self.output = recipe, output
        self.training_data = datasets.load(recipe.dataset, split="train")
        self.test_data = datasets.load(recipe.dataset, split="test")
        self.batches = len(self.training_data) // recipe.batch_size
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.epoch, self.accuracy, self.best_accuracy = 0, 0.0, -1.0
        saved = self._saved(resume)
        torch.manual_seed(recipe.seed)
        if saved is None:
            self.model = self._start(init)
            self.optimizer = make_optimizer(self.model, recipe)
            self._save(LAST, accuracy=None)
        else:
            self.model = saved.build_model()
            self.optimizer = make_optimizer(self.model, recipe)
            self._restore(saved)

    def _saved(self, resume: bool) -> Checkpoint | None:
        """Find the checkpoint to go on from, and make sure that no other run is overwritten."""
        path = self.output / LAST
        if not path.exists():
            self._make_output()
            return None
        if not resume:
            raise InputError(
                f"output {self.output} holds a run already: resume it, or name another folder"
            )
        saved = checkpoints.load(path)
        if saved.recipe != self.recipe:
            raise InputError(f"{path} is a run of another recipe, {saved.recipe.name}: not resumed")
        return saved

    def _make_output(self) -> None:
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"output {self.output} could not be made: {error.strerror}") from None

    def _start(self, init: Path | None) -> nn.Module:
        """Make the network: fresh, or from a full-precision one, and quantized by the recipe."""
        recipe = self.recipe
        if init is None:
            shape = _shape(self.training_data)
            model = build(recipe.model, width=recipe.width, **shape)
        else:
            source = checkpoints.load(init)
            if source.recipe.is_quantized:
                raise InputError(
                    f"init {init} must be a full-precision network, not a quantized one"
                )
            found, wanted = source.recipe, (recipe.model, recipe.width)
            if (found.model, found.width) != wanted:
                raise InputError(
                    f"init {init} must be a {recipe.model} of width {recipe.width}, "
                    f"not a {found.model} of width {found.width}"
                )
            model = source.build_model()
        return _channels_last(quantize(model, recipe))

    def _restore(self, saved: Checkpoint) -> None:
        state = saved.training
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["generator"])
            self.best_accuracy = float(state["best_accuracy"])
        except (KeyError, TypeError, ValueError, RuntimeError):
            path = self.output / LAST
            raise InputError(f"{path} does not hold what resuming needs") from None
        self.epoch, self.accuracy = saved.epoch, saved.accuracy or 0.0
        _channels_last(self.model)

    def finish(self, report: Report) -> None:
        """Train every epoch that is left."""
        while self.epoch < self.recipe.epochs:
            loss = self._train_epoch(report)
            self.epoch += 1
            self.accuracy = evaluate(self.model, self.test_data)
            if self.accuracy > self.best_accuracy:
                self.best_accuracy = self.accuracy
                self._save(BEST, accuracy=self.accuracy, resumable=False)
            self._save(LAST, accuracy=self.accuracy)
            last = self._progress(self.epoch, self.batches, loss)
            report(replace(last, accuracy=self.accuracy))

    def _train_epoch(self, report: Report) -> float:
        recipe = self.recipe
        self.model.train()
        if self.epoch >= recipe.epochs - recipe.freeze_bn_epochs:
            _freeze_batch_norm(self.model)
        total, batch = 0.0, 0
        for images, labels in training_batches(
            self.training_data,
            batch_size=recipe.batch_size,
            crop_padding=recipe.crop_padding,
            flip=recipe.flip,
            generator=self.generator,
        ):
            total += self._step(images, labels, batch)
            batch += 1
            report(self._progress(self.epoch + 1, batch, total / batch))
        return total / batch

    def _step(self, images: Tensor, labels: Tensor, batch: int) -> float:
        recipe = self.recipe
        rate = learning_rate(recipe, self.epoch * self.batches + batch, self.batches)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
            logits = self.model(images)
        loss = functional.cross_entropy(
            logits.float(), labels, label_smoothing=recipe.label_smoothing
        )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InputError(
                f"training diverged in epoch {self.epoch + 1}: the loss is {value}; "
                f"learning_rate must be lower than {recipe.learning_rate}"
            )
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimizer.step()
        return value

    def _progress(self, epoch: int, batch: int, loss: float) -> Progress:
        return Progress(
            epoch=epoch,
            epochs=self.recipe.epochs,
            batch=batch,
            batches=self.batches,
            loss=loss,
            learning_rate=self.optimizer.param_groups[0]["lr"],
        )

    def _save(self, name: str, *, accuracy: float | None, resumable: bool = True) -> None:
        state: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "best_accuracy": self.best_accuracy,
        }
        checkpoint = Checkpoint(
            recipe=self.recipe,
            epoch=self.epoch,
            accuracy=accuracy,
            weights=self.model.state_dict(),
            training=state if resumable else {},
            **_shape(self.training_data),
        )
        checkpoints.save(self.output / name, checkpoint)


def _shape(dataset: Dataset) -> dict[str, int]:
    return {"in_channels": dataset.images.shape[1], "num_classes": len(dataset.classes)}


def _channels_last(model: nn.Module) -> nn.Module:
    """Lay the weights out for convolutions that read the channels of a pixel together."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch
    return model


def _freeze_batch_norm(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


@torch.inference_mode()
def predict(
    model: nn.Module, dataset: Dataset, batch_size: int = EVALUATION_BATCH
) -> NDArray[np.int64]:
    """Return the class that the network gives each image, as int64 of shape ``(N,)``.

    The network runs in float32 and in evaluation mode, and is left in that mode.
    """
    model.eval()
    classes = []
    for start in range(0, len(dataset), batch_size):
        # A copy: torch does not take read-only arrays.
        images = torch.from_numpy(dataset.images[start : start + batch_size].copy())
        logits = model(normalise(images, mean=dataset.mean, std=dataset.std))
        classes.append(logits.argmax(dim=1).numpy())
    return np.concatenate(classes).astype(np.int64)


def evaluate(model: nn.Module, dataset: Dataset, batch_size: int = EVALUATION_BATCH) -> float:
    """Return the share of a labelled dataset that the network classifies right.

    Raises
    ------
    InputError
        If the dataset has no labels.
    """
    if dataset.labels is None:
        raise InputError(f"dataset {dataset.name} has no labels to evaluate with")
    return float(np.mean(predict(model, dataset, batch_size) == dataset.labels))
