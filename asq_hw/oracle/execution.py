"""A network run from its first layer to its last, with every integer that the contract names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Input, Linear
from asq_hw.numbers.products import Product
from asq_hw.oracle.plain import Tensor, run_input, run_plain
from asq_hw.oracle.quantizer import quantize, quantize_odd, step_size
from asq_hw.oracle.shapes import map_shapes
from asq_hw.oracle.weighted import accumulate, has_odd_codes, product_tables, requantize
from asq_hw.oracle.windows import MapShape

__all__ = ["OracleTrace", "predict", "run", "trace"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OracleTrace:
    """Every integer that the contract names, by layer, in execution order; all arrays are int64.

    Attributes
    ----------
    feature_maps : dict of (N, C, H, W) arrays
        Output ``X`` of every layer.
    codes : dict of (N, C, H, W) arrays
        Activation codes ``q`` that a convolution or linear layer reads.
    odd_codes : dict of (N, C, H, W) arrays
        The same ``qO``, of layers that have them: of a grid with the square root of two, with
        ``post-dual``.
    steps : dict of (N,) arrays
        Step ``D`` of each sample in a convolution or linear layer.
    accumulators : dict of tuples of (N, O, H, W) arrays
        ``(E, O)`` for a grid with the square root of two and ``post-split``, ``(V,)`` for the
        same with ``post-lut`` and ``post-dual``, ``(E,)`` for other grids.
    """

    feature_maps: dict[str, IntArray]
    codes: dict[str, IntArray]
    odd_codes: dict[str, IntArray]
    steps: dict[str, IntArray]
    accumulators: dict[str, tuple[IntArray, ...]]

    def tensors(self) -> dict[str, IntArray]:
        """All of them in the order of execution, by the names of a trace's files (section 9)."""
        named = {}
        for name, feature_map in self.feature_maps.items():
            if name in self.steps:
                named[f"{name}-step"] = self.steps[name]
                named[f"{name}-codes"] = self.codes[name]
                if name in self.odd_codes:
                    named[f"{name}-odd-codes"] = self.odd_codes[name]
                sums = self.accumulators[name]
                parts = ("even", "odd") if len(sums) == 2 else ("sum",)
                named |= {f"{name}-{part}": made for part, made in zip(parts, sums, strict=True)}
            named[name] = feature_map
        return named


def run(
    network: IntegerNetwork, images: NDArray[Any], product: Product | None = None
) -> dict[str, IntArray]:
    """Every layer's feature map, int64 (N, C, H, W), for images (N, C, H, W).

    Examples
    --------
    >>> import numpy as np
    >>> from asq_hw.conformance.builders import input_layer, network
    >>> from asq_hw.network.layers import GlobalAveragePool
    >>> mean = GlobalAveragePool(name="scores", source="input", multiplier=1, shift=2)
    >>> net = network("mean", input_layer(2, 2), mean)
    >>> images = np.array([[[[1, 2], [3, 5]]]], dtype=np.uint8)
    >>> run(net, images)["scores"].tolist()  # 11 / 4, to the nearest
    [[[[3]]]]
    """
    return trace(network, images, product).feature_maps


def predict(
    network: IntegerNetwork, images: NDArray[Any], product: Product | None = None
) -> IntArray:
    """Predicted classes, int64 (N,): the lowest index among the largest scores.

    Raises
    ------
    InputError
        As `trace`; or if no output is class scores.

    Examples
    --------
    >>> import numpy as np
    >>> from asq_hw.conformance.builders import input_layer, network
    >>> from asq_hw.network.layers import GlobalAveragePool
    >>> mean = GlobalAveragePool(name="scores", source="input", multiplier=1, shift=2)
    >>> net = network("mean", input_layer(2, 2), mean)
    >>> images = np.array([[[[1, 2], [3, 5]]]], dtype=np.uint8)
    >>> predict(net, images).tolist()  # there is one class
    [0]
    """
    scores = next((output.layer for output in network.outputs if output.is_scores), None)
    if scores is None:
        raise InputError(f"{network.name} predicts no classes: none of its outputs is class scores")
    classes = []
    for sample in run(network, images, product)[scores].tolist():
        flat = [value for plane in sample for row in plane for value in row]
        classes.append(flat.index(max(flat)))
    return np.array(classes, dtype=np.int64)


