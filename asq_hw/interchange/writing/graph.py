"""A graph of ONNX's operators that grows node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import helper, numpy_helper

__all__ = ["GraphWriter"]


class GraphWriter:
    """Nodes and constants, in the order in which they are computed.

    Tensors are known by their names. Within a layer they are called ``LAYER/OPERATOR_NUMBER``,
    which no layer can be called.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
    constants : list of onnx.TensorProto
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._scope = ""

    def enter(self, layer: str) -> None:
        """Name what comes after a layer."""
        self._scope = layer

    def op(
        self,
        operator: str,
        *inputs: str,
        output: str | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node with one output.

        Parameters
        ----------
        operator : str
            Its type.
        *inputs : str
            Tensors; an empty string where an optional one is left out.
        output : str, optional
            Name of what it makes.
        domain : str
            Of operators that are not ONNX's own.
        **attributes
            Its attributes.

        Returns
        -------
        str
            What it makes.
        """
        name = f"{self._scope}/{operator}_{len(self.nodes)}"
        made = name if output is None else output
        self.nodes.append(
            helper.make_node(operator, inputs, [made], name=name, domain=domain, **attributes)
        )
        return made

    def constant(self, values: ArrayLike, dtype: DTypeLike = np.int64) -> str:
        """A constant tensor; equal ones are one."""
        array: NDArray[Any] = np.ascontiguousarray(np.asarray(values, dtype=dtype))
        array = array.reshape(np.shape(values))  # a scalar stays one
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"{self._scope}/constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def cast(self, tensor: str, dtype: DTypeLike, output: str | None = None) -> str:
        """The same values in another type."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", tensor, output=output, to=int(kind))
