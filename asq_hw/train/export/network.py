"""A trained quantized network to integers (docs/arithmetic.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from asq_hw.datasets import Dataset, ImageFolder, image_spec, reference_name
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.images import ImageSpec
from asq_hw.network.names import MAX_NAME_LENGTH
from asq_hw.numbers.widths import FEATURE_BITS
from asq_hw.train.checkpoints.soundness import check_network
from asq_hw.train.data.pixels import GivenIntegers
from asq_hw.train.evaluation import predict
from asq_hw.train.export.calibration import calibrate
from asq_hw.train.export.comparison import compare
from asq_hw.train.export.exporter import Exporter
from asq_hw.train.export.formats import feature_formats, reach_of_pixels
from asq_hw.train.export.forward import in_floating_point, ranges_of, trained_product
from asq_hw.train.export.outputs import outputs_of, scores_of
from asq_hw.train.graph.operations import trace
from asq_hw.train.modes import evaluation_mode
from asq_hw.train.recipes import Recipe

__all__ = ["export_network", "integer_network", "network_name"]


def export_network(
    model: nn.Module,
    recipe: Recipe,
    calibration: Dataset,
    references: Sequence[Dataset | ImageFolder] = (),
    *,
    images: ImageSpec | None = None,
    feature_bits: int = FEATURE_BITS,
) -> IntegerNetwork:
    """Turn a network that a recipe trained into integers, as `integer_network` does.

    Parameters
    ----------
    model : nn.Module
        A converted network with trained weights; it is left as it is.
    recipe : Recipe
        What it was trained by.
    calibration : Dataset
        Images whose feature maps set the scales; training images are the honest choice. A network
        that has computed in integers already keeps its formats.
    references : sequence of Dataset or ImageFolder
        Data sets whose predictions by `model` are kept in the network for comparison, each under
        its `asq_hw.datasets.reference_name`.
    images : ImageSpec, optional
        The images that it was trained on, and its classes; by default those of `calibration`,
        its classes only where there are as many as scores.
    feature_bits : int
        Width of the feature maps' integers.

    Raises
    ------
    InputError
        As `integer_network`.
    """

    def predictions() -> dict[str, NDArray[np.uint16]]:
        return {
            reference_name(dataset): predict(model, dataset).astype(np.uint16)
            for dataset in references
        }

    spec = images or image_spec(calibration)
    return integer_network(
        model,
        GivenIntegers.of_dataset(calibration, spec),
        spec,
        name=recipe.name,
        metadata={
            "recipe": recipe.name,
            "dataset": recipe.dataset,
            "calibration": f"{len(calibration.images)} images of {calibration.name}",
        },
        references=predictions,
        guessed_classes=images is None,
        feature_bits=feature_bits,
    )


def integer_network(
    model: nn.Module,
    calibration: GivenIntegers,
    images: ImageSpec,
    *,
    name: str,
    metadata: Mapping[str, str],
    references: Callable[[], Mapping[str, NDArray[np.uint16]]] = dict,
    scores: str | bool = True,
    guessed_classes: bool = False,
    feature_bits: int = FEATURE_BITS,
) -> IntegerNetwork:
    """Turn a quantized network into integers.

    Batch norm is folded, every feature map gets the finest power-of-two scale whose range holds
    what the calibration images reach with headroom, and every scale becomes an integer
    multiplier and a shift. What comes out is then compared with the quantized network
    (`asq_hw.train.export.comparison`).

    Parameters
    ----------
    model : nn.Module
        A converted network whose scales have started; it is left as it is.
    calibration : GivenIntegers
        Images whose feature maps set the formats. A network that has computed in integers already
        keeps its formats.
    images : ImageSpec
        The images that it takes, and its classes.
    name : str
        What the network is called; letters that its name cannot have are replaced.
    metadata : mapping of str to str
        What it comes from.
    references : callable
        Makes the classes that `model` predicts, by data set.
    scores : str or bool
        Which of the tensors that it returns are class scores, by name; whether the only one is,
        where it is a vector.
    guessed_classes : bool
        Whether the classes are left out where there are not as many as scores.
    feature_bits : int
        Width of the feature maps' integers.

    Raises
    ------
    InputError
        If the model holds an operation that has no integer form, is not quantized, would need
        wider arithmetic than there is, or holds a tensor that is not finite; and if the integer
        network is not close to it on the calibration images.
    """
    with evaluation_mode(model):
        check_network(model)
        traced = trace(model)
        operations = traced.operations
        ranges = ranges_of(model) or calibrate(model, operations, calibration)
        formats = feature_formats(operations, ranges, feature_bits, reach_of_pixels(images))
        exporter = Exporter(formats=formats, ranges=ranges, images=images)
        layers = tuple(exporter.layer(operation) for operation in operations)
        outputs = outputs_of(traced.results, ranges.positions, scores)
        if guessed_classes and len(images.classes) != scores_of(layers[-1]):
            images = replace(images, classes=())  # the calibration images are of other classes
        network = IntegerNetwork(
            name=network_name(name),
            layers=layers,
            outputs=outputs,
            references=references(),
            metadata=metadata,
            images=images,
            product=trained_product(traced).kind,
        )
        with in_floating_point(model):
            compare(model, traced, network, calibration)
    return network


def network_name(wanted: str) -> str:
    """A network's name for a recipe of any name: letters, digits, ``_`` and inner dots."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", wanted)
    name = re.sub(r"\.+", ".", name).strip(".") or "network"
    return f"{'_' if name[0].isdigit() else ''}{name}"[:MAX_NAME_LENGTH].rstrip(".")
