"""Checkpoints that are measured together: on which images, and where each comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.paper.provenance import commit
from asq_hw import datasets
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from asq_hw.train.checkpoints.checkpoint import Checkpoint
    from asq_hw.train.recipes import Recipe

__all__ = ["ORIGIN", "Measured", "open_measured", "open_reference"]

ORIGIN = ("dataset", "recipe", "start", "commit", "seed")
"""Columns of every measurement: what it was measured on, what trained the network, from which
start (the digest of its weights; empty where it was not noted), what measured it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A network, and the images that it is measured on.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    recipe : Recipe
        What it was trained by.
    dataset : Dataset
        Test images as it takes them.
    origin : dict
        The values of `ORIGIN`.
    """

    model: Any
    recipe: Recipe
    dataset: Dataset
    origin: dict[str, Any]


def open_measured(
    paths: Sequence[Path], *, images: int | None, data: str | None = None, init: Path | None = None
) -> list[Measured]:
    """Open checkpoints that go into one measurement.

    Parameters
    ----------
    paths : sequence of Path
        Checkpoints.
    images : int or None
        Test images, drawn evenly; None for all.
    data : str, optional
        Data set of the test images; by default what each was trained on.
    init : Path, optional
        The full-precision network that they must have started from.

    Raises
    ------
    InputError
        If one cannot be read, or they are not of one data set and one start.
    """
    from asq_hw.train.checkpoints import checkpoint as checkpoints

    trained = [checkpoints.load(path) for path in paths]
    starts = [_start(each) for each in trained]
    if init is not None and trained:
        starts.append(_start(open_reference(init, trained[0])))
    known = sorted({start for start in starts if start})
    if len(known) > 1 or len(set(starts[: len(paths)])) > 1:
        named = ", ".join(start or "unknown" for start in sorted(set(starts)))
        raise InputError(f"checkpoints of one measurement must be of one start, not of {named}")
    found = [measured(each, images=images, data=data) for each in trained]
    sets = list(dict.fromkeys(each.origin["dataset"] for each in found))
    if len(sets) > 1:
        raise InputError(
            f"checkpoints of one measurement must be of one data set, not of {', '.join(sets)}: "
            "name one with --data"
        )
    return found


def measured(trained: Checkpoint, *, images: int | None, data: str | None = None) -> Measured:
    """A checkpoint's network, and test images as it takes them."""
    from asq_hw.train.data.trained_images import images_of, open_as_trained

    whole = open_as_trained(data or trained.recipe.dataset, images_of(trained))
    part = whole.sample(images)
    return Measured(
        model=trained.build_model(),
        recipe=trained.recipe,
        dataset=part.load(),
        origin={
            "dataset": datasets.reference_name(whole),
            "recipe": trained.recipe.name,
            "start": _start(trained),
            "commit": commit(),
            "seed": trained.recipe.seed,
        },
    )


def open_reference(init: Path, like: Checkpoint) -> Checkpoint:
    """Open the full-precision network that others started from, a checkpoint or a state dict.

    Parameters
    ----------
    init : Path
        The file.
    like : Checkpoint
        One of those that started from it: a state dict is of the same network and images.

    Raises
    ------
    InputError
        If it cannot be read, is quantized, or is of another network.
    """
    from asq_hw.train.checkpoints.checkpoint import Checkpoint, load_any
    from asq_hw.train.opening import open_network

    if isinstance(load_any(init), Checkpoint):
        found = open_network(init)
        if found.recipe.is_quantized:
            raise InputError(f"--init {init} must be in full precision, not {found.recipe.name}")
        return found
    plain = replace(like.recipe, weights="none", activations="none", layers=(), name="state-dict")
    return replace(open_network(init, plain), images=like.images)


def _start(trained: Checkpoint) -> str:
    """Digest of the full-precision weights that a network is, or began with."""
    from asq_hw.train.checkpoints.digest import weights_digest

    if not trained.recipe.is_quantized:
        return weights_digest(trained.weights)
    return trained.start or ""