def trace(
    network: IntegerNetwork, images: NDArray[Any], product: Product | None = None
) -> OracleTrace:
    """Run images (N, C, H, W) through the network and keep everything.

    Raises
    ------
    InputError
        If the images do not fit the network's input, or the network's 64-bit bounds do not hold
        for `product` (what it was trained for, where none is given).
    """
    product = Product(kind=network.product) if product is None else product
    network.check_product(product)
    shapes = map_shapes(network)
    first = network.layers[0]
    assert isinstance(first, Input)
    _check_images(first, shapes[first.name], images)
    made: dict[str, list[Tensor]] = {}
    result = OracleTrace(feature_maps={}, codes={}, odd_codes={}, steps={}, accumulators={})
    for layer in network.layers:
        read = [made[name] for name in layer.source_names]
        if isinstance(layer, Conv | Linear):
            made[layer.name] = _run_weighted(layer, read[0], product, shapes, result)
        elif isinstance(layer, Input):
            made[layer.name] = [run_input(layer, image) for image in images.tolist()]
        else:
            bits = shapes[layer.name].bits
            made[layer.name] = [
                run_plain(layer, sample, bits) for sample in zip(*read, strict=True)
            ]
        result.feature_maps[layer.name] = _pack(made[layer.name], shapes[layer.name])
    return result


def _check_images(layer: Input, shape: MapShape, images: NDArray[Any]) -> None:
    if images.dtype.kind not in "iu":
        raise InputError(f"images must be integers, not {images.dtype}")
    smallest = -(2 ** (layer.bits - 1)) if layer.signed else 0
    largest = smallest + 2**layer.bits - 1
    wrong = [value for value in images.reshape(-1).tolist() if not smallest <= value <= largest]
    if wrong:
        raise InputError(f"images must hold {smallest}..{largest}, not {wrong[0]}")
    if images.ndim != 4 or images.shape[1:] != shape.tensor:
        raise InputError(f"images must be (N, {str(shape.tensor)[1:]}, not {images.shape}")


def _pack(samples: Sequence[Tensor], shape: MapShape) -> IntArray:
    return np.array(samples, dtype=np.int64).reshape(len(samples), *shape.tensor)


def _run_weighted(
    layer: Conv | Linear,
    source: list[Tensor],
    product: Product,
    shapes: dict[str, MapShape],
    result: OracleTrace,
) -> list[Tensor]:
    """The layer's outputs, sample by sample; everything on the way goes to `result`."""
    steps = [
        step_size(
            layer.quantizer, sample, {name: int(made[n]) for name, made in result.steps.items()}
        )
        for n, sample in enumerate(source)
    ]
    read = list(zip(steps, source, strict=True))
    codes = [quantize(layer.quantizer, step, x) for step, x in read]
    result.steps[layer.name] = np.array(steps, dtype=np.int64)
    result.codes[layer.name] = _pack(codes, shapes[layer.source])
    both: list[tuple[Tensor, ...]] = [(sample,) for sample in codes]
    tables = product_tables(layer, product)
    count = len(tables)
    if has_odd_codes(layer, product):
        odd = [quantize_odd(layer.quantizer, step, x) for step, x in read]
        result.odd_codes[layer.name] = _pack(odd, shapes[layer.source])
        both, count = list(zip(codes, odd, strict=True)), 1
    accumulators = [accumulate(layer, tables, *sample) for sample in both]
    result.accumulators[layer.name] = tuple(
        _pack([sample[index] for sample in accumulators], shapes[layer.name])
        for index in range(count)
    )
    return [
        requantize(layer, step, sample, product)
        for step, sample in zip(steps, accumulators, strict=True)
    ]
