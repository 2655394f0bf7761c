"""The training loop: SGD on a half cosine, saved after every epoch and evaluated after some.

On a CPU the result depends on the recipe and the number of threads and processes alone: a run
that was stopped, even killed, and resumed ends with the same bits as one that never was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.train.checkpoints.soundness import check_state
from asq_hw.train.data.batches import training_steps
from asq_hw.train.data.trained_images import AnyDataset, TrainingData, training_data
from asq_hw.train.distributed import Processes, join_processes
from asq_hw.train.evaluation import evaluate
from asq_hw.train.lost_channels import lost_channels
from asq_hw.train.options import Device
from asq_hw.train.recipes import Recipe
from asq_hw.train.run.beginning import begin, enter_integers, join_training, use_compiled_loops
from asq_hw.train.run.epoch import EpochTrainer
from asq_hw.train.run.folder import RunFolder
from asq_hw.train.run.log import RunLog, batch_norm_statistics, watch_betas
from asq_hw.train.run.progress import Progress, Report, TrainingResult
from asq_hw.train.run.state import TrainingState
from asq_hw.train.threads import limited_threads

__all__ = ["train"]

_MOST_TASKS = 4096
"""Threads, or processes that read images."""


def train(
    recipe: Recipe,
    *,
    output: Path,
    init: Path | None = None,
    resume: bool = False,
    threads: int | None = None,
    workers: int = 0,
    device: str = Device.AUTO,
    compiled: bool = False,
    eval_every: int = 1,
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
    compiled : bool
        On a CPU, let quantizers round in loops that Numba compiles. Gradients of steps and alphas
        are then sums in another order.
    eval_every : int
        Epochs from one measurement of the test accuracy and of the adapters' betas to the next; the
        last epoch is always measured. The network learns the same.
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
        If an input cannot be used or would be overwritten, `output` holds another run, or the loss
        diverges.
    """
    _check_count("threads", 1 if threads is None else threads, least=1)
    _check_count("workers", workers, least=0)
    _check_count("eval_every", eval_every, least=1)
    if not str(output).strip():
        raise InputError("output must be a path, not an empty string")
    check_outputs({"output": output, "log_dir": log_dir}, {"init": init, "dataset": recipe.dataset})
    started = time.monotonic()
    with _surroundings(threads, device) as processes:
        data = training_data(recipe)
        steps = training_steps(data.training, recipe, processes.share)
        folder = RunFolder(output, writes=processes.is_main)
        state = begin(recipe, init, folder, data, processes, resume=resume, must_export=must_export)
        if compiled:
            use_compiled_loops(state, processes.device)
        network = join_training(state, data.training, processes)
        trainer = EpochTrainer(
            state, network, data.training, processes, steps=steps, workers=workers
        )
        heard = report if report and processes.is_main else _say_nothing
        with _opened_log(folder, state, log_dir) as log:
            _train_epochs(trainer, data, folder, log, heard, eval_every)
    if state.accuracy is None:
        raise InputError(f"{folder.last} is a finished run without its accuracy: train it again")
    return TrainingResult(
        best=folder.best,
        last=folder.last,
        best_accuracy=state.best_accuracy,
        accuracy=state.accuracy,
        seconds=time.monotonic() - started,
        lost_channels=lost_channels(state.model),
    )


def _check_count(what: str, count: int, *, least: int) -> None:
    if count < least:
        raise InputError(f"{what} must be at least {least}, not {count}")
    if count > _MOST_TASKS:
        raise InputError(f"{what} must be at most {_MOST_TASKS}, not {count}")


@contextmanager
def _surroundings(threads: int | None, device: str) -> Iterator[Processes]:
    """The processes that train; torch's threads and generator are afterwards as they were."""
    with (
        limited_threads(threads),
        torch.random.fork_rng(devices=[]),
        join_processes(device) as processes,
    ):
        yield processes


def _say_nothing(progress: Progress) -> None:
    del progress


def _opened_log(
    folder: RunFolder, state: TrainingState, tensorboard: Path | None
) -> AbstractContextManager[RunLog | None]:
    """The run's log, in the process that writes."""
    if not folder.writes:
        return nullcontext()
    return RunLog(folder.log, epochs=state.epoch, tensorboard=tensorboard)


def _train_epochs(
    trainer: EpochTrainer,
    data: TrainingData,
    folder: RunFolder,
    log: RunLog | None,
    report: Report,
    eval_every: int,
) -> None:
    """Train every epoch that is left; save after each, and evaluate after some."""
    state = trainer.state
    while state.epoch < state.recipe.epochs:
        enter_integers(state, data.training)
        started = time.monotonic()
        loss = trainer.train(report)
        seconds = time.monotonic() - started
        last = trainer.progress(trainer.steps, loss)
        state.epoch += 1
        check_state(state.model.state_dict(), f"the network after epoch {state.epoch}")
        is_measured = state.epoch % eval_every == 0 or state.epoch == state.recipe.epochs
        measured = _evaluate(trainer, data.test) if is_measured else {}
        state.accuracy = measured.get("top1")
        entry = _entry(state, loss, measured)
        if log is not None:
            images = trainer.steps * state.recipe.batch_size
            log.add(entry, images_per_second=images / seconds)
        _save(state, folder)
        report(replace(last, ended=True, accuracy=state.accuracy))


def _entry(state: TrainingState, loss: float, measured: Mapping[str, Any]) -> dict[str, Any]:
    """The line of the log for the epoch that is over."""
    return {
        "epoch": state.epoch,
        "loss": loss,
        "learning_rate": state.learning_rate,
        **measured,
        "batch_norm": batch_norm_statistics(state.model),
        "lost_channels": lost_channels(state.model),
    }


def _evaluate(trainer: EpochTrainer, test: AnyDataset) -> dict[str, Any]:
    """What the epoch has brought: test accuracy, and the adapters' betas over the same images."""
    state, processes = trainer.state, trainer.processes
    with watch_betas(state.model) as betas:
        top1 = evaluate(state.model, test, processes=processes, workers=trainer.workers)
    return {"top1": top1, "beta": betas.result(processes)}


def _save(state: TrainingState, folder: RunFolder) -> None:
    """Write what the log tells of already: a line too many is dropped when resuming."""
    if state.raise_best():
        folder.save(folder.best, state.checkpoint(resumable=False))
    folder.save(folder.last, state.checkpoint())
