"""Whole networks: images per second of the simulator and of its peers, and where its time goes."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asq_hw import modelfile
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear
from asq_hw.numbers.products import Product
from asq_hw.sim import profile_layers
from asq_hw.sim.engine import Run
from asq_hw.train.data.batches import normalize
from benchmarks import networks
from benchmarks.timing import Section, interleave, medians

__all__ = ["Timed", "compare_networks", "layer_table", "load_network"]

_PEER_BATCHES = (1, 8)
_CALIBRATION = 8
Images = NDArray[np.uint8]
Runner = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What is timed, and how often."""

    images: int
    repetitions: int
    threads: Sequence[int]
    folder: Path
    """Where the peers' files are kept."""


def compare_networks(name: str, timed: Timed) -> Section:
    """Images per second of one of `networks.NETWORKS`; every peer on one thread."""
    prepared = networks.prepare(name)
    images = networks.draw_images(timed.images)
    pixels = _pixels(images)
    notes = ["Peers run on one thread, in batches of 1 or 8, whichever is faster for each."]
    groups = {
        "PyTorch float32": _torch_runners(prepared.floating, pixels),
        "PyTorch fake-quantized": _torch_runners(prepared.fake_quantized, pixels),
    }
    if importlib.util.find_spec("onnxruntime") is None:
        notes.append("ONNX Runtime is not installed: pip install 'asq-hw[bench]'.")
    else:
        groups |= _onnx_runners(name, prepared.floating, pixels, timed.folder)
    torch.set_num_threads(1)
    fastest = {peer: _fastest(runners) for peer, runners in groups.items()}
    labels = {f"{peer}, {chosen[0]}": chosen[1] for peer, chosen in fastest.items()}
    ours = {
        f"simulator, {count} thread{'s' * (count > 1)}": _simulator(prepared.integer, images, count)
        for count in timed.threads
    }
    seconds = medians(interleave(labels | ours, timed.repetitions))
    first = seconds[next(iter(ours))]
    rows = [
        {
            "what": label,
            "images/s": timed.images / value,
            f"{next(iter(ours))} is faster by": value / first,
        }
        for label, value in seconds.items()
    ]
    return Section(title=f"{name}, 224 x 224, W4A4", rows=rows, notes=notes)


def layer_table(network: IntegerNetwork, images: Images, peak: float | None) -> Section:
    """Milliseconds of each layer on one thread, and the part of the machine's peak it reaches."""
    seconds = profile_layers(network, images)
    macs, maps = network.macs(), network.feature_maps()
    rows: list[dict[str, Any]] = []
    for layer in network.layers:
        if layer.name not in seconds:
            continue
        row: dict[str, Any] = {
            "layer": layer.name,
            "output": "x".join(map(str, maps[layer.name].shape)),
            "ms": 1000 * seconds[layer.name],
        }
        if isinstance(layer, Conv | Linear):
            products = macs[layer.name] * (2 if layer.weight_grid.uses_sqrt2 else 1)
            row["M products"] = products / 1e6
            if seconds[layer.name] > 0:  # else it took no longer than calling does
                rate = products / seconds[layer.name]
                row["G products/s"] = rate / 1e9
                if peak is not None:
                    row["of the peak"] = f"{rate / peak:.0%}"
        rows.append(row)
    rows.append(_whole(rows, peak))
    notes = ["A POST weight has two products, of its even and of its odd part."]
    if peak is not None:
        notes.append(
            f"The peak is {peak / 1e9:.0f} G products of bytes per second on one core. Winograd's "
            "method computes 16 products in place of 36, so that layers may exceed it."
        )
    return Section(title=f"{network.name}: layers", rows=rows, notes=notes)


def _whole(rows: Sequence[dict[str, Any]], peak: float | None) -> dict[str, Any]:
    """The last row: the whole network."""
    milliseconds = sum(row["ms"] for row in rows)
    products = sum(row.get("M products", 0) for row in rows)
    rate = products / milliseconds * 1e9 if milliseconds else 0.0
    whole = {"layer": "all", "ms": milliseconds, "M products": products, "G products/s": rate / 1e9}
    return whole if peak is None else whole | {"of the peak": f"{rate / peak:.0%}"}


def _pixels(images: Images) -> NDArray[np.float32]:
    """The images as a network in floating point takes them; any mean will do for its speed."""
    made = normalize(torch.from_numpy(images), mean=0.45, std=0.22)
    return np.ascontiguousarray(made.numpy())


def _simulator(network: IntegerNetwork, images: Images, threads: int) -> Runner:
    run = Run(network, images, product=Product(), kernel="auto")
    run.warm_up()

    def go() -> None:
        for _ in run.run(threads, 1):
            pass

    return go


def _torch_runners(model: nn.Module, pixels: NDArray[np.float32]) -> dict[str, Runner]:
    model = model.eval().to(memory_format=torch.channels_last)
    given = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)

    def runner(batch: int) -> Runner:
        def go() -> None:
            with torch.inference_mode():
                for part in given.split(batch):
                    model(part)

        return go

    return {f"batch {batch}": runner(batch) for batch in _PEER_BATCHES}


def _onnx_runners(
    name: str, model: nn.Module, pixels: NDArray[np.float32], folder: Path
) -> dict[str, dict[str, Runner]]:
    """ONNX Runtime in float32 and in all of its int8 forms, from files that are made once."""
    from benchmarks import onnx_peers

    logging.getLogger().setLevel(logging.ERROR)  # the quantizer gives advice at each call
    folder.mkdir(parents=True, exist_ok=True)
    floating = folder / f"{name}.onnx"
    if not floating.exists():
        onnx_peers.export_float(
            model.to(memory_format=torch.contiguous_format), pixels[:1], floating
        )

    def runner(path: Path, batch: int) -> Runner:
        session = onnx_peers.session(path, 1)
        parts = [pixels[i : i + batch] for i in range(0, len(pixels), batch)]
        return lambda: [session.run(None, {"images": part}) for part in parts]

    integers: dict[str, Runner] = {}
    for form in onnx_peers.INT8_FORMS:
        path = folder / f"{name}-{str(form).replace(' ', '-')}.onnx"
        if not path.exists():
            onnx_peers.quantize_int8(floating, path, pixels[:_CALIBRATION], form)
        for batch in _PEER_BATCHES:
            integers[f"{form}, batch {batch}"] = runner(path, batch)
    floats = {f"batch {batch}": runner(floating, batch) for batch in _PEER_BATCHES}
    return {"ONNX Runtime float32": floats, "ONNX Runtime int8": integers}


def _fastest(runners: dict[str, Runner]) -> tuple[str, Runner]:
    """The fastest of one repetition each; that one is then timed with care."""
    seconds = medians(interleave(runners, 1))
    name = min(seconds, key=lambda key: seconds[key])
    return name, runners[name]


def load_network(name: str, folder: Path) -> IntegerNetwork:
    """One of `networks.NETWORKS` from the folder, where it is written first if need be."""
    path = folder / f"{name}.asq"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        modelfile.save(networks.prepare(name).integer, path)
    return modelfile.load(path)
