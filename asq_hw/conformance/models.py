"""The examples: each is small, and hard on one part of the contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.conformance import ends, exponents, functions, moves, networks, weights
from asq_hw.conformance.builders import arbitrary
from asq_hw.modelfile.file import version_of
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Input
from asq_hw.numbers.products import Product, ProductKind

__all__ = ["EXAMPLES", "Example"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A network, pixels for it, and the product it is run with.

    Attributes
    ----------
    name : str
        Of the example's folder.
    shows : str
        What an executor that gets it wrong has got wrong.
    images : integer array (N, C, H, W)
        Of the type that the network's input takes.
    """

    name: str
    shows: str
    network: IntegerNetwork
    images: NDArray[np.integer[Any]]
    product: Product

    @property
    def version(self) -> int:
        """Of the model file's format: the first that holds what the network has."""
        return version_of(self.network)


def _pixels(height: int, width: int, *, channels: int = 1, noise: int = 1) -> NDArray[np.uint8]:
    """Noise, then one image of black and white and one with a ramp: (noise + 2, C, H, W)."""
    size = channels * height * width
    images = [arbitrary(seed, size, 0, 255) for seed in range(1, noise + 1)]
    images.append([255 * bit for bit in arbitrary(9, size, 0, 1)])
    images.append([(7 * place) % 256 for place in range(size)])
    return np.array(images, dtype=np.uint8).reshape(-1, channels, height, width)


def _integers(source: Input, *, noise: int) -> NDArray[np.integer[Any]]:
    """Noise, then the ends of the range in turns and by chance."""
    taken, size = source.integers, math.prod(source.shape)
    images = [arbitrary(seed, size, taken.low, taken.high) for seed in range(1, noise + 1)]
    images.append([(taken.low, taken.high)[bit] for bit in arbitrary(9, size, 0, 1)])
    images.append([taken.low + place for place in range(size)])
    return np.array(images, dtype=taken.dtype).reshape(-1, *source.shape)


SPLIT = Product()
DUAL = Product(kind=ProductKind.POST_DUAL)


def _lut(fraction_bits: int) -> Product:
    return Product(kind=ProductKind.POST_LUT, lut_fraction_bits=fraction_bits)


def _example(
    name: str,
    shows: str,
    make: Callable[[], IntegerNetwork],
    product: Product = SPLIT,
    *,
    noise: int = 1,
) -> Example:
    network = make()
    source = network.input
    if not source.takes_pixels:
        images = _integers(source, noise=noise)
        return Example(name=name, shows=shows, network=network, images=images, product=product)
    images = _pixels(source.height, source.width, channels=source.channels, noise=noise)
    if source.channels > 1:
        images = images[:1]
    return Example(name=name, shows=shows, network=network, images=images, product=product)


EXAMPLES: tuple[Example, ...] = (
    _example(
        "plain-layers",
        "layers without weights: windows, padding, saturation",
        networks.plain_layers,
    ),
    _example("uniform", "every code of uniform weights of 2, 4, 5 and 8 bits", weights.uniform),
    _example(
        "symmetric", "every code of symmetric weights of 2, 4, 5 and 8 bits", weights.symmetric
    ),
    _example("pot", "every code of POT weights in all three encodings", weights.pot),
    _example("apot", "every code of APoT weights of 2 to 8 bits", weights.apot),
    _example("post-split", "every code of POST weights, odd parts joined once", weights.post),
    _example("post-lut", "the same network with the paper's table", weights.post, _lut(0)),
    _example("post-dual", "the same network with two codes for each value", weights.post, DUAL),
    _example(
        "post-encodings",
        "the other encodings, a table with 6 fraction bits",
        weights.post_paper,
        _lut(6),
    ),
    _example(
        "ties", "values midway between two integers, in every rounding", weights.ties, noise=3
    ),
    _example("negative-sqrt2", "negative odd parts, joined once", weights.negative_odd),
    _example("negative-sqrt2-lut", "negative entries of the table", weights.negative_odd, _lut(3)),
    _example("wide", "maps of 24 bits, sums near 64 bits", networks.wide),
    _example("narrow", "maps of 4 bits, which saturate", networks.narrow),
    _example(
        "adaptive-one-stage", "ASQ steps from one layer", networks.adaptive_one_stage, noise=3
    ),
    _example(
        "adaptive-two-stages", "ASQ steps from two layers", networks.adaptive_two_stages, noise=3
    ),
    _example(
        "adaptive-shared", "one ASQ adapter for several layers", networks.adaptive_shared, noise=3
    ),
    _example(
        "adaptive-dual",
        "ASQ steps, and odd codes of each",
        networks.adaptive_dual,
        DUAL,
        noise=3,
    ),
    _example("log-linear", "steps that are 2 to a linear function", exponents.log_linear, noise=3),
    _example(
        "shared-exponent", "steps from the largest magnitude", exponents.shared_exponent, noise=3
    ),
    _example("residual", "every layer kind of version 1 in one network", networks.residual),
    _example("moved", "zeros on some sides of maps, maps behind one another", moves.moved),
    _example("selected", "channels, rows and columns of maps", moves.selected, noise=2),
    _example("functions", "functions by tables, products of maps", functions.functions, noise=2),
    _example("dilated", "convolutions with gaps in their windows", functions.dilated),
    _example("color", "three channels of pixels, classes with names", networks.color),
    _example("outputs", "several maps that are given out, one of them class scores", ends.outputs),
    _example("signed-vectors", "vectors of signed integers of 12 bits", ends.signed_vectors),
    _example("unsigned-maps", "maps of 16 bits, and no class scores", ends.unsigned_maps),
)
"""What is written, in this order."""
