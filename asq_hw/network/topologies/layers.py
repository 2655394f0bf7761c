"""What a network's plan is made of: layers, and steps from one feature map to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod

__all__ = ["Block", "Classifier", "Convolution", "MaxPool", "Plan", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A convolution without bias, padded by half its kernel, and the batch norm behind it.

    Parameters
    ----------
    name : str
        Name within the network.
    in_channels, out_channels, groups : int
        Channels, and the number of groups they are split into.
    kernel_size, stride : int
        Of height and of width.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel_size: int = 3
    stride: int = 1
    groups: int = 1

    @property
    def padding(self) -> int:
        """Zeros around the feature map, in pixels."""
        return self.kernel_size // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """Maxima over windows of a feature map.

    Parameters
    ----------
    kernel_size, stride, padding : int
        Of height and of width.
    """

    kernel_size: int
    stride: int
    padding: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """The mean of every channel, and a linear layer behind it.

    Parameters
    ----------
    in_channels, num_classes : int
        Channels, and how many classes there are.
    """

    in_channels: int
    num_classes: int


class Block(ABC):
    """Convolutions in branches, each from the feature map before the block."""

    __slots__ = ()

    @property
    @abstractmethod
    def branches(self) -> tuple[tuple[Convolution, ...], ...]:
        """The convolutions of each branch, one after another.

        The first branch makes the map behind the block; what others make is added to it.
        """


Step = Convolution | MaxPool | Block


class Plan(ABC):
    """A network of one width, for images and classes of one kind."""

    __slots__ = ()

    classifier: Classifier

    @property
    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """All that comes before the classifier, in the order it runs."""

    @property
    def stride(self) -> int:
        """How many times smaller the map before the classifier is than the image."""
        return prod(_stride(step) for step in self.steps)


def _stride(step: Step) -> int:
    if isinstance(step, Block):
        return prod(layer.stride for layer in step.branches[0])
    return step.stride
