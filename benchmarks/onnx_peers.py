"""ONNX Runtime's forms of a network: float32, and int8 in the ways that its quantizer offers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
    shape_inference,
)
from torch import nn

__all__ = ["INT8_FORMS", "Int8Form", "export_float", "quantize_int8", "session"]

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Form:
    """One way to make an int8 network of a float32 one."""

    operators: QuantFormat
    activations: QuantType
    per_channel: bool

    def __str__(self) -> str:
        """What sets it apart, in a few words."""
        kind = "u8s8" if self.activations is QuantType.QUInt8 else "s8s8"
        weights = "per channel" if self.per_channel else "per tensor"
        return f"{self.operators.name} {kind} {weights}"


INT8_FORMS = tuple(
    Int8Form(operators=operators, activations=activations, per_channel=per_channel)
    for operators in (QuantFormat.QDQ, QuantFormat.QOperator)
    for activations in (QuantType.QUInt8, QuantType.QInt8)
    for per_channel in (False, True)
)
"""All that are tried; the fastest one stands for ONNX Runtime."""


def export_float(model: nn.Module, example: Pixels, path: Path) -> None:
    """Write a floating-point network as ONNX, its batch free, batch norm folded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        torch.onnx.export(
            model,
            (torch.from_numpy(example),),
            path,
            input_names=["images"],
            output_names=["scores"],
            dynamic_axes={"images": {0: "N"}, "scores": {0: "N"}},
            dynamo=False,
        )


class _Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Calibration images, one at a time."""

    def __init__(self, images: Pixels) -> None:
        self._rest: Iterator[Pixels] = iter(np.split(images, len(images)))

    def get_next(self) -> dict[str, Pixels] | None:
        image = next(self._rest, None)
        return None if image is None else {"images": image}


def quantize_int8(
    floating: Path,
    target: Path,
    images: Pixels,
    form: Int8Form,
    method: CalibrationMethod = CalibrationMethod.MinMax,
) -> None:
    """Quantize a float32 ONNX network statically, calibrated on images."""
    prepared = floating.with_suffix(".prepared.onnx")
    if not prepared.exists():
        shape_inference.quant_pre_process(str(floating), str(prepared))
    quantize_static(
        str(prepared),
        str(target),
        _Images(images),
        quant_format=form.operators,
        activation_type=form.activations,
        weight_type=QuantType.QInt8,
        per_channel=form.per_channel,
        calibrate_method=method,
    )


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a network with all of ONNX Runtime's optimizations and so many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
