"""A network of our own for 8 x 8 digits, which trains in seconds."""

from __future__ import annotations

from dataclasses import dataclass

from asq_hw.network.topologies.layers import Block, Classifier, Convolution, MaxPool, Plan, Step
from asq_hw.network.topologies.topology import Topology

__all__ = ["TOPOLOGIES", "DigitsNet", "SeparableBlock"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparableBlock(Block):
    """Depthwise, then linear pointwise convolution, around a shortcut.

    Parameters
    ----------
    name : str
        Name within the network.
    channels : int
        Before, inside and behind.
    """

    name: str
    channels: int

    @property
    def depthwise(self) -> Convolution:
        """The 3 x 3 convolution of each channel by itself."""
        return Convolution(
            name=f"{self.name}.depthwise",
            in_channels=self.channels,
            out_channels=self.channels,
            groups=self.channels,
        )

    @property
    def pointwise(self) -> Convolution:
        """The 1 x 1 convolution behind it."""
        return Convolution(
            name=f"{self.name}.pointwise",
            in_channels=self.channels,
            out_channels=self.channels,
            kernel_size=1,
        )

    @property
    def branches(self) -> tuple[tuple[Convolution, ...], ...]:
        """The two convolutions."""
        return ((self.depthwise, self.pointwise),)


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsNet(Plan):
    """Every kind of layer that networks here have, once or twice.

    Parameters
    ----------
    conv1, conv2 : Convolution
        Each begins a half; the second has twice the channels.
    block1, block2 : SeparableBlock
        Each ends a half.
    maxpool : MaxPool
        Between `conv2` and `block2`.
    classifier : Classifier
        What comes last.
    """

    conv1: Convolution
    block1: SeparableBlock
    conv2: Convolution
    maxpool: MaxPool
    block2: SeparableBlock
    classifier: Classifier

    @property
    def steps(self) -> tuple[Step, ...]:
        """Both halves."""
        return (self.conv1, self.block1, self.conv2, self.maxpool, self.block2)


def _digits(width: int, in_channels: int, num_classes: int) -> DigitsNet:
    return DigitsNet(
        conv1=Convolution(name="conv1", in_channels=in_channels, out_channels=width),
        block1=SeparableBlock(name="block1", channels=width),
        conv2=Convolution(name="conv2", in_channels=width, out_channels=2 * width),
        maxpool=MaxPool(kernel_size=2, stride=2),
        block2=SeparableBlock(name="block2", channels=2 * width),
        classifier=Classifier(in_channels=2 * width, num_classes=num_classes),
    )


TOPOLOGIES = (
    Topology(
        name="digits",
        source=None,
        make_plan=_digits,
        width=16,
        image_size=8,
        in_channels=1,
        num_classes=10,
    ),
)
