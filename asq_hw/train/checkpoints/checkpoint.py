"""Checkpoints: a network with the recipe that made it, in one file that appears whole."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeGuard

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write
from asq_hw.files.packaged import checkpoint_path
from asq_hw.network.images import ImageSpec
from asq_hw.network.input_format import PIXELS
from asq_hw.train.checkpoints.digest import DIGEST_LETTERS
from asq_hw.train.checkpoints.pretrained import fill
from asq_hw.train.checkpoints.state_dict import StateDict, state_dict_of
from asq_hw.train.checkpoints.unpacking import unpack
from asq_hw.train.export.calibration import Calibration
from asq_hw.train.export.forward import compute_in_integers
from asq_hw.train.floating import floating_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.models import build
from asq_hw.train.models.own import is_own
from asq_hw.train.recipes import Recipe, from_dict

__all__ = ["Checkpoint", "load", "load_any", "load_model", "save"]

FORMAT: Final = "asq-hw checkpoint"
VERSION: Final = 1

_SPARE_BYTES: Final = 1 << 24
_MOST_CHANNELS, _MOST_CLASSES = 4096, 1 << 16
_DAMAGE = (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError)
"""What looking at values of the wrong kind raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is saved after an epoch.

    Parameters
    ----------
    recipe : Recipe
        How the network was trained.
    in_channels, num_classes : int
        What the network maps from and to.
    epoch : int
        Epochs that are done.
    accuracy : float or None
        Share of the test images that are classified right; None before the first epoch.
    weights : dict of str to Tensor
        The network's state.
    training : dict
        What only resuming needs: plain values and tensors; empty if training is over.
    images : ImageSpec or None
        The images that it was trained on; None in files that were written before they told.
    start : str or None
        Digest of the full-precision weights that training began with
        (`asq_hw.train.checkpoints.digest`); None if it began with random ones, or in files that
        were written before they told.
    ranges : Calibration or None
        Of a network that computes in integers, what its number formats follow from.
    """

    recipe: Recipe
    in_channels: int
    num_classes: int
    epoch: int
    accuracy: float | None
    weights: dict[str, Tensor]
    training: dict[str, Any] = field(default_factory=dict)
    images: ImageSpec | None = None
    start: str | None = None
    ranges: Calibration | None = None

    def build_model(self) -> nn.Module:
        """The network with its weights, in evaluation mode.

        That of a network of one's own runs the code that its recipe names.

        Raises
        ------
        InputError
            If the weights do not fit the recipe's network.
        """
        if not is_own(self.recipe.model):
            self._check_memory()
        with torch.random.fork_rng(devices=[]):
            model = floating_network(
                self.recipe.model,
                width=self.recipe.width,
                in_channels=self.in_channels,
                num_classes=self.num_classes,
                image_size=None if self.images is None else self.images.shape[1:],
            )
            model = quantize(model, self.recipe)
        fill(model, self.weights, f"checkpoint of {self.recipe.name}")
        if self.ranges is not None:
            compute_in_integers(model, self.ranges, self._known_images())
        return model.eval()

    def _known_images(self) -> ImageSpec:
        if self.images is None:
            raise InputError(
                f"checkpoint of {self.recipe.name} must tell the images that its integers are for"
            )
        return self.images

    def _check_memory(self) -> None:
        """Refuse a recipe whose network is much larger than the weights, before it is made."""
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            skeleton = build(
                self.recipe.model,
                width=self.recipe.width,
                in_channels=self.in_channels,
                num_classes=self.num_classes,
            )
        needed = sum(tensor.nbytes for tensor in skeleton.state_dict().values())
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for tensor in self.weights.values()
            if isinstance(tensor, Tensor) and tensor.layout is torch.strided
        }
        if needed > 2 * sum(storages.values()) + _SPARE_BYTES:
            raise InputError(
                f"checkpoint of {self.recipe.name} must hold the {needed} bytes of its network, "
                f"not {sum(storages.values())}"
            )


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a reader finds the old file or the new one, never a part of one."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "recipe": checkpoint.recipe.to_dict(),
        "in_channels": checkpoint.in_channels,
        "num_classes": checkpoint.num_classes,
        "epoch": checkpoint.epoch,
        "accuracy": checkpoint.accuracy,
        "images": None if checkpoint.images is None else _plain_images(checkpoint.images),
        "weights": checkpoint.weights,
        "training": checkpoint.training,
        "start": checkpoint.start,
        "ranges": None if checkpoint.ranges is None else checkpoint.ranges.to_plain(),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_write(path) as stream:
        stream.write(buffer.getbuffer())


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint. Only tensors and plain values are ever unpacked from it.

    Raises
    ------
    InputError
        If the file is missing, damaged, no checkpoint of ours, or of a later version.
    """
    content = unpack(Path(path))
    if not _is_checkpoint(content):
        raise InputError(f"{path} is not a checkpoint of asq-hw train")
    return _checkpoint(content, path)


