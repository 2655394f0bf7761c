"""finetune: a short, plain training of a prepared network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.interface.prepared import CALIBRATION_IMAGES, device_of, prepared
from asq_hw.train.batch_norm import freeze_batch_norm
from asq_hw.train.calibration import is_calibrated
from asq_hw.train.data.loaders import (
    EvenSample,
    FloatBatch,
    Loader,
    check_labels,
    float_batches,
)
from asq_hw.train.run.optimizer import decayed_parameters

__all__ = ["Epoch", "finetune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What an epoch brought.

    Parameters
    ----------
    number : int
        From 1 on.
    loss : float
        Mean cross entropy, in nats, of the images as they were trained on.
    top1 : float
        Share of these that were classified right.
    """

    number: int
    loss: float
    top1: float

    def __str__(self) -> str:
        """One line for a person."""
        return f"epoch {self.number}: loss {self.loss:.4f}, top-1 {self.top1:.2%}"


def finetune(
    quantized: nn.Module,
    loader: Loader,
    *,
    epochs: int = 1,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    frozen_batch_norm: bool = True,
    report: Callable[[Epoch], None] | None = None,
) -> list[Epoch]:
    """Train a prepared network: SGD on a half cosine, on what classes the labels say.

    A loop of your own does as well: the network is a plain module, and all that it learns are its
    parameters.

    Parameters
    ----------
    quantized : nn.Module
        What `asq_hw.prepare` made, calibrated or not; left in evaluation mode.
    loader : iterable
        Pairs of images as the network takes them and their labels; gone through once an epoch.
    epochs : int
        How often.
    learning_rate, momentum, weight_decay : float
        Of SGD; the rate falls to zero, and only the weights of layers decay.
    frozen_batch_norm : bool
        Whether batch norm keeps its statistics, as a trained network's should in a short training.
    report : callable, optional
        Is given each `Epoch` as it ends.

    Returns
    -------
    list of Epoch
        All of them.

    Raises
    ------
    InputError
        If the network is none of `asq_hw.prepare`, or returns anything but class scores; if the
        loader yields no labeled images, or does not
        in a later epoch, a label is no class of the network's, or the loss diverges.
    """
    facts = prepared(quantized, "finetune")
    _check(epochs, learning_rate, momentum, weight_decay)
    optimizer = _optimizer(quantized, learning_rate, momentum, weight_decay)
    kept = None if is_calibrated(quantized) else EvenSample(CALIBRATION_IMAGES)
    done: list[Epoch] = []
    try:
        for number in range(1, epochs + 1):
            quantized.train()
            if frozen_batch_norm:
                freeze_batch_norm(quantized)
            batches = _labeled(loader, facts.shape, number)
            seen = batches if kept is None or done else _kept(batches, kept)
            rates = _rates(learning_rate, loader, number - 1, epochs)
            done.append(_train(quantized, optimizer, zip(seen, rates, strict=False), number))
            if report is not None:
                report(done[-1])
    finally:
        quantized.eval()
    if kept is not None:
        facts.keep(kept)
    return done


def _rates(highest: float, loader: Loader, epoch: int, epochs: int) -> Iterator[float]:
    """The learning rate of each step of an epoch, counted from 0: half a cosine over all.

    Where the loader does not tell how many batches it has, the rate falls between epochs only.
    """
    steps = len(loader) if isinstance(loader, Sized) and not isinstance(loader, Tensor) else None
    for step in count():
        done = epoch + (0 if steps is None else min(step / max(steps, 1), 1))
        yield highest * 0.5 * (1 + math.cos(math.pi * done / epochs))


def _kept(batches: Iterator[FloatBatch], sample: EvenSample) -> Iterator[FloatBatch]:
    for batch in batches:
        sample.add(batch.images)
        yield batch


def _check(epochs: int, learning_rate: float, momentum: float, weight_decay: float) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise InputError(f"epochs must be an integer of at least 1, not {epochs!r}")
    for key, value, holds, rule in (
        ("learning_rate", learning_rate, 0 < learning_rate < math.inf, "above 0"),
        ("momentum", momentum, 0 <= momentum < 1, "in [0, 1)"),
        ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "at least 0"),
    ):
        if not holds:
            raise InputError(f"{key} must be {rule}, not {value!r}")


def _optimizer(
    model: nn.Module, learning_rate: float, momentum: float, weight_decay: float
) -> torch.optim.SGD:
    decayed = decayed_parameters(model)
    chosen = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)


def _labeled(loader: Loader, shape: tuple[int, ...] | None, epoch: int) -> Iterator[FloatBatch]:
    """An epoch's batches, as the loader divides them."""
    try:
        yield from float_batches(loader, shape=shape, labeled=True, divided=False)
    except InputError as error:
        if epoch == 1:
            raise
        raise InputError(
            f"in epoch {epoch} {error} (a generator can be gone through once; give a loader)"
        ) from None


def _scores(returned: object) -> Tensor:
    """Class scores (N, C) that a network returned.

    Raises
    ------
    InputError
        If it returned something else, whose loss only its user knows.
    """
    if not isinstance(returned, Tensor) or returned.dim() < 2 or returned[0, 0].numel() != 1:
        what = (
            f"maps of {tuple(returned.shape[1:])}"
            if isinstance(returned, Tensor)
            else (f"a {type(returned).__name__}")
        )
        raise InputError(
            f"finetune trains a network that returns class scores (N, C), and this one returns "
            f"{what}: train it in a loop of your own, with your own loss"
        )
    return returned.float().flatten(1)


def _train(
    model: nn.Module,
    optimizer: torch.optim.SGD,
    batches: Iterable[tuple[FloatBatch, float]],
    number: int,
) -> Epoch:
    """Train for an epoch on batches, each with its learning rate."""
    device = device_of(model)
    total, right, images_seen = 0.0, 0, 0
    for (images, labels), rate in batches:
        assert labels is not None
        for group in optimizer.param_groups:
            group["lr"] = rate
        wanted = labels.to(device)
        scores = _scores(model(images.to(device)))
        check_labels(wanted, scores.shape[1])
        loss = functional.cross_entropy(scores, wanted)
        if not math.isfinite(value := float(loss.detach())):
            raise InputError(
                f"training diverged in epoch {number}: the loss is {value}; "
                "learning_rate must be lower"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        total += value * len(wanted)
        right += int((scores.argmax(1) == wanted).sum())
        images_seen += len(wanted)
    return Epoch(number=number, loss=total / images_seen, top1=right / images_seen)
