"""Plans of the known networks: their parts fit each other, and widths by hand."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest

from asq_hw.network.topologies import PUBLISHED, TOPOLOGIES
from asq_hw.network.topologies.layers import Block, Convolution, Plan
from asq_hw.network.topologies.mobilenet import MobileNetV2
from asq_hw.network.topologies.resnet import ResNet


@pytest.mark.parametrize("width", [8, 24, 64])
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_part_takes_the_channels_that_the_one_before_makes(name: str, width: int) -> None:
    plan = TOPOLOGIES[name].plan(width=width, in_channels=5, num_classes=7)
    channels, names = 5, []
    for step in plan.steps:
        branches = step.branches if isinstance(step, Block) else ((step,),)
        ends = set()
        for branch in branches:
            made = channels
            for layer in branch:
                if not isinstance(layer, Convolution):
                    continue
                assert layer.in_channels == made
                assert layer.in_channels % layer.groups == layer.out_channels % layer.groups == 0
                made = layer.out_channels
                names.append(layer.name)
            ends.add((made, prod(layer.stride for layer in branch)))
        assert len(ends) == 1, "branches are added to each other"
        channels = ends.pop()[0]
    assert (plan.classifier.in_channels, plan.classifier.num_classes) == (channels, 7)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("resnet18", 32),
        ("resnet34", 32),
        ("resnet20", 4),
        ("resnet20-a", 4),
        ("mobilenetv2", 32),
        ("digits", 2),
    ],
)
def test_the_image_shrinks_as_it_is_published(name: str, stride: int) -> None:
    assert TOPOLOGIES[name].plan().stride == stride


def test_a_narrower_mobilenetv2_by_hand() -> None:
    """Multiples of 8, at most a tenth fewer: of 24 / 32 of 24, which is 18, 16 would be too few."""
    plan = TOPOLOGIES["mobilenetv2"].plan(width=24)
    assert isinstance(plan, MobileNetV2)
    stages = {block.name.split(".")[0]: block.out_channels for block in plan.blocks}
    assert [plan.conv1.out_channels, *stages.values()] == [24, 16, 24, 24, 48, 72, 120, 240]
    assert plan.conv2.out_channels == 1280, "the last is never narrower"


def test_a_narrower_resnet_by_hand() -> None:
    plan = TOPOLOGIES["resnet18"].plan(width=8)
    assert isinstance(plan, ResNet)
    assert [[block.out_channels for block in stage] for stage in plan.stages] == [
        [8, 8],
        [16, 16],
        [32, 32],
        [64, 64],
    ]


def test_the_papers_networks_are_published_in_one_form_and_ours_is_not() -> None:
    assert set(TOPOLOGIES) - set(PUBLISHED) == {"digits", "mobilenetv2-32", "resnet20-a"}
    for topology in TOPOLOGIES.values():
        assert topology.variant_of is None or topology.variant_of in PUBLISHED


def test_mobilenet_for_small_images_differs_in_strides_alone() -> None:
    """It halves 32 x 32 three times, to 4 x 4; the published one five times."""
    small, published = (
        TOPOLOGIES[name].plan(num_classes=10) for name in ("mobilenetv2-32", "mobilenetv2")
    )
    assert (small.stride, published.stride) == (8, 32)

    def layers(plan: Plan) -> list[Convolution]:
        steps = [step.branches[0] if isinstance(step, Block) else (step,) for step in plan.steps]
        return [
            replace(layer, stride=1)
            for step in steps
            for layer in step
            if isinstance(layer, Convolution)
        ]

    assert layers(small) == layers(published)
