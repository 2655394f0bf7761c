"""IntegerNetwork: what the trainer writes and everybody else reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError, citing
from asq_hw.network.activation import AdaptiveStep
from asq_hw.network.feature_map import FeatureMap, Shape
from asq_hw.network.images import ImageSpec
from asq_hw.network.layers import Conv, Input, Layer, Linear
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.names import check_name
from asq_hw.network.outputs import Output, check_outputs, only_scores
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.numbers.validation import check_codes

__all__ = ["RESERVED_NAME", "IntegerNetwork"]

MAX_FEATURES = 1 << 28
"""Largest number of elements of one sample's feature map."""

RESERVED_NAME = "reference"
"""Begins the names of the references' tensors in a model file, and so cannot be a layer's."""

_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerNetwork:
    """A network in integers, in execution order.

    Parameters
    ----------
    name : str
        Name for people, under the same rule as a layer's.
    layers : tuple of Layer
        The first is the only `Input`; every source stands before its reader.
    outputs : tuple of Output
        The maps that it gives out; by default one, the last layer's, which is class scores.
    references : mapping of str to (N,) uint16 array
        The trained network's own predicted classes, by data set, from its first sample on.
    metadata : mapping of str to str
        Anything worth keeping about where the network came from.
    images : ImageSpec or None
        Which images it takes and what its scores stand for; None where only `layers` tells.
    product : ProductKind
        What it was trained for, ``post-split`` or ``post-dual``: what runs it if nothing else is
        asked for.

    Raises
    ------
    InputError
        If a name is missing or used twice, shapes or formats do not fit, an output is no layer's
        map or class scores are not (C, 1, 1), `images` contradicts the layers, there are
        references without class scores, or a dot product or requantization could overflow the
        executors' 64-bit arithmetic.
    """

    name: str
    layers: tuple[Layer, ...]
    outputs: tuple[Output, ...] = ()
    references: Mapping[str, NDArray[np.uint16]] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    images: ImageSpec | None = None
    product: ProductKind = ProductKind.POST_SPLIT

    def __post_init__(self) -> None:
        check_name(self.name)
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        for key, value in self.metadata.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise InputError(f"a network's metadata must be strings, not {key!r}: {value!r}")
        references = {}
        for dataset, classes in self.references.items():
            if not isinstance(dataset, str) or not _DATASET.fullmatch(dataset):
                raise InputError(
                    f"a data set's name must be letters, digits, '_', '-' and '.', at most 64 "
                    f"characters, not {str(dataset)[:80]!r}",
                    rule="R-reference",
                )
            with citing("R-reference"):
                references[dataset] = check_codes(f"reference classes for {dataset}", classes, 1)
        object.__setattr__(self, "references", MappingProxyType(references))
        maps = self.feature_maps()
        outputs = tuple(self.outputs) or only_scores(self.layers[-1].name)
        object.__setattr__(self, "outputs", outputs)
        with citing("R-outputs"):
            check_outputs(outputs, maps)
        with citing("R-shared-adapter"):
            _check_shared_adapters(self.layers)
        if self.references and self.scores is None:
            raise InputError(
                "a network without class scores can have no reference predictions",
                rule="R-reference",
            )
        if self.images is not None:
            with citing("R-images"):
                _check_images(self.images, self)
        object.__setattr__(self, "product", Product(kind=self.product).kind)
        if self.product is ProductKind.POST_LUT:
            raise InputError("no network is trained for the product post-lut")
        self.check_product(Product())
        self.check_product(self.trained_product)

    @property
    def trained_product(self) -> Product:
        """The product that it was trained for."""
        return Product(kind=self.product)

    @property
    def input(self) -> Input:
        """The layer that takes the images."""
        first = self.layers[0]
        assert isinstance(first, Input)
        return first

    @property
    def scores(self) -> Output | None:
        """The output that is class scores; None where none is."""
        return next((output for output in self.outputs if output.is_scores), None)

    @property
    def score_count(self) -> int:
        """How many class scores it makes; 0 where no output is class scores."""
        return 0 if self.scores is None else self.feature_maps()[self.scores.layer].shape[0]

    @property
    def image_shape(self) -> Shape:
        """Channels, height and width of the images it takes."""
        return self.input.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """What each score stands for; empty where that is not known."""
        return () if self.images is None else self.images.classes

    def feature_maps(self) -> dict[str, FeatureMap]:
        """Shape and format of every layer's output, by name, in execution order."""
        if not self.layers or not isinstance(self.layers[0], Input):
            raise InputError("a network's first layer must be its input")
        maps: dict[str, FeatureMap] = {}
        for layer in self.layers:
            if layer.name in maps:
                raise InputError(f"{layer.name}: the name is used by two layers")
            if maps and isinstance(layer, Input):
                raise InputError(f"{layer.name}: a network must have one input, not two")
            for source in layer.source_names:
                if source not in maps:
                    raise InputError(
                        f"{layer.name}: reads {source!r}, which no earlier layer makes"
                    )
            if layer.name == RESERVED_NAME:
                raise InputError(
                    f"no layer can be named {RESERVED_NAME!r}; model files need the name",
                    rule="R-name",
                )
            with citing(layer.rule()):
                made = layer.output_map([maps[source] for source in layer.source_names])
            maps[layer.name] = made
            if made.size > MAX_FEATURES:
                message = f"{layer.name}: a feature map of {made.shape} is too large"
                raise InputError(message, rule="L-map-elements")
        return maps

    def check_product(self, product: Product) -> None:
        """Raise InputError if some layer could overflow 64 bits with this choice of product."""
        maps = self.feature_maps()
        for layer in self.layers:
            layer.check_widths(product, [maps[source] for source in layer.source_names])

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates of one sample for each layer, 0 where there are none."""
        maps = self.feature_maps()
        return {layer.name: layer.macs(maps[layer.name]) for layer in self.layers}


def _check_shared_adapters(layers: Iterable[Layer]) -> None:
    """Raise InputError where a step comes from no earlier layer with an adapter."""
    with_adapter: set[str] = set()
    for layer in layers:
        if not isinstance(layer, Conv | Linear):
            continue
        match layer.quantizer.step:
            case AdaptiveStep() | LogLinearStep():
                with_adapter.add(layer.name)
            case SharedAdapterStep(layer=other) if other not in with_adapter:
                raise InputError(
                    f"{layer.name}: its step must come from an earlier layer with an adapter, "
                    f"not from {other!r}"
                )


def _check_images(images: ImageSpec, network: IntegerNetwork) -> None:
    """Raise InputError where `images` contradicts what the input computes or the scores.

    ``X * 2**-fraction_bits = (pixel * step - mean) / std`` makes an input's multiplier
    ``2**(shift + fraction_bits) * step / std`` and its offset ``-mean / step`` times that.
    """
    layer = network.input
    if images.shape != network.image_shape:
        raise InputError(
            f"{layer.name}: images must have shape {network.image_shape}, not {images.shape}"
        )
    scores = network.score_count
    if images.classes and len(images.classes) != scores:
        raise InputError(
            f"a network of {scores} scores must have as many classes, not {len(images.classes)}"
        )
    if (images.format.bits, images.format.signed) != (layer.bits, layer.signed):
        raise InputError(
            f"{layer.name}: images must be of {layer.bits} bits, "
            f"{'signed' if layer.signed else 'unsigned'}, not {images.format}"
        )
    scale = Fraction(2) ** (layer.shift + layer.output.fraction_bits)
    assert images.format.step is not None
    for channel, (mean, std) in enumerate(zip(images.mean, images.std, strict=True)):
        slope = scale * images.format.step / Fraction(std)
        offset = -scale * Fraction(mean) / Fraction(std)
        for what, exact, stored in (
            ("multiplier", slope, int(layer.multiplier[channel])),
            ("offset", offset, int(layer.offset[channel])),
        ):
            if abs(exact - stored) > 1:
                raise InputError(
                    f"{layer.name}: {what} must be within 1 of {float(exact):.10g} for mean "
                    f"{mean!r} and std {std!r}, not {stored}"
                )
