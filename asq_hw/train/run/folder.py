"""The folder of a run: which run it holds, and the checkpoints written into it."""

from __future__ import annotations

from pathlib import Path

from asq_hw.errors import InputError
from asq_hw.files.atomic import make_folder, remove_leftovers
from asq_hw.network.images import ImageSpec
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.checkpoint import Checkpoint
from asq_hw.train.recipes import Recipe

__all__ = ["BEST", "FILES", "LAST", "LOG", "RunFolder"]

BEST = "best.pt"
"""Checkpoint of the epoch with the highest test accuracy measured, without what resuming needs."""
LAST = "last.pt"
"""Checkpoint of the latest whole epoch."""
LOG = "log.jsonl"
"""One line of JSON for each epoch."""
FILES = (LAST, BEST, LOG)
"""Everything that a run writes into its folder."""


class RunFolder:
    """What a run leaves: ``last.pt``, ``best.pt`` and ``log.jsonl``.

    Parameters
    ----------
    path : Path
        The folder, seen by every process; made if missing.
    writes : bool
        Whether this process is the one that writes.
    """

    def __init__(self, path: Path, *, writes: bool) -> None:
        self.path, self.writes = path, writes
        make_folder(path, "output")
        if writes:  # what a killed run had begun to write
            for name in FILES:
                remove_leftovers(path / name)

    @property
    def best(self) -> Path:
        """Path of the most accurate epoch's checkpoint."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """Path of the latest epoch's checkpoint."""
        return self.path / LAST

    @property
    def log(self) -> Path:
        """Path of the log."""
        return self.path / LOG

    def saved(self, recipe: Recipe, images: ImageSpec, *, resume: bool) -> Checkpoint | None:
        """Find the checkpoint to go on from; None where there is none yet.

        Raises
        ------
        InputError
            If the folder holds a run that is not to be resumed, or one of another recipe or on
            other images.
        """
        if not self.last.exists():
            return None
        saved = checkpoints.load(self.last)
        if saved.epoch == 0:  # it failed before its first epoch was over: nothing is lost
            return None
        if not resume:
            raise InputError(
                f"output {self.path} holds a run already: resume it, or name another folder"
            )
        if saved.recipe != recipe:
            raise InputError(
                f"{self.last} is a run of another recipe, {saved.recipe.name}: not resumed"
            )
        if saved.images is not None and saved.images != images:
            raise InputError(
                f"{self.last} is a run on other images or classes than {recipe.dataset} holds "
                "now: not resumed"
            )
        return saved

    def save(self, path: Path, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, if this process writes."""
        if self.writes:
            checkpoints.save(path, checkpoint)
