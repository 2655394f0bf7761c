"""What a run begins with: a new network or a saved one, as all processes train it together."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec
from asq_hw.train.batch_norm import share_batch_norm
from asq_hw.train.checkpoints.digest import weights_digest
from asq_hw.train.data.batches import training_batches
from asq_hw.train.data.pixels import GivenIntegers
from asq_hw.train.data.trained_images import AnyDataset, TrainingData
from asq_hw.train.distributed import Processes
from asq_hw.train.export.calibration import calibrate
from asq_hw.train.export.forward import compute_in_integers, ranges_of
from asq_hw.train.export.rehearsal import check_export
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.graph.operations import trace
from asq_hw.train.models.own import is_own
from asq_hw.train.modes import evaluation_mode
from asq_hw.train.options import CALIBRATION_IMAGES
from asq_hw.train.quantizers.quantizer import round_in_loops
from asq_hw.train.recipes import Recipe
from asq_hw.train.run.folder import RunFolder
from asq_hw.train.run.optimizer import make_optimizer
from asq_hw.train.run.state import TrainingState
from asq_hw.train.starting_point import full_precision_model, network_input, start_steps

__all__ = ["begin", "enter_integers", "join_training", "use_compiled_loops"]


def begin(
    recipe: Recipe,
    init: Path | None,
    folder: RunFolder,
    data: TrainingData,
    processes: Processes,
    *,
    resume: bool,
    must_export: bool,
) -> TrainingState:
    """Begin a run in its folder, or go on with the one that is there.

    Parameters
    ----------
    recipe : Recipe
        What to train, and how.
    init : Path or None
        The full-precision network to start from.
    folder : RunFolder
        Where the run is kept.
    data : TrainingData
        The training images, and what the network takes.
    processes : Processes
        Those that train together.
    resume : bool
        Whether a run that is there may be gone on with.
    must_export : bool
        Refuse a new network that `export` would refuse.

    Raises
    ------
    InputError
        If the folder holds another run, `init` is not the recipe's network in full precision, or
        export would refuse it.
    """
    if recipe.early_crop and is_own(recipe.model):
        raise InputError(
            "early_crop must be 0 for a network of your own, which is read for images of one size, "
            f"not {recipe.early_crop}"
        )
    images = data.images
    saved = folder.saved(recipe, images, resume=resume)
    processes.wait()  # every process has looked before process 0 writes
    torch.manual_seed(recipe.seed)
    if saved is not None:
        state = _state(recipe, images, saved.build_model(), processes.device)
        state.restore(saved, folder.last)
        return state
    model = full_precision_model(
        recipe,
        init,
        in_channels=images.shape[0],
        num_classes=len(images.classes),
        image_size=images.shape[1:],
    )
    start = None if init is None else weights_digest(model.state_dict())
    model = quantize(model, recipe)
    if must_export or recipe.integer_epochs:
        check_export(model, recipe, data.training, images)
    state = _state(recipe, images, model, processes.device)
    state.start = start
    folder.save(folder.last, state.checkpoint())
    return state


def _state(
    recipe: Recipe, images: ImageSpec, model: nn.Module, device: torch.device
) -> TrainingState:
    """Move a network to its device, and give it an optimizer and a generator."""
    # Convolutions here read the channels of a pixel together.
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingState(
        recipe=recipe,
        images=images,
        model=model,
        optimizer=make_optimizer(model, recipe),
        generator=torch.Generator().manual_seed(recipe.seed),
    )


def use_compiled_loops(state: TrainingState, device: torch.device) -> None:
    """Let the quantizers round in compiled loops, if there are any, and loops for the device."""
    if not state.recipe.is_quantized or device.type != "cpu":
        return
    # Numba, which no other training needs.
    from asq_hw.train.compiled.rounding import CompiledRounding

    round_in_loops(state.model, CompiledRounding())


def enter_integers(state: TrainingState, training: AnyDataset) -> None:
    """Let a network compute in integers from the epoch on from which its recipe wants it.

    Raises
    ------
    InputError
        If it has no integer form.
    """
    recipe, model = state.recipe, state.model
    if state.epoch < recipe.epochs - recipe.integer_epochs or ranges_of(model) is not None:
        return
    if state.epoch == 0:
        _start_steps(state, training, next(model.parameters()).device)
    few = training.sample(CALIBRATION_IMAGES).load()
    given = GivenIntegers.of_dataset(few, state.images)
    with evaluation_mode(model):
        ranges = calibrate(model, trace(model).operations, given)
    compute_in_integers(model, ranges, state.images)


def join_training(state: TrainingState, training: AnyDataset, processes: Processes) -> nn.Module:
    """The network as all processes train it together."""
    if processes.count == 1:
        return state.model
    if state.epoch == 0 and state.recipe.is_quantized and processes.is_main:
        _start_steps(state, training, processes.device)
    if state.recipe.sync_batch_norm:
        share_batch_norm(state.model)
    return processes.parallel(state.model)


def _start_steps(state: TrainingState, training: AnyDataset, device: torch.device) -> None:
    """Let activation steps start from the whole first batch, and draw it again later."""
    before = state.generator.get_state()
    images, _ = next(training_batches(training, state.recipe, generator=state.generator))
    state.generator.set_state(before)
    state.enter_training_mode(state.model)
    start_steps(state.model, network_input(images, training, device), state.recipe)
