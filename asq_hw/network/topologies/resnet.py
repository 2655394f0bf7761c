"""Residual networks of basic blocks.

He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from asq_hw.network.topologies.layers import Block, Classifier, Convolution, MaxPool, Plan, Step
from asq_hw.network.topologies.topology import Topology

__all__ = ["TOPOLOGIES", "BasicBlock", "ResNet", "Shortcut"]

_SOURCE = "He et al., arXiv:1512.03385"


class Shortcut(StrEnum):
    """What stands in a shortcut where the shape changes, by He et al.'s letters."""

    PADDING = "A"
    """Each stride-th pixel, between channels of zeros: no parameters."""
    CONVOLUTION = "B"
    """A 1 x 1 convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicBlock(Block):
    """Two 3 x 3 convolutions and a shortcut.

    Parameters
    ----------
    name : str
        Name within the network.
    in_channels, out_channels, stride : int
        Channels, and how many times smaller the map behind is.
    shortcut : Shortcut
        What stands in the shortcut where the shape changes.
    """

    name: str
    in_channels: int
    out_channels: int
    stride: int
    shortcut: Shortcut = Shortcut.CONVOLUTION

    @property
    def conv1(self) -> Convolution:
        """The convolution that has the block's stride."""
        return Convolution(
            name=f"{self.name}.conv1",
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            stride=self.stride,
        )

    @property
    def conv2(self) -> Convolution:
        """The convolution behind it."""
        return Convolution(
            name=f"{self.name}.conv2", in_channels=self.out_channels, out_channels=self.out_channels
        )

    @property
    def keeps_shape(self) -> bool:
        """Whether the map behind has the shape of the one before."""
        return self.stride == 1 and self.in_channels == self.out_channels

    @property
    def padding(self) -> tuple[int, int] | None:
        """Channels of zeros before and behind those of a shortcut without parameters."""
        if self.keeps_shape or self.shortcut is not Shortcut.PADDING:
            return None
        added = self.out_channels - self.in_channels
        return added // 2, added - added // 2

    @property
    def downsample(self) -> Convolution | None:
        """The shortcut's convolution, where the shape changes and it has one."""
        if self.keeps_shape or self.shortcut is not Shortcut.CONVOLUTION:
            return None
        return Convolution(
            name=f"{self.name}.downsample",
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            kernel_size=1,
            stride=self.stride,
        )

    @property
    def branches(self) -> tuple[tuple[Convolution, ...], ...]:
        """The two convolutions, and the shortcut's if it has one."""
        shortcut = self.downsample
        return ((self.conv1, self.conv2), *([] if shortcut is None else [(shortcut,)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNet(Plan):
    """A stem, stages of basic blocks, and a classifier.

    Parameters
    ----------
    conv1 : Convolution
        The stem.
    maxpool : MaxPool or None
        What follows it, for large images.
    stages : tuple of tuple of BasicBlock
        Each has twice as many channels as the one before, and half its height and width.
    classifier : Classifier
        What comes last.
    """

    conv1: Convolution
    maxpool: MaxPool | None
    stages: tuple[tuple[BasicBlock, ...], ...]
    classifier: Classifier

    @property
    def steps(self) -> tuple[Step, ...]:
        """The stem, and every block."""
        pool = () if self.maxpool is None else (self.maxpool,)
        return (self.conv1, *pool, *(block for stage in self.stages for block in stage))


def _resnet(
    conv1: Convolution,
    maxpool: MaxPool | None,
    blocks: tuple[int, ...],
    num_classes: int,
    shortcut: Shortcut = Shortcut.CONVOLUTION,
) -> ResNet:
    stages = []
    channels = conv1.out_channels
    for number, count in enumerate(blocks):
        out_channels = conv1.out_channels << number
        stages.append(_stage(f"layer{number + 1}", channels, out_channels, count, shortcut))
        channels = out_channels
    classifier = Classifier(in_channels=channels, num_classes=num_classes)
    return ResNet(conv1=conv1, maxpool=maxpool, stages=tuple(stages), classifier=classifier)


def _stage(
    name: str, in_channels: int, out_channels: int, count: int, shortcut: Shortcut
) -> tuple[BasicBlock, ...]:
    return tuple(
        BasicBlock(
            name=f"{name}.{block}",
            in_channels=out_channels if block else in_channels,
            out_channels=out_channels,
            stride=1 if block or in_channels == out_channels else 2,
            shortcut=shortcut,
        )
        for block in range(count)
    )


def _for_imagenet(
    blocks: tuple[int, ...], width: int, in_channels: int, num_classes: int
) -> ResNet:
    """A network for large images (Table 1): the stem divides height and width by four."""
    conv1 = Convolution(
        name="conv1", in_channels=in_channels, out_channels=width, kernel_size=7, stride=2
    )
    return _resnet(conv1, MaxPool(kernel_size=3, stride=2, padding=1), blocks, num_classes)


def _for_cifar(
    blocks: tuple[int, ...], shortcut: Shortcut, width: int, in_channels: int, num_classes: int
) -> ResNet:
    """A network for small images (section 4.2)."""
    conv1 = Convolution(name="conv1", in_channels=in_channels, out_channels=width)
    return _resnet(conv1, None, blocks, num_classes, shortcut)


TOPOLOGIES = (
    Topology(
        name="resnet18",
        source=_SOURCE,
        make_plan=partial(_for_imagenet, (2, 2, 2, 2)),
        width=64,
        image_size=224,
        num_classes=1000,
    ),
    Topology(
        name="resnet34",
        source=_SOURCE,
        make_plan=partial(_for_imagenet, (3, 4, 6, 3)),
        width=64,
        image_size=224,
        num_classes=1000,
    ),
    Topology(
        name="resnet20",
        source=_SOURCE,
        make_plan=partial(_for_cifar, (3, 3, 3), Shortcut.CONVOLUTION),
        width=16,
        image_size=32,
        num_classes=10,
    ),
    Topology(
        name="resnet20-a",
        source=_SOURCE,
        variant_of="resnet20",
        make_plan=partial(_for_cifar, (3, 3, 3), Shortcut.PADDING),
        width=16,
        image_size=32,
        num_classes=10,
    ),
)
