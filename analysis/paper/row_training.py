"""Training one row with one seed, and what comes of it: each in a process of its own."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.paper.jobs import locked
from analysis.paper.provenance import noted_commits
from analysis.paper.results import Result
from analysis.paper.rows import Variant
from asq_hw import datasets
from asq_hw.errors import InputError

if TYPE_CHECKING:
    from asq_hw.train.evaluation import Scores
    from asq_hw.train.recipes import Recipe

__all__ = ["Plan", "Start", "epochs_done", "expected", "train_row", "train_start"]

_PATIENCE = 120
"""Seconds that the process of a killed command is given to notice."""
_ROW_KEYS = ("name", "weights", "activations", "weight_bits", "activation_bits", "seed")
"""Keys that every row replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all rows share.

    Parameters
    ----------
    recipe : str
        A shipped recipe or a file.
    overrides : tuple of str
        ``key=value`` that replace its values, and those of the start's recipe.
    runs : Path
        Folder of the runs' folders.
    init : Path or None
        The full-precision network that every run starts from: a checkpoint or a state dict.
    start_recipe : str
        Without `init`: what one start for each seed is trained by.
    threads : int
        Of each run.
    eval_every : int
        Passes from one measurement to the next; the last is always measured.
    """

    recipe: str
    overrides: tuple[str, ...] = ()
    runs: Path
    init: Path | None = None
    start_recipe: str = "ablation-float"
    threads: int = 1
    eval_every: int = 1

    def shared(self) -> Recipe:
        """The recipe that rows replace values of."""
        from asq_hw.train import recipes

        return recipes.load(self.recipe, self.overrides)

    def row(self, variant: Variant, seed: int) -> Recipe:
        """The recipe of a row."""
        from asq_hw.train import recipes

        own = variant.overrides(seed)
        for override in self.overrides:
            if (key := override.partition("=")[0].strip()) in own:
                raise InputError(f"--set cannot replace what makes a row of the table: {key}")
        return recipes.from_dict(self.shared().to_dict() | own)

    def start(self, seed: int) -> Recipe:
        """The recipe of a seed's start."""
        from asq_hw.train import recipes

        plain = recipes.load(self.start_recipe, self.overrides).to_dict()
        name = f"{plain['name']}-seed{seed}"
        return recipes.from_dict(plain | {"seed": seed, "name": name})

    def settings(self) -> str:
        """The shared recipe's values that no row replaces and that are not defaults."""
        recipe = self.shared()
        defaults = {f.name: f.default for f in fields(recipe) if f.default is not MISSING}
        plain = recipe.to_dict()
        kept = [
            key
            for key in plain
            if key not in (*_ROW_KEYS, "dataset") and getattr(recipe, key) != defaults.get(key)
        ]
        return " ".join(f"{key}={_word(plain[key])}" for key in kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A full-precision network that rows start from, and how well it does."""

    path: Path
    recipe: str
    digest: str
    correct: int


def _word(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace(" ", "")


def train_start(plan: Plan, seed: int) -> Start:
    """Find or train the network that a seed's rows start from, and measure it.

    Raises
    ------
    InputError
        If it cannot be read or trained, is not in full precision, or is of another network.
    """
    from asq_hw.train.checkpoints.digest import weights_digest
    from asq_hw.train.data.trained_images import open_as_trained, training_data
    from asq_hw.train.evaluation import score
    from asq_hw.train.starting_point import full_precision_model
    from asq_hw.train.threads import limited_threads

    path = plan.init or _trained_start(plan, seed)
    shared = plan.shared()
    images = training_data(shared).images
    model = full_precision_model(
        shared, path, in_channels=images.shape[0], num_classes=len(images.classes)
    ).eval()
    with limited_threads(plan.threads):
        scores = score(model, open_as_trained(shared.dataset, images))
    return Start(
        path=path,
        recipe=_trained_by(path),
        digest=weights_digest(model.state_dict()),
        correct=scores.correct,
    )


def _trained_start(plan: Plan, seed: int) -> Path:
    from asq_hw.train.run import training

    recipe = plan.start(seed)
    folder = plan.runs / recipe.name
    with locked(folder, "run", patience=_PATIENCE):
        return training.train(
            recipe, output=folder, resume=True, threads=plan.threads, compiled=True
        ).last


def _trained_by(path: Path) -> str:
    from asq_hw.train.checkpoints.checkpoint import Checkpoint, load_any

    found = load_any(path)
    return found.recipe.name if isinstance(found, Checkpoint) else "state-dict"


def train_row(plan: Plan, variant: Variant, seed: int, start: Start) -> Result:
    """Train a row, or go on with it where it was, and measure what its last epoch has left.

    Parameters
    ----------
    plan : Plan
        What all rows share.
    variant : Variant
        The row.
    seed : int
        Of the order of the images and their augmentation.
    start : Start
        What it starts from.

    Raises
    ------
    InputError
        If training cannot be done, diverges, or was begun from another start.
    """
    from asq_hw.train.run import training

    recipe = plan.row(variant, seed)
    folder = plan.runs / recipe.name
    with locked(folder, "run", patience=_PATIENCE):
        done = epochs_done(folder, start)
        commits = noted_commits(folder, begins=done < recipe.epochs)
        trained = training.train(
            recipe,
            output=folder,
            init=start.path,
            resume=True,
            threads=plan.threads,
            compiled=True,
            eval_every=plan.eval_every,
            must_export=False,  # what is asked for is an accuracy
        )
    scores = _scores(trained.last, plan.threads)
    return replace(
        expected(plan, variant, seed, start),
        commit=commits,
        correct=scores.correct,
        loss=scores.loss,
        training_loss=_training_loss(folder),
    )


def expected(plan: Plan, variant: Variant, seed: int, start: Start) -> Result:
    """The line of a row as far as it is known before its training.

    Parameters are those of `train_row`.
    """
    recipe = plan.row(variant, seed)
    test = datasets.open_dataset(recipe.dataset, image_size=recipe.image_size or None)
    return Result(
        dataset=datasets.reference_name(test),
        recipe=plan.shared().name,
        settings=plan.settings(),
        start_recipe=start.recipe,
        start=start.digest,
        start_correct=start.correct,
        commit="",
        variant=variant.key,
        seed=seed,
        correct=0,
        images=len(test),
        loss=None,
        training_loss=None,
    )


def epochs_done(folder: Path, start: Start) -> int:
    """How much of a run there is.

    Raises
    ------
    InputError
        If it did not begin where it would begin now.
    """
    from asq_hw.train.checkpoints import checkpoint as checkpoints
    from asq_hw.train.run.folder import LAST

    if not (folder / LAST).exists():
        return 0
    saved = checkpoints.load(folder / LAST)
    if saved.epoch and saved.start != start.digest:
        raise InputError(
            f"{folder} holds a run from start {saved.start or 'unknown'}, not from {start.digest}: "
            "name another folder with --runs"
        )
    return saved.epoch


def _scores(path: Path, threads: int) -> Scores:
    from asq_hw.train.checkpoints import checkpoint as checkpoints
    from asq_hw.train.data.trained_images import images_of, open_as_trained
    from asq_hw.train.evaluation import score
    from asq_hw.train.threads import limited_threads

    trained = checkpoints.load(path)
    test = open_as_trained(trained.recipe.dataset, images_of(trained))
    with limited_threads(threads):
        return score(trained.build_model(), test)


def _training_loss(folder: Path) -> float:
    """Mean training loss of the last epoch, from the run's log."""
    from asq_hw.train.run.folder import LOG

    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[-1])["loss"])
