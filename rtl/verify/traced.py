"""A layer's tensors in its network, from the simulator (`asq_hw.sim`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asq_hw.datasets.small import load_bundled
from asq_hw.network.graph import IntegerNetwork
from asq_hw.sim.engine import simulate
from asq_hw.sim.tensors import TraceBatch
from rtl.quantizer.of_layer import LayerUnits
from rtl.verify.met import IMAGES, Extent, Integers, Traced

__all__ = ["images_for", "trace"]

_PACKAGED = "fashion-mnist"


def images_for(network: IntegerNetwork, count: int = IMAGES) -> NDArray[np.uint8]:
    """Images that suit a network, uint8 (N, C, H, W): the packaged ones where it knows them.

    Others are drawn: noise of every brightness and contrast, black and white among them.
    """
    layer = network.input
    shape = (layer.channels, layer.height, layer.width)
    packaged = load_bundled("test").images
    if _PACKAGED in network.references and packaged.shape[1:] == shape:
        return np.asarray(packaged[:count])
    random = np.random.default_rng(6)
    centers = random.integers(0, 256, (count, 1, 1, 1))
    spreads = random.integers(0, 256, (count, 1, 1, 1))
    centers[:2, 0, 0, 0], spreads[:2] = (0, 255), 0
    noise = random.random((count, *shape)) - 0.5
    return np.clip(centers + noise * spreads, 0, 255).astype(np.uint8)


def trace(units: LayerUnits, images: NDArray[np.uint8], extent: Extent | None = None) -> Traced:
    """Run the network on images, uint8 (N, C, H, W), and keep what the layer reads and makes."""
    name, parts = units.layer.name, ("even", "odd") if len(units.sums) == 2 else ("sum",)
    kinds = [f"{name}-{kind}" for kind in ("step", "codes", *parts)]
    has_odd = units.product.uses_odd_codes(units.layer.weight_grid)
    odd = [f"{name}-odd-codes"] if has_odd else []
    wanted = [units.layer.source, *kinds, name, *odd]
    kept: dict[str, list[Integers]] = {each: [] for each in wanted}

    def keep(batch: TraceBatch) -> None:
        for each in wanted:
            kept[each].append(batch.tensors[each].astype(np.int64))

    simulate(units.network, images, product=units.product, trace=keep)
    made = {each: np.concatenate(kept[each]) for each in wanted}
    return Traced(
        features=made[units.layer.source],
        steps=made[f"{name}-step"],
        codes=made[f"{name}-codes"],
        sums=tuple(made[f"{name}-{part}"] for part in parts),
        outputs=made[name],
        odd_codes=made[odd[0]] if odd else None,
        extent=extent or Extent(images=len(images)),
    )