def load_any(path: str | Path) -> Checkpoint | StateDict:
    """Read a checkpoint, or a state dict that another program saved.

    The name of a packaged checkpoint stands for its path.

    Raises
    ------
    InputError
        As `load`, and if the file holds neither.
    """
    content = unpack(checkpoint_path(path))
    return (
        _checkpoint(content, path) if _is_checkpoint(content) else state_dict_of(content, str(path))
    )


def _is_checkpoint(content: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(content, dict) and _is(content.get("format"), FORMAT)


def _checkpoint(content: dict[str, Any], path: str | Path) -> Checkpoint:
    if not _is(found := content.get("version"), VERSION):
        found = found if isinstance(found, int) else type(found).__name__
        raise InputError(f"checkpoint {path} must be of version {VERSION}, not {found!r}")
    try:
        return Checkpoint(
            recipe=from_dict(_current(content["recipe"])),
            in_channels=_counted(content, "in_channels", 1, _MOST_CHANNELS),
            num_classes=_counted(content, "num_classes", 1, _MOST_CLASSES),
            epoch=_counted(content, "epoch", 0, 1 << 31),
            accuracy=None if content["accuracy"] is None else float(content["accuracy"]),
            weights=dict(content["weights"]),
            training=dict(content["training"]),
            images=_images(content.get("images")),
            start=_digest(content.get("start")),
            ranges=_ranges(content.get("ranges")),
        )
    except _DAMAGE as error:
        raise InputError(f"checkpoint {path} is damaged: {str(error)[:300]}") from None


def _digest(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and len(value) == DIGEST_LETTERS):
        raise ValueError(f"start must be a digest of {DIGEST_LETTERS} letters")
    return value


def _plain_images(images: ImageSpec) -> dict[str, Any]:
    """All but the format: what is trained by a recipe takes pixels."""
    assert images.format == PIXELS
    return {key: getattr(images, key) for key in ("shape", "mean", "std", "classes")}


def _images(values: dict[str, Any] | None) -> ImageSpec | None:
    return None if values is None else ImageSpec(**values)


def _ranges(values: dict[str, Any] | None) -> Calibration | None:
    return None if values is None else Calibration.from_plain(values)


def _is(found: object, wanted: str | int) -> bool:
    """Whether a value is the one that is wanted, of its type; a tensor is compared otherwise."""
    return type(found) is type(wanted) and found == wanted


def _counted(content: dict[str, Any], key: str, low: int, high: int) -> int:
    value = content[key]
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{key} must be an integer in {low}..{high}")
    return value


def _current(recipe: dict[str, Any]) -> dict[str, Any]:
    """Name the keys of a recipe as they are named now."""
    values = dict(recipe)
    if "bfloat16" in values:
        values["precision"] = "bfloat16" if values.pop("bfloat16") else "float32"
    return values


def load_model(path: str | Path) -> tuple[nn.Module, Recipe]:
    """Read a checkpoint and return its network, in evaluation mode, and its recipe.

    Raises
    ------
    InputError
        As `load`, and if the weights do not fit the network.
    """
    checkpoint = load(path)
    return checkpoint.build_model(), checkpoint.recipe
