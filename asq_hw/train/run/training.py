"""The training loop: SGD on a half cosine, evaluated and saved after every epoch.

On a CPU the result depends on the recipe and the number of threads and processes alone: a run
that was stopped, even killed, and resumed ends with the same bits as one that never was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from asq_hw.atomicfile import make_folder
from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec
from asq_hw.train.batch_norm import freeze_batch_norm, share_batch_norm
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.checkpoints.soundness import check_state
from asq_hw.train.data.batches import Batch, normalise, training_batches, training_steps
from asq_hw.train.data.trained_images import training_data
from asq_hw.train.distributed import Processes, join_processes
from asq_hw.train.evaluation import evaluate, predict
from asq_hw.train.export.rehearsal import check_export
from asq_hw.train.recipes import Recipe
from asq_hw.train.run.log import LOG, RunLog, batch_norm_statistics, watch_betas
from asq_hw.train.run.optimizer import learning_rate, make_optimizer
from asq_hw.train.run.progress import Progress, Report, TrainingResult
from asq_hw.train.starting_point import autocast, new_model, start_steps

__all__ = ["BEST", "LAST", "LOG", "Progress", "TrainingResult", "evaluate", "predict", "train"]

BEST = "best.pt"
"""Checkpoint of the epoch with the highest test accuracy, without what resuming needs."""
LAST = "last.pt"
"""Checkpoint of the latest whole epoch."""

REPORT_EVERY = {"cpu": 1, "cuda": 20}
"""Steps between reports; reading the loss of a GPU waits for it."""

_MOST_TASKS = 4096
"""Threads, or processes that read images."""

_SEED_STRIDE = 1_000_003
"""Keeps the seeds of one run's epochs apart from those of another's."""


def train(
    recipe: Recipe,
    *,
    output: Path,
    init: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    workers: int = 0,
    device: str = "auto",
    log_dir: Path | None = None,
    report: Report | None = None,
    must_export: bool = True,
) -> TrainingResult:
    """Train a network and leave ``last.pt``, ``best.pt`` and ``log.jsonl`` in `output`.

    Where ``torchrun`` started several processes, each calls this with the same arguments, and
    process 0 writes.

    Parameters
    ----------
    recipe : Recipe
        What to train, and how.
    output : Path
        Folder of the run, seen by every process; made if missing.
    init : Path, optional
        Checkpoint of the full-precision network to start from.
    resume : bool
        Go on from ``last.pt`` in `output`; from the beginning if there is none yet.
    threads : int, optional
        Threads that torch uses in this process; its own default otherwise.
    workers : int
        Processes that read images in folders, for each one that trains; 0 reads them in it.
    device : {'auto', 'cpu', 'cuda'}
        Where to train; auto takes a GPU if there is one.
    log_dir : Path, optional
        Folder for TensorBoard's files.
    report : callable, optional
        Called in process 0 with `Progress` after every batch (on a GPU, every 20) and every
        epoch.
    must_export : bool
        Refuse a network that `export` would refuse, before its first step.

    Raises
    ------
    InputError
        If an input cannot be used, `output` holds another run, or the loss diverges.
    """
    for what, count, least in (("threads", threads, 1), ("workers", workers, 0)):
        if count is not None and count < least:
            raise InputError(f"{what} must be at least {least}, not {count}")
        if count is not None and count > _MOST_TASKS:
            raise InputError(f"{what} must be at most {_MOST_TASKS}, not {count}")
    if not str(output).strip():
        raise InputError("output must be a path, not an empty string")
    started = time.monotonic()
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng(devices=[]), join_processes(device) as processes:
            run = _Run(
                recipe,
                output=output,
                init=init,
                resume=resume,
                processes=processes,
                must_export=must_export,
            )
            run.finish(
                report if report and processes.is_main else _say_nothing,
                workers=workers,
                log_dir=log_dir,
            )
    finally:
        torch.set_num_threads(before)
    return TrainingResult(
        best=output / BEST,
        last=output / LAST,
        best_accuracy=run.best_accuracy,
        accuracy=run.accuracy,
        seconds=time.monotonic() - started,
    )


def _say_nothing(progress: Progress) -> None:
    del progress


class _Run:
    """One run: the model, the optimizer and the generator that move on together."""

    def __init__(
        self,
        recipe: Recipe,
        *,
        output: Path,
        init: Path | None,
        resume: bool,
        processes: Processes,
        must_export: bool,
    ) -> None:
        self.recipe, self.output, self.processes = recipe, output, processes
        self.training_data, self.test_data, self.images = training_data(recipe)
        self.steps = training_steps(self.training_data, recipe, processes.share)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.epoch, self.accuracy, self.best_accuracy = 0, 0.0, -1.0
        saved = self._saved(resume)
        processes.wait()  # every process has looked before process 0 writes
        torch.manual_seed(recipe.seed)
        if saved is None:
            self.model = new_model(recipe, init, **_shape(self.images))
            if must_export:
                check_export(self.model, recipe, self.training_data, self.images)
        else:
            self.model = saved.build_model()
        # Convolutions here read the channels of a pixel together.
        self.model.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.model, recipe)
        if saved is None:
            self._save(LAST, accuracy=None)
        else:
            self._restore(saved)
        self.network = self._parallel(is_new=self.epoch == 0)

    def _saved(self, resume: bool) -> Checkpoint | None:
        """Find the checkpoint to go on from, and make sure that no other run is overwritten."""
        path = self.output / LAST
        make_folder(self.output, "output")
        if self.processes.is_main:
            self._remove_leftovers()
        if not path.exists():
            return None
        saved = checkpoints.load(path)
        if saved.epoch == 0:  # it failed before its first epoch was over: nothing is lost
            return None
        if not resume:
            raise InputError(
                f"output {self.output} holds a run already: resume it, or name another folder"
            )
        if saved.recipe != self.recipe:
            raise InputError(f"{path} is a run of another recipe, {saved.recipe.name}: not resumed")
        if saved.images is not None and saved.images != self.images:
            raise InputError(
                f"{path} is a run on other images or classes than {self.recipe.dataset} holds now: "
                "not resumed"
            )
        return saved

    def _remove_leftovers(self) -> None:
        """Remove what a killed run had begun to write."""
        for name in (LAST, BEST, LOG):
            for path in self.output.glob(f".{name}.*.tmp"):
                path.unlink(missing_ok=True)

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

    def _parallel(self, *, is_new: bool) -> nn.Module:
        """Return the network as all processes train it together."""
        if self.processes.count == 1:
            return self.model
        if is_new and self.recipe.is_quantized and self.processes.is_main:
            self._start_steps()
        if self.recipe.sync_batch_norm:
            share_batch_norm(self.model)
        return self.processes.parallel(self.model)

    def _start_steps(self) -> None:
        before = self.generator.get_state()
        images, _ = next(
            training_batches(self.training_data, self.recipe, generator=self.generator)
        )
        self.generator.set_state(before)
        self._training_mode(self.model)
        start_steps(self.model, self._input(images), self.recipe)

    def finish(self, report: Report, *, workers: int, log_dir: Path | None) -> None:
        """Train every epoch that is left."""
        if not self.processes.is_main:
            self._finish(report, workers, None)
            return
        log = RunLog(self.output / LOG, epochs=self.epoch, tensorboard=log_dir)
        with log:
            self._finish(report, workers, log)

    def _finish(self, report: Report, workers: int, log: RunLog | None) -> None:
        while self.epoch < self.recipe.epochs:
            started = time.monotonic()
            loss = self._train_epoch(report, workers)
            seconds = time.monotonic() - started
            self.epoch += 1
            check_state(self.model.state_dict(), f"the network after epoch {self.epoch}")
            entry = self._evaluate(loss, workers)
            self._keep(log, entry, self.steps * self.recipe.batch_size / seconds)
            last = self._progress(self.epoch, self.steps, loss)
            report(replace(last, accuracy=self.accuracy))

    def _evaluate(self, loss: float, workers: int) -> dict[str, Any]:
        """Measure what the epoch has brought; what is returned is its line of the log."""
        with watch_betas(self.model) as betas:
            self.accuracy = evaluate(
                self.model, self.test_data, processes=self.processes, workers=workers
            )
        return {
            "epoch": self.epoch,
            "loss": loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "top1": self.accuracy,
            "beta": betas.result(self.processes),
            "batch_norm": batch_norm_statistics(self.model),
        }

    def _keep(self, log: RunLog | None, entry: dict[str, Any], images_per_second: float) -> None:
        """Write the log, then what it tells of: a line too many is dropped when resuming."""
        if log is not None:
            log.add(entry, images_per_second=images_per_second)
        if self.accuracy > self.best_accuracy:
            self.best_accuracy = self.accuracy
            self._save(BEST, accuracy=self.accuracy, resumable=False)
        self._save(LAST, accuracy=self.accuracy)

    def _train_epoch(self, report: Report, workers: int) -> float:
        recipe, processes = self.recipe, self.processes
        self._training_mode(self.network)
        # Dropout draws from torch's generator; nothing else does.
        torch.manual_seed(
            (recipe.seed * _SEED_STRIDE + self.epoch) * processes.count + processes.rank
        )
        batches = training_batches(
            self.training_data,
            recipe,
            generator=self.generator,
            epoch=self.epoch,
            share=processes.share,
            workers=workers,
        )
        total = torch.zeros((), dtype=torch.float64, device=processes.device)
        for step in range(self.steps):
            total += self._step(islice(batches, recipe.accumulate), step)
            done = step + 1
            if done % REPORT_EVERY[processes.device.type] == 0 or done == self.steps:
                mean = float(total) / done
                self._check_loss(mean)
                report(self._progress(self.epoch + 1, done, mean))
        return mean

    def _training_mode(self, model: nn.Module) -> None:
        model.train()
        if self.epoch >= self.recipe.epochs - self.recipe.freeze_bn_epochs:
            freeze_batch_norm(model)

    def _step(self, parts: Iterator[Batch], step: int) -> Tensor:
        """Learn from one batch, part by part, and return its mean loss over all processes."""
        recipe = self.recipe
        rate = learning_rate(recipe, self.epoch * self.steps + step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.processes.device)
        for index, (images, labels) in enumerate(parts):
            with self._reduction(is_last=index == recipe.accumulate - 1):
                loss = self._loss(images, labels) / recipe.accumulate
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            total += loss.detach()
        self.optimizer.step()
        return self.processes.reduce(total) / self.processes.count

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        with autocast(self.recipe, self.processes.device):
            logits = self.network(self._input(images))
        return functional.cross_entropy(
            logits.float(),
            labels.to(self.processes.device, non_blocking=True),
            label_smoothing=self.recipe.label_smoothing,
        )

    def _input(self, images: Tensor) -> Tensor:
        data = self.training_data
        moved = images.to(self.processes.device, non_blocking=True)
        return normalise(moved, mean=data.mean, std=data.std)

    def _reduction(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """Average gradients over the processes once in a step, with those of the last part."""
        if isinstance(self.network, DistributedDataParallel) and not is_last:
            return self.network.no_sync()
        return nullcontext()

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged in epoch {self.epoch + 1}: the loss is {loss}; "
                f"learning_rate must be lower than {self.recipe.learning_rate}"
            )

    def _progress(self, epoch: int, batch: int, loss: float) -> Progress:
        return Progress(
            epoch=epoch,
            epochs=self.recipe.epochs,
            batch=batch,
            batches=self.steps,
            loss=loss,
            learning_rate=self.optimizer.param_groups[0]["lr"],
        )

    def _save(self, name: str, *, accuracy: float | None, resumable: bool = True) -> None:
        if not self.processes.is_main:
            return
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
            images=self.images,
            **_shape(self.images),
        )
        checkpoints.save(self.output / name, checkpoint)


def _shape(images: ImageSpec) -> dict[str, int]:
    return {"in_channels": images.shape[0], "num_classes": len(images.classes)}
