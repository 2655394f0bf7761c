"""What an operator reads and makes while a network is rewritten."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["Moved", "Shape", "Value", "bound_arguments", "operator_name", "per_channel"]

Shape = tuple[int, ...]
Padding = tuple[int, int, int, int]
_NO_PADDING: Padding = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Where elements came from that are no longer all, or no longer in order.

    Parameters
    ----------
    node : torch.fx.Node
        The captured call that moved them last.
    positions : Tensor of the value's shape
        Of each element, where it stands among all those of the value's `base`.
    count : int
        How many those are.
    """

    node: fx.Node
    positions: Tensor
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A feature map or a vector of the network that is being made, for each sample.

    Parameters
    ----------
    node : torch.fx.Node
        What computes it.
    base : tuple of int
        Shape of what `node` computes, without the batch.
    shape : tuple of int
        Shape that it has for the network's own code: the same elements in the same order, unless
        they were `moved`.
    padding : tuple of int
        Zeros around it that nobody has added yet: above, below, left, right.
    is_unsigned : bool
        Whether it is proven never to be negative.
    maker : Conv2d, Linear, BatchNorm2d, ChannelScale or None
        What computes it and may compute a factor and an offset for each channel besides, for
        nothing else reads it.
    moved : Moved or None
        What has become of the elements that `node` computes, where no layer has moved them yet.
    """

    node: fx.Node
    base: Shape
    shape: Shape
    padding: Padding = _NO_PADDING
    is_unsigned: bool = False
    maker: nn.Module | None = None
    moved: Moved | None = field(default=None, compare=False)

    @property
    def is_padded(self) -> bool:
        """Whether there are zeros around it."""
        return self.padding != _NO_PADDING

    @property
    def is_even(self) -> bool:
        """Whether there are as many zeros on one side as on the other."""
        above, below, left, right = self.padding
        return (above, left) == (below, right)

    def shared(self) -> Value:
        """The same where something else reads it too."""
        return replace(self, maker=None)

    def unpadded(self) -> tuple[tuple[int, int], Value]:
        """Zeros above and on the left, and what is inside; they must be `is_even`."""
        above, _, left, _ = self.padding
        return (above, left), self.without_padding()

    def without_padding(self) -> Value:
        """What is inside of the zeros."""
        shape = self.base if self.is_padded else self.shape
        return replace(self, padding=_NO_PADDING, shape=shape)


def operator_name(node: fx.Node) -> str:
    """Name of ATen's operator, such as ``conv2d``, or of a function of Python."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return str(getattr(node.target, "__name__", node.target))
    return str(schema.name).rpartition("::")[2]


def bound_arguments(node: fx.Node) -> dict[str, Any]:
    """Every argument of a call by its name, defaults included."""
    if node.target is operator.getitem:
        return {"input": node.args[0], "index": node.args[1]}
    found: dict[str, Any] = {}
    for place, argument in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        if place < len(node.args):
            found[argument.name] = node.args[place]
        elif argument.name in node.kwargs:
            found[argument.name] = node.kwargs[argument.name]
        elif argument.has_default_value():
            found[argument.name] = argument.default_value
    return found


def per_channel(constant: Tensor | float, shape: Shape) -> Tensor | None:
    """A constant as one number for each channel of a value, or None if it has more than that.

    Parameters
    ----------
    constant : Tensor, or float
        Something that is broadcast to ``(N, *shape)``.
    shape : tuple of int

    Returns
    -------
    Tensor of shape (C,) or ()
    """
    tensor = torch.as_tensor(constant, dtype=torch.float32)
    if tensor.numel() == 1:
        return tensor.reshape(())
    whole = tensor.reshape((1,) * (1 + len(shape) - tensor.dim()) + tuple(tensor.shape))
    if whole.shape[0] != 1 or whole.shape[1] not in (1, shape[0]) or whole[0, 0].numel() != 1:
        return None
    return whole.reshape(-1)
