"""MobileNet-V2.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from asq_hw.network.topologies.layers import Block, Classifier, Convolution, Plan, Step
from asq_hw.network.topologies.topology import Topology

__all__ = ["TOPOLOGIES", "InvertedResidual", "MobileNetV2"]

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, first stride (Table 2)."""

_SMALL_STAGES = (_STAGES[0], (6, 24, 2, 1), *_STAGES[2:])
"""For small images, with a stem that keeps their size: three halvings in place of five."""

_SOURCE = "Sandler et al., arXiv:1801.04381"
_STEM = 32
_HEAD = 1280


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertedResidual(Block):
    """Expand by a 1 x 1 convolution, filter each channel, project without a ReLU.

    Parameters
    ----------
    name : str
        Name within the network.
    in_channels, out_channels, stride : int
        Channels, and how many times smaller the map behind is.
    expansion : int
        How many times as many channels there are inside; 1 needs no expansion.
    """

    name: str
    in_channels: int
    out_channels: int
    stride: int
    expansion: int

    @property
    def expand(self) -> Convolution | None:
        """The 1 x 1 convolution that widens, if any does."""
        if self.expansion == 1:
            return None
        return Convolution(
            name=f"{self.name}.expand",
            in_channels=self.in_channels,
            out_channels=self._hidden,
            kernel_size=1,
        )

    @property
    def depthwise(self) -> Convolution:
        """The 3 x 3 convolution of each channel by itself."""
        return Convolution(
            name=f"{self.name}.depthwise",
            in_channels=self._hidden,
            out_channels=self._hidden,
            stride=self.stride,
            groups=self._hidden,
        )

    @property
    def project(self) -> Convolution:
        """The 1 x 1 convolution that narrows."""
        return Convolution(
            name=f"{self.name}.project",
            in_channels=self._hidden,
            out_channels=self.out_channels,
            kernel_size=1,
        )

    @property
    def has_shortcut(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.stride == 1 and self.in_channels == self.out_channels

    @property
    def branches(self) -> tuple[tuple[Convolution, ...], ...]:
        """The convolutions, one after another."""
        expand = self.expand
        return ((*([] if expand is None else [expand]), self.depthwise, self.project),)

    @property
    def _hidden(self) -> int:
        return self.in_channels * self.expansion


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV2(Plan):
    """A stem, inverted residuals, a wide 1 x 1 convolution, and a classifier.

    Parameters
    ----------
    conv1, conv2 : Convolution
        The stem, and what follows the blocks.
    blocks : tuple of InvertedResidual
        What stands between them.
    classifier : Classifier
        What comes last.
    """

    conv1: Convolution
    blocks: tuple[InvertedResidual, ...]
    conv2: Convolution
    classifier: Classifier

    @property
    def steps(self) -> tuple[Step, ...]:
        """The stem, every block, and the wide convolution."""
        return (self.conv1, *self.blocks, self.conv2)


def _mobilenetv2(
    stages: Sequence[tuple[int, int, int, int]],
    stride: int,
    width: int,
    in_channels: int,
    num_classes: int,
) -> MobileNetV2:
    """The network whose stem has `width` channels: 32 in the paper's, and all others scale."""
    channels = _scaled(_STEM, width)
    conv1 = Convolution(name="conv1", in_channels=in_channels, out_channels=channels, stride=stride)
    blocks = []
    for stage, (expansion, stage_channels, count, first_stride) in enumerate(stages):
        out_channels = _scaled(stage_channels, width)
        for block in range(count):
            blocks.append(
                InvertedResidual(
                    name=f"layer{stage + 1}.{block}",
                    in_channels=channels,
                    out_channels=out_channels,
                    stride=1 if block else first_stride,
                    expansion=expansion,
                )
            )
            channels = out_channels
    head = max(_scaled(_HEAD, width), _HEAD)
    return MobileNetV2(
        conv1=conv1,
        blocks=tuple(blocks),
        conv2=Convolution(name="conv2", in_channels=channels, out_channels=head, kernel_size=1),
        classifier=Classifier(in_channels=head, num_classes=num_classes),
    )


def _scaled(channels: int, width: int) -> int:
    """Channels of a layer where the stem has `width`: a multiple of 8, at most 10 % fewer."""
    exact = channels * width / _STEM
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8


TOPOLOGIES = (
    Topology(
        name="mobilenetv2",
        source=_SOURCE,
        make_plan=partial(_mobilenetv2, _STAGES, 2),
        width=_STEM,
        image_size=224,
        num_classes=1000,
    ),
    Topology(
        name="mobilenetv2-32",
        source=_SOURCE,
        variant_of="mobilenetv2",
        make_plan=partial(_mobilenetv2, _SMALL_STAGES, 1),
        width=_STEM,
        image_size=32,
        num_classes=10,
    ),
)
