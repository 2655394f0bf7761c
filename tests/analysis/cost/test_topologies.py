"""Layer shapes of the known networks, against what is published about them."""

import pytest
import torch
from torch import nn

from analysis.cost.shapes import LayerKind, LayerShape
from analysis.cost.topologies import Steps, named_network
from asq_hw.errors import InputError
from asq_hw.network.activation import adapter_hidden_width
from asq_hw.network.topologies import TOPOLOGIES
from asq_hw.train.models import build


def parameters(name: str, **options: int) -> int:
    """All learned parameters, two for each batch-norm channel and one for each class included."""
    network = named_network(name, **options)
    batch_norm = sum(2 * layer.out_channels for layer in network.convolutions)
    return sum(layer.weights for layer in network.layers) + batch_norm + classes(name)


def classes(name: str) -> int:
    return named_network(name).layers[-1].out_channels


@pytest.mark.parametrize(
    ("name", "published"),
    [  # torchvision's model cards; ResNet-20: 269,722 with option A, and two shortcuts
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("mobilenetv2", 3_504_872),
        ("resnet20-a", 269_722),
        ("resnet20", 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    assert parameters(name) == published


@pytest.mark.parametrize(
    ("name", "published_gmacs"), [("resnet18", 1.814), ("resnet34", 3.664), ("mobilenetv2", 0.301)]
)
def test_multiplications_at_224_are_the_published_ones(name, published_gmacs):
    total = sum(layer.multiplications for layer in named_network(name).layers)
    assert round(total / 1e9, 3) == published_gmacs


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [("resnet18", 20), ("resnet34", 36), ("resnet20", 21), ("mobilenetv2", 52)],
)
def test_layers_by_kind_and_role(name, convolutions):
    layers = named_network(name).layers
    assert [layer.kind for layer in layers[:-1]] == [LayerKind.CONVOLUTION] * convolutions
    assert layers[-1].kind is LayerKind.LINEAR
    ends = [not layers[0].quantized, not layers[-1].quantized]
    assert ends == [True, True]
    assert all(layer.quantized and layer.has_adapter for layer in layers[1:-1])
    assert not layers[0].has_adapter and not layers[-1].has_adapter
    assert len({layer.name for layer in layers}) == len(layers)


@pytest.mark.parametrize(
    ("name", "last_size"), [("resnet18", 7), ("resnet34", 7), ("resnet20", 8), ("mobilenetv2", 7)]
)
def test_feature_map_before_the_classifier(name, last_size):
    last = named_network(name).convolutions[-1]
    assert (last.out_height, last.out_width) == (last_size, last_size)


def test_stages_of_resnet18_have_the_papers_sizes():
    sizes = {
        layer.name.split(".")[0]: (layer.out_channels, layer.out_height)
        for layer in named_network("resnet18").layers[1:-1]
    }
    assert sizes == {
        "layer1": (64, 56),
        "layer2": (128, 28),
        "layer3": (256, 14),
        "layer4": (512, 7),
    }


@pytest.mark.parametrize(
    ("name", "shortcuts"),
    [("resnet18", [(64, 128), (128, 256), (256, 512)]), ("resnet20", [(16, 32), (32, 64)])],
)
def test_shortcuts_are_pointwise_and_read_the_blocks_input(name, shortcuts):
    layers = {layer.name: layer for layer in named_network(name).layers}
    found = []
    for shortcut in (layer for key, layer in layers.items() if key.endswith("downsample")):
        first = layers[shortcut.name.replace("downsample", "conv1")]
        second = layers[shortcut.name.replace("downsample", "conv2")]
        assert shortcut.kernel_size == (1, 1)
        assert (shortcut.in_height, shortcut.inputs) == (first.in_height, first.inputs)
        assert shortcut.outputs == second.outputs
        found.append((shortcut.in_channels, shortcut.out_channels))
    assert found == shortcuts


def test_depthwise_layers_of_mobilenetv2():
    depthwise = [layer for layer in named_network("mobilenetv2").layers if layer.groups > 1]
    assert len(depthwise) == 17
    assert all(layer.groups == layer.in_channels == layer.out_channels for layer in depthwise)
    assert all(layer.weights == 9 * layer.in_channels for layer in depthwise)


def test_one_layer_by_hand():
    """A strided, grouped, rectangular convolution worked out on paper."""
    layer = LayerShape(
        name="x",
        in_channels=8,
        out_channels=6,
        kernel_size=(3, 5),
        stride=(2, 1),
        padding=(1, 0),
        groups=2,
        in_height=9,
        in_width=12,
        adapter_hidden=2,
    )
    assert (layer.out_height, layer.out_width) == (5, 8)
    assert (layer.inputs, layer.outputs) == (864, 240)
    assert layer.weights == 6 * 4 * 15
    assert layer.multiplications == 6 * 4 * 15 * 40
    assert (layer.adapter_weights, layer.adapter_outputs, layer.adapter_stages) == (18, 3, 2)


@pytest.mark.parametrize(
    ("channels", "hidden", "weights", "outputs", "stages"),
    [(3, 0, 3, 1, 1), (7, 0, 7, 1, 1), (8, 2, 18, 3, 2), (64, 16, 1040, 17, 2)],
)
def test_adapter_shapes(channels, hidden, weights, outputs, stages):
    assert adapter_hidden_width(channels) == hidden
    layer = LayerShape(name="x", in_channels=channels, out_channels=1, adapter_hidden=hidden)
    assert (layer.adapter_weights, layer.adapter_outputs) == (weights, outputs)
    assert layer.adapter_stages == stages


def test_no_adapter_costs_nothing():
    layer = LayerShape(name="x", in_channels=64, out_channels=1)
    assert not layer.has_adapter
    assert (layer.adapter_weights, layer.adapter_outputs, layer.adapter_stages) == (0, 0, 0)


def test_input_size_and_channels_are_selectable():
    gray = named_network("resnet20", input_size=28, input_channels=1)
    assert gray.layers[0].weights == 16 * 9
    assert gray.layers[0].out_height == 28
    assert gray.layers[-2].in_height == 7
    full = named_network("resnet20", input_size=32)
    assert sum(layer.weights for layer in full.layers[1:]) == sum(
        layer.weights for layer in gray.layers[1:]
    )


def test_unknown_network_lists_the_known_ones():
    with pytest.raises(InputError, match="resnet18, resnet34, .*, mobilenetv2, .*, not 'vgg16'"):
        named_network("vgg16")


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("size", [-1, 0, 1, 1_000_000])
def test_input_size_out_of_range(name, size):
    with pytest.raises(InputError, match=rf"input of {name} must be \d+\.\.\d+, not {size}$"):
        named_network(name, input_size=size)


@pytest.mark.parametrize("channels", [0, -3, 1_000_000])
def test_input_channels_out_of_range(channels):
    with pytest.raises(InputError, match=f"input channels must be .*, not {channels}$"):
        named_network("resnet20", input_channels=channels)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_pytorch_runs_layers_of_the_counted_shapes(name):
    """Sizes as PyTorch's own arithmetic makes them, on an image that no stride divides."""
    topology = TOPOLOGIES[name]
    model = build(
        name,
        width=topology.width,
        in_channels=topology.in_channels,
        num_classes=topology.num_classes,
    ).eval()
    found = {}

    def see(module, inputs, output):
        found[module] = (tuple(inputs[0].shape[1:]), tuple(output.shape[1:]), module.weight.numel())

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(see)
    with torch.inference_mode():
        model(torch.zeros(1, topology.in_channels, 45, 45))
    counted = [
        (
            (layer.in_channels, layer.in_height, layer.in_width),
            (layer.out_channels, layer.out_height, layer.out_width),
            layer.weights,
        )
        for layer in named_network(name, input_size=45).convolutions
    ]
    assert [found[layer] for layer in layers[:-1]] == counted
    last = named_network(name, input_size=45).layers[-1]
    assert found[layers[-1]] == ((last.in_channels,), (last.out_channels,), last.weights)


def test_other_steps_by_hand() -> None:
    """Log-linear: a weight for each channel. With ratio 8: two, four and eight hidden values."""

    def weights(**options: object) -> int:
        shape = named_network("resnet20", **options)  # type: ignore[arg-type]
        return sum(layer.adapter_weights for layer in shape.layers)

    channels = [layer.in_channels for layer in named_network("resnet20").layers[1:-1]]
    counted = {width: channels.count(width) for width in (16, 32, 64)}
    assert sum(counted.values()) == len(channels)
    assert weights(steps=Steps.LOG_LINEAR) == sum(channels)
    assert weights(adapter_ratio=8) == sum(
        count * (width * width // 8 + width // 8) for width, count in counted.items()
    )
    assert weights(steps=Steps.FIXED) == weights(steps=Steps.SHARED_EXPONENT) == 0
    shared = named_network("resnet20", steps=Steps.SHARED_EXPONENT).layers
    assert [layer.shares_exponent for layer in shared] == [False] + [True] * len(channels) + [False]


def test_a_ratio_that_has_no_effect_is_refused() -> None:
    with pytest.raises(InputError, match="with steps log-linear it cannot be 8"):
        named_network("resnet20", steps=Steps.LOG_LINEAR, adapter_ratio=8)
    with pytest.raises(InputError, match=r"adapter-ratio must be 1\.\.1024, not 0"):
        named_network("resnet20", adapter_ratio=0)
