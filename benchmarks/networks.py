"""ResNet-18 and MobileNet-V2 for 224 x 224 images, quantized and exported, ready to be timed.

Nobody's data or weights are needed: the weights are the trainer's first ones, the images are
drawn with the spectrum of natural ones, and batch norm and step sizes are measured on them, so
that every layer works on values of ordinary size.

    python -m benchmarks.networks resnet18-s2 -o resnet18-s2.asq
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asq_hw import modelfile
from asq_hw.datasets import Dataset
from asq_hw.guard import guarded
from asq_hw.network.graph import IntegerNetwork
from asq_hw.train import models
from asq_hw.train.data.batches import normalize
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.recipes import Recipe

__all__ = ["NETWORKS", "PreparedNetwork", "draw_images", "prepare"]

CALIBRATION_IMAGES = 16
SIZE = 224
CLASSES = 1000
_BETA_SPREAD = 0.1
"""Standard deviation of an adapter's last weights: steps then vary by some ten percent."""
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    model: str
    width: int
    weights: str


NETWORKS = {
    "resnet18-s1": _Kind(model="resnet18", width=64, weights="lsq"),
    "resnet18-s2": _Kind(model="resnet18", width=64, weights="post"),
    "mobilenetv2-s1": _Kind(model="mobilenetv2", width=32, weights="lsq"),
    "mobilenetv2-s2": _Kind(model="mobilenetv2", width=32, weights="post"),
}
"""Networks by name: s1 has uniform weights (scheme 1), s2 POST weights (scheme 2)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedNetwork:
    """One network in its three forms.

    Attributes
    ----------
    floating : nn.Module
        Full precision, in evaluation mode.
    fake_quantized : nn.Module
        The trainer's quantized network, in evaluation mode.
    integer : IntegerNetwork
        What was exported from it.
    """

    floating: nn.Module
    fake_quantized: nn.Module
    integer: IntegerNetwork


def prepare(name: str, *, size: int = SIZE) -> PreparedNetwork:
    """Make a network of `NETWORKS`: the same one each time."""
    kind = NETWORKS[name]
    torch.manual_seed(_SEED)
    drawn = _drawn_dataset(CALIBRATION_IMAGES, size)
    floating = models.build(kind.model, width=kind.width, in_channels=3, num_classes=CLASSES)
    recipe = _recipe(name, kind)
    quantized = quantize(copy.deepcopy(floating), recipe)
    _vary_adapters(quantized)
    for model in (floating, quantized):
        _measure_statistics(model, drawn)
    return PreparedNetwork(
        floating=floating,
        fake_quantized=quantized,
        integer=export_network(quantized, recipe, drawn),
    )


def draw_images(count: int, *, size: int = SIZE, seed: int = 0) -> NDArray[np.uint8]:
    """Draw images (count, 3, size, size) whose amplitudes fall with frequency, as natural ones' do.

    The three channels share most of their content. Brightness and contrast vary by image.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf  # no mean
    images = np.empty((count, 3, size, size), dtype=np.uint8)
    for image in images:  # one at a time: a thousand images in floating point would fill memory
        noise = rng.standard_normal((3, size, size)) + 2 * rng.standard_normal((size, size))
        waves = np.fft.irfft2(np.fft.rfft2(noise) / frequency, s=(size, size))
        waves *= rng.uniform(30, 70) / waves.std()
        image[...] = np.clip(waves + rng.uniform(90, 150), 0, 255)
    return images


def _drawn_dataset(count: int, size: int) -> Dataset:
    images = draw_images(count, size=size, seed=_SEED)
    pixels = images / 255
    return Dataset(
        name="drawn",
        images=images,
        labels=None,
        classes=tuple(str(index) for index in range(CLASSES)),
        mean=float(pixels.mean()),
        std=float(pixels.std()),
    )


def _recipe(name: str, kind: _Kind) -> Recipe:
    return Recipe(
        name=name,
        model=kind.model,
        width=kind.width,
        dataset="drawn",
        epochs=1,
        batch_size=CALIBRATION_IMAGES,
        learning_rate=0.01,
        weights=kind.weights,
        activations="asq",
        weight_bits=4,
        activation_bits=4,
        edge_bits=8,
    )


def _vary_adapters(model: nn.Module) -> None:
    """Draw the adapters' last weights large enough that images get different steps."""
    for module in model.modules():
        if isinstance(module, Adapter):
            fan_in = module.output.weight.shape[1]
            nn.init.normal_(module.output.weight, std=_BETA_SPREAD * 4 / fan_in**0.5)


def _measure_statistics(model: nn.Module, drawn: Dataset) -> None:
    """Set batch norm's statistics, and with them the steps, from one pass over the images."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches
    images = normalize(torch.from_numpy(drawn.images.copy()), mean=drawn.mean, std=drawn.std)
    model.train()
    with torch.no_grad():
        model(images)
    model.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write one of the networks as a model file.")
    parser.add_argument("name", choices=NETWORKS)
    parser.add_argument("-o", "--output", required=True, metavar="MODEL")
    options = parser.parse_args(arguments)
    modelfile.save(prepare(options.name).integer, options.output)


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.networks", main))
