"""Small ONNX files, put together node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

QUANT_DOMAIN = "qonnx.custom_op.general"

Arrays = Mapping[str, NDArray[Any]]


def node(
    kind: str, inputs: str, output: str, *, name: str | None = None, domain: str = "", **how: Any
) -> onnx.NodeProto:
    """A node with the tensors that `inputs` lists, apart by blanks; ``-`` leaves one out."""
    given = ["" if one == "-" else one for one in inputs.split()]
    return helper.make_node(
        kind, given, output.split(), name=name or f"the_{output}", domain=domain, **how
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Arrays | None = None,
    *,
    shape: Sequence[int | str] = ("N", 2, 6, 5),
    output: str | Sequence[str] = "y",
    opset: int = 18,
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A network from ``x`` to `output`, or to several."""
    outputs = [output] if isinstance(output, str) else output
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, None) for one in outputs],
        [
            numpy_helper.from_array(np.array(value, order="C"), key)
            for key, value in (constants or {}).items()
        ],
    )
    versions = {"": opset, **(domains or {})}
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*pair) for pair in versions.items()],
        ir_version=8,
    )


def drawn(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> NDArray[np.float32]:
    """Numbers in floating point."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)
