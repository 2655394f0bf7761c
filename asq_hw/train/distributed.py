"""Several processes that train one network, as ``torchrun`` starts them."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from asq_hw.errors import InputError
from asq_hw.train.data.batches import Share
from asq_hw.train.options import Device

__all__ = ["Processes", "default_workers", "is_main_process", "join_processes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """One process among those that train together.

    Parameters
    ----------
    rank, count : int
        Which process, from 0, of how many.
    device : torch.device
        Where it computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """What it takes of every batch."""
        return Share(rank=self.rank, processes=self.count)

    def reduce(self, values: Tensor, how: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
        """The sum, or another reduction, of every process' `values`, to all of them."""
        if self.count == 1:
            return values
        reduced = values.to(self.device, copy=True)
        dist.all_reduce(reduced, how)
        return reduced.to(values.device)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model as it is trained: every backward pass averages the gradients.

        All start from process 0's parameters and buffers, and take its buffers before every
        step.
        """
        if self.count == 1:
            return model
        return DistributedDataParallel(model)


def is_main_process() -> bool:
    """Whether the environment makes this process the one that prints."""
    return os.environ.get("RANK", "0") == "0"


def default_workers() -> int:
    """How many processes read images for this one: its share of the machine's cores."""
    return max(1, len(os.sched_getaffinity(0)) // _from_environment("LOCAL_WORLD_SIZE", 1))


@contextmanager
def join_processes(device: str = Device.AUTO) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, if it did, for as long as the block runs.

    They talk by NCCL on GPUs, one for each process, and by Gloo on CPUs.

    Raises
    ------
    InputError
        If the device is unknown or missing, or the environment is not as torchrun makes it.
    """
    chosen = _device(device)
    count = _from_environment("WORLD_SIZE", 1)
    if count == 1:
        yield Processes(device=chosen)
        return
    started_here = not dist.is_initialized()
    if started_here:
        _start(chosen)
    with warnings.catch_warnings():
        # Of 1 x 1 convolutions, whose channels-last strides torch writes in two ways.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        yield Processes(rank=dist.get_rank(), count=dist.get_world_size(), device=chosen)
    # Not after an error: the others may be waiting for us, and leaving would wait for them.
    if started_here:
        gc.collect()  # what still averages gradients has threads of its own
        dist.barrier()
        dist.destroy_process_group()


def _start(device: torch.device) -> None:
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        raise InputError(f"the processes could not find each other: {error}") from None


def _device(name: str) -> torch.device:
    if name not in list(Device):
        raise InputError(f"device must be one of {', '.join(Device)}, not {name!r}")
    if name == Device.CPU or (name == Device.AUTO and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("device cuda needs a GPU that PyTorch can use, and there is none")
    device = torch.device("cuda", _from_environment("LOCAL_RANK", 0))
    torch.cuda.set_device(device)
    return device


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise InputError(f"environment variable {name} must be a number, not {text!r}")
    return int(text)
