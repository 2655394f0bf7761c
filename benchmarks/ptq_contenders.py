"""Who quantizes a trained network after its training, each with its own best settings.

A contender makes a quantized network of a `Problem`, and classifies with it. Ours are integer
networks in the bit-accurate simulator, ONNX Runtime's run in its integer kernels, Brevitas' in
floating point with rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asq_hw.errors import InputError
from benchmarks.ptq_networks import Problem

__all__ = ["CONTENDERS", "Contender"]

Classify = Callable[[NDArray[np.uint8]], NDArray[np.int64]]
Quantize = Callable[[Problem, Path], Classify]
_AT_ONCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A tool with its settings.

    Parameters
    ----------
    tool, bits, settings : str
        As the table shows them.
    quantize : callable
        Makes what classifies pixels; files go into a folder.
    """

    tool: str
    bits: str
    settings: str
    quantize: Quantize

    @property
    def name(self) -> str:
        """All three."""
        return f"{self.tool} {self.bits} {self.settings}"


def _classify(scores: Callable[[torch.Tensor], Any], problem: Problem) -> Classify:
    """Classify in batches by what makes scores of images as the network sees them."""

    def classify(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        parts = [pixels[i : i + _AT_ONCE] for i in range(0, len(pixels), _AT_ONCE)]
        with torch.no_grad():
            found = [np.asarray(scores(problem.seen(part))).argmax(1) for part in parts]
        return np.concatenate(found)

    return classify


def _floating(problem: Problem, folder: Path) -> Classify:
    return _classify(problem.model, problem)


def _ours(
    problem: Problem, folder: Path, *, weight_bits: int, activation_bits: int, **how: Any
) -> Classify:
    import asq_hw

    images = problem.seen(problem.calibration)
    made = asq_hw.prepare(
        problem.model, images[:2], weight_bits=weight_bits, activation_bits=activation_bits
    )
    asq_hw.calibrate(made, images, **how)
    network = asq_hw.export(made, mean=problem.mean, std=problem.std)
    return lambda pixels: np.asarray(asq_hw.simulate(network, pixels).predictions)


def _onnxruntime(problem: Problem, folder: Path, *, method: str, activations: str) -> Classify:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType

    from benchmarks import onnx_peers

    images = problem.seen(problem.calibration).numpy()
    floating, target = folder / "float.onnx", folder / "int8.onnx"
    onnx_peers.export_float(problem.model, images[:1], floating)
    form = onnx_peers.Int8Form(
        operators=QuantFormat.QDQ, activations=QuantType[activations], per_channel=True
    )
    onnx_peers.quantize_int8(floating, target, images, form, CalibrationMethod[method])
    session = onnx_peers.session(target, torch.get_num_threads())
    return _classify(lambda x: session.run(None, {"images": x.numpy()})[0], problem)


def _brevitas(
    problem: Problem,
    folder: Path,
    *,
    weight_bits: int,
    activation_bits: int,
    gptq: bool = False,
    param_method: str = "mse",
) -> Classify:
    from brevitas.graph.quantize import preprocess_for_quantize
    from brevitas_examples.imagenet_classification.ptq import ptq_common

    from asq_hw.interface.prepare import floating_copy

    images = problem.seen(problem.calibration)
    batches = [(part, None) for part in images.split(_AT_ONCE)]
    plain = floating_copy(problem.model, images[:2])  # it passes over subclasses of Conv2d
    model = preprocess_for_quantize(plain, relu6_to_relu=False, equalize_iters=0)
    model = ptq_common.quantize_model(
        model,
        backend="layerwise",
        weight_bit_width=weight_bits,
        act_bit_width=activation_bits,
        bias_bit_width=32,
        weight_quant_granularity="per_channel",
        act_quant_percentile=99.999,
        act_quant_type="sym",
        scale_factor_type="float_scale",
        quant_format="int",
        weight_param_method=param_method,
    )
    _check_quantized(model)
    model.eval()
    with torch.no_grad():
        model(images[:1])
    ptq_common.calibrate(batches, model)
    if gptq:
        few = batches[:: max(1, len(batches) // 4)]
        ptq_common.apply_gptq(few, model, act_order=True)
    ptq_common.apply_bias_correction(batches, model)
    return _classify(model, problem)


def _check_quantized(model: nn.Module) -> None:
    from brevitas.nn.mixin.parameter import QuantWeightMixin

    weighted = [one for one in model.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    left = sum(not isinstance(one, QuantWeightMixin) for one in weighted)
    if left or not weighted:
        raise InputError(f"{left} of {len(weighted)} layers would stay in floating point")


def _contenders() -> Iterator[Contender]:
    yield Contender(tool="PyTorch", bits="float", settings="", quantize=_floating)
    widths = ((8, 8), (4, 8), (4, 4))
    for weight_bits, activation_bits in widths:
        bits = f"W{weight_bits}A{activation_bits}"
        both: dict[str, Any] = {"weight_bits": weight_bits, "activation_bits": activation_bits}
        settings: dict[str, dict[str, Any]] = {"default": {}}
        if weight_bits < 8:
            settings |= {
                "adaptive rounding": {"rounding": "adaptive"},
                "nearest, nothing corrected": {"correction": "none"},
            }
        for title, how in settings.items():
            quantize = partial(_ours, **both, **how)
            yield Contender(tool="asq-hw", bits=bits, settings=title, quantize=quantize)
        if weight_bits == 8:
            for method in ("MinMax", "Entropy", "Percentile"):
                for activations in ("QUInt8", "QInt8"):
                    quantize = partial(_onnxruntime, method=method, activations=activations)
                    title = f"per channel, {activations}, {method}"
                    yield Contender(
                        tool="ONNX Runtime", bits=bits, settings=title, quantize=quantize
                    )
        title = "per channel, mse, bias correction"
        yield Contender(
            tool="Brevitas", bits=bits, settings=title, quantize=partial(_brevitas, **both)
        )
        if weight_bits < 8:
            quantize = partial(_brevitas, **both, gptq=True)
            yield Contender(
                tool="Brevitas", bits=bits, settings=f"{title}, GPTQ", quantize=quantize
            )


CONTENDERS = {contender.name: contender for contender in _contenders()}
