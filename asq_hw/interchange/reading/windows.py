"""Windows of convolutions and pools, as nodes tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asq_hw.interchange.reading.graph import Node

__all__ = ["Window", "window_of"]

_RANK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Pairs, down and across; `sides` are left, right, above and below."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    sides: tuple[int, int, int, int]

    @property
    def padding(self) -> tuple[int, int] | None:
        """Where it is the same on both sides."""
        left, right, above, below = self.sides
        return (above, left) if (left, above) == (right, below) else None


def window_of(node: Node, shape: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of a node, checked.

    Parameters
    ----------
    node : Node
    shape : sequence of int
        Of what it is given, (N, C, H, W).
    kernel : sequence of int
        Height and width of its kernel.

    Raises
    ------
    InputError
        If something in it is impossible.
    """
    if len(shape) != _RANK:
        raise node.refused(f"{node.operator} must have images, not {tuple(shape)}")
    given = node.integers("kernel_shape", list(kernel))
    if given != list(kernel):
        raise node.refused(f"kernel_shape must be {list(kernel)}, not {given}")
    stride = _pair(node, "strides", node.integers("strides", (1, 1)), 1)
    dilation = _pair(node, "dilations", node.integers("dilations", (1, 1)), 1)
    size = _pair(node, "kernel_shape", kernel, 1)
    return Window(
        kernel=size,
        stride=stride,
        dilation=dilation,
        sides=_sides(node, shape, size, stride, dilation),
    )


def _pair(node: Node, what: str, values: Sequence[int], low: int) -> tuple[int, int]:
    if len(values) != 2 or min(values) < low or max(values) >= 1 << 16:
        raise node.refused(f"{what} must be two integers from {low} on, not {list(values)}")
    return values[0], values[1]


def _sides(
    node: Node,
    shape: Sequence[int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    mode, pads = node.text("auto_pad", "NOTSET"), node.integers("pads", (0, 0, 0, 0))
    if len(pads) != 4 or min(pads) < 0 or (mode != "NOTSET" and any(pads)):
        raise node.refused(f"pads must be four integers from 0 on, not {pads} with {mode}")
    if mode == "VALID":
        return 0, 0, 0, 0
    if mode == "NOTSET":
        above, left, below, right = pads
        return left, right, above, below
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.refused(f"auto_pad {mode!r} is not known")
    pairs = []
    for axis, size in enumerate(shape[2:]):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        total = max(0, (-(-size // stride[axis]) - 1) * stride[axis] + reach - size)
        less, more = total // 2, total - total // 2
        pairs.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return *pairs[1], *pairs[0]
