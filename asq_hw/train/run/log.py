"""What a run says of itself: one line of JSON for each epoch, and TensorBoard's files.

The lines hold nothing that depends on the clock, so a run that was stopped and resumed leaves
the same bytes as one that never was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write
from asq_hw.train.distributed import Processes
from asq_hw.train.quantizers.adapter import Adapter

__all__ = ["BetaStatistics", "RunLog", "Statistics", "batch_norm_statistics", "watch_betas"]

Statistics = dict[str, dict[str, float]]
"""Numbers by layer and by name."""


class RunLog:
    """The log of a run, rewritten whole after every epoch.

    Parameters
    ----------
    path : Path
        The file with the lines.
    epochs : int
        Epochs that are done; lines of later ones, which a stopped run may have left before its
        checkpoint, are dropped.
    tensorboard : Path, optional
        Folder for TensorBoard's files.
    """

    def __init__(self, path: Path, *, epochs: int, tensorboard: Path | None = None) -> None:
        self.path = path
        self.lines = _kept_lines(path, epochs)
        self.writer = None if tensorboard is None else _summary_writer(tensorboard, epochs)

    def __enter__(self) -> Self:
        """The log."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write out what TensorBoard still holds back."""
        if self.writer is not None:
            self.writer.close()

    def add(self, entry: Mapping[str, Any], *, images_per_second: float) -> None:
        """Add the line of an epoch; numbers in it, nested or not, go to TensorBoard too."""
        self.lines.append(json.dumps(entry))
        with atomic_write(self.path) as stream:
            stream.write("".join(f"{line}\n" for line in self.lines).encode())
        if self.writer is None:
            return
        for tag, value in _flat({**entry, "images_per_second": images_per_second}):
            self.writer.add_scalar(tag, value, entry["epoch"])
        self.writer.flush()


def _kept_lines(path: Path, epochs: int) -> list[str]:
    """The lines of the epochs that are done; what is no line of ours is dropped."""
    try:
        text = path.read_text(encoding="utf-8") if epochs and path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"log {path} could not be read: {error}") from None
    return [line for line in text.splitlines() if 1 <= _epoch(line) <= epochs]


def _epoch(line: str) -> int:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return 0
    epoch = entry.get("epoch") if isinstance(entry, dict) else None
    return epoch if type(epoch) is int else 0


def _summary_writer(folder: Path, epochs: int) -> Any:
    """TensorBoard's writer, which hides what a stopped run wrote of later epochs."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("log-dir needs TensorBoard: pip install 'asq-hw[train]'") from None
    return SummaryWriter(str(folder), purge_step=epochs + 1 if epochs else None)


def _flat(entry: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in entry.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        elif key != "epoch":
            yield f"{prefix}{key}", float(value)


def batch_norm_statistics(model: nn.Module) -> Statistics:
    """The running mean and variance of every batch norm, averaged over its channels."""
    return {
        name: {"mean": float(module.running_mean.mean()), "var": float(module.running_var.mean())}
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        and module.running_mean is not None
        and module.running_var is not None
    }


class BetaStatistics:
    """Smallest, mean and largest beta of every adapter over the images it has seen.

    And its ``variation``: the deviation over the mean.
    """

    def __init__(self, model: nn.Module) -> None:
        ending = ".activation_quantizer.adapter"
        self.adapters = {
            name.removesuffix(ending): module
            for name, module in model.named_modules()
            if isinstance(module, Adapter)
        }
        count = len(self.adapters)
        self.sums = torch.zeros(count, 3, dtype=torch.float64)
        self.low, self.high = torch.full((count,), torch.inf), torch.full((count,), -torch.inf)

    def see(self, index: int, beta: Tensor) -> None:
        """Count the betas ``(N,)`` of one adapter's images."""
        values = beta.detach().to(device="cpu", dtype=torch.float32)
        exact = values.double()
        count = torch.tensor(float(len(values)))
        self.sums[index] += torch.stack([exact.sum(), exact.square().sum(), count])
        self.low[index] = torch.minimum(self.low[index], values.amin())
        self.high[index] = torch.maximum(self.high[index], values.amax())

    def result(self, processes: Processes) -> Statistics:
        """The statistics by layer, over the images of all processes."""
        if not self.adapters:
            return {}
        totals, squares, counts = processes.reduce(self.sums).unbind(dim=1)
        low = processes.reduce(self.low, dist.ReduceOp.MIN)
        high = processes.reduce(self.high, dist.ReduceOp.MAX)
        means = totals / counts
        variation = (squares / counts - means.square()).clamp(min=0).sqrt() / means
        rows = torch.stack([low.double(), means, high.double(), variation], dim=1).tolist()
        return {
            name: dict(zip(("min", "mean", "max", "variation"), row, strict=True))
            for name, row in zip(self.adapters, rows, strict=True)
        }


@contextmanager
def watch_betas(model: nn.Module) -> Iterator[BetaStatistics]:
    """Count every beta that the network's adapters give while the block runs."""
    statistics = BetaStatistics(model)
    hooks = [
        module.register_forward_hook(
            lambda _module, _inputs, beta, index=index: statistics.see(index, beta)
        )
        for index, module in enumerate(statistics.adapters.values())
    ]
    try:
        yield statistics
    finally:
        for hook in hooks:
            hook.remove()
