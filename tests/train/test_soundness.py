"""What is read as a network is finite, is read as values, and stays the caller's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # as everywhere
from torch import Tensor, nn

from asq_hw import oracle
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint
from asq_hw.train.checkpoints.pretrained import fill
from asq_hw.train.checkpoints.soundness import check_network, check_tensor
from asq_hw.train.data.batches import normalize
from asq_hw.train.export.network import export_network
from asq_hw.train.graph.conversion import layer_roles, quantize
from asq_hw.train.modes import evaluation_mode
from asq_hw.train.quantizers.layers import QuantConv2d
from asq_hw.train.run.epoch import EpochTrainer
from asq_hw.train.run.training import train

Forward = Callable[["Net", Tensor], Tensor]
RECIPE = recipes.load("digits-asq-post-w4a4", {"activations": "lsq"})


class Net(nn.Module):
    """Three convolutions and a linear layer; `way` is the middle of its forward."""

    def __init__(self, way: Forward) -> None:
        super().__init__()
        self.way = way
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 4, 3, padding=1)
        self.conv, self.fc = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 10)
        self.bn, self.pool, self.same = nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(torch.flatten(self.pool(self.way(self, x)), 1))
        return y


def images(count: int = 8) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 6, 6)).astype(np.uint8)
    classes = tuple(map(str, range(10)))
    return Dataset(name="toy", images=pixels, labels=None, classes=classes, mean=0.5, std=0.25)


def trained(way: Forward) -> nn.Module:
    torch.manual_seed(1)
    model = quantize(Net(way), RECIPE).train()
    with torch.no_grad():
        model(normalize(torch.from_numpy(images().images.copy()), mean=0.5, std=0.25))
    return model.eval()


def scores_agree(model: nn.Module, calibration: Dataset) -> None:
    network = export_network(model, RECIPE, calibration)
    data = images()
    found = oracle.run(network, data.images)[network.outputs[0].layer][:, :, 0, 0]
    found = found / 2.0 ** network.feature_maps()[network.outputs[0].layer].format.fraction_bits
    with torch.inference_mode():
        expected = model(normalize(torch.from_numpy(data.images.copy()), mean=0.5, std=0.25))
    assert np.abs(found - expected.numpy()).max() < 0.1 * float(expected.std())


def written_before_shortcut(net: Net, x: Tensor) -> Tensor:
    y = net.a(x)
    shortcut = y
    y = F.relu_(y)
    return net.conv(y) + shortcut


def added_to_alias(net: Net, x: Tensor) -> Tensor:
    y = F.relu(net.a(x))
    z = net.same(y)
    z += net.b(x)
    return net.conv(y) + z


def unused_branch(net: Net, x: Tensor) -> Tensor:
    y = net.conv(F.relu(net.a(x)))
    _ = y + y
    return y


@pytest.mark.parametrize("way", [written_before_shortcut, added_to_alias, unused_branch])
def test_writes_and_aliases_are_read_as_values(way: Forward) -> None:
    scores_agree(trained(way), images())


def test_one_still_image_calibrates() -> None:
    scores_agree(trained(unused_branch), images(1))


def test_a_batch_norm_behind_a_pass_through_does_not_hide_a_second_reader() -> None:
    def way(net: Net, x: Tensor) -> Tensor:
        y = net.a(x)
        return net.conv(F.relu(net.bn(net.same(y)) + y))

    with pytest.raises(InputError, match="bn: a batch norm must follow a convolution"):
        export_network(trained(way), RECIPE, images())


def test_a_write_through_a_view_is_refused() -> None:
    def way(net: Net, x: Tensor) -> Tensor:
        y = net.a(x)
        y.flatten(1).relu_()
        return net.conv(y)

    with pytest.raises(InputError, match="writes into a tensor that conv reads through a view"):
        quantize(Net(way), RECIPE)


def test_a_hook_that_changes_an_output_is_caught() -> None:
    model = trained(unused_branch)
    model.pool.register_forward_hook(lambda module, args, output: output * 1.5)
    with pytest.raises(InputError, match="something else than was read"):
        export_network(model, RECIPE, images())


def test_a_layer_that_is_not_its_twin_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from asq_hw.train.export import integer_layers

    right = integer_layers._requantization

    def wrong(*args: object) -> object:
        multiplier, narrow, shift = right(*args)  # type: ignore[arg-type]
        return multiplier * np.arange(len(multiplier)).clip(max=1), narrow, shift

    monkeypatch.setattr(integer_layers, "_requantization", wrong)
    with pytest.raises(InputError, match="not close to the trained layer: channel 0"):
        export_network(trained(unused_branch), RECIPE, images())


@pytest.mark.parametrize(
    ("middle", "signed"),
    [
        (lambda p, q: p + q, False),
        (lambda p, q: p + 0.5, False),
        (lambda p, q: torch.add(p, q, alpha=-1), True),
        (lambda p, q: p.add(q, alpha=-0.5), True),
        (lambda p, q: -0.5 + p, True),
        (lambda p, q: p.add_(-0.5), True),
        (lambda p, q: p - q, True),
        (lambda p, q: p * -1, True),
    ],
)
def test_signed_unless_proven_not_to_be(
    middle: Callable[[Tensor, Tensor], Tensor], signed: bool
) -> None:
    def way(net: Net, x: Tensor) -> Tensor:
        return net.conv(middle(F.relu(net.a(x)), F.relu(net.b(x))))

    assert layer_roles(Net(way))["conv"].signed_input is signed


class Through(nn.Module):
    """Calls a function, as a module of one's own does."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def turned(module: nn.Module, *, before: bool = False) -> nn.Module:
    """The module with a hook that turns the sign of its input or output."""
    if before:
        module.register_forward_pre_hook(lambda _, given: (-given[0],))
    else:
        module.register_forward_hook(lambda _, given, output: -output)
    return module


@pytest.mark.parametrize(
    ("middle", "signed"),
    [
        (nn.AvgPool2d(1), False),
        (nn.AvgPool2d(1, divisor_override=2), False),
        (nn.AvgPool2d(1, divisor_override=-1), True),
        (turned(nn.ReLU()), True),
        (turned(nn.AvgPool2d(1)), True),
        (turned(nn.AvgPool2d(1), before=True), True),
        (nn.LeakyReLU(), True),
        (nn.Tanh(), True),
        (Through(lambda x: F.avg_pool2d(x, 1)), False),
        (Through(lambda x: F.avg_pool2d(x, 1, divisor_override=-1)), True),
        (Through(lambda x: F.avg_pool2d(x, 1, None, 0, False, True, -1)), True),
        (Through(torch.cos), True),
    ],
)
def test_pooling_keeps_a_sign_unless_something_may_turn_it(middle: nn.Module, signed: bool) -> None:
    model = Net(lambda net, x: net.conv(net.same(F.relu(net.a(x)))))
    model.same = middle
    assert layer_roles(model)["conv"].signed_input is signed


def test_pooling_does_not_take_a_sign_away() -> None:
    for way in (
        lambda net, x: net.conv(net.same(net.a(x))),
        lambda net, x: net.conv(F.max_pool2d(net.a(x), 1)),
    ):
        assert layer_roles(Net(way))["conv"].signed_input


def test_a_hook_before_a_layer_may_turn_its_input() -> None:
    model = Net(lambda net, x: net.conv(F.relu(net.a(x))))
    assert not layer_roles(model)["conv"].signed_input
    assert layer_roles(model)["a"].signed_input, "pixels have a mean of 0"
    turned(model.conv, before=True)
    assert layer_roles(model)["conv"].signed_input


def test_a_minus_in_place_is_seen_under_the_old_name() -> None:
    def way(net: Net, x: Tensor) -> Tensor:
        p = F.relu(net.a(x))
        q = p
        q -= 1
        return net.conv(p)

    assert layer_roles(Net(way))["conv"].signed_input


class Own(nn.Conv2d):
    """A convolution of one's own."""


def lazy() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that such modules may change
        return nn.LazyConv2d(4, 3, padding=1)


def conv() -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1)


def with_buffer() -> nn.Module:
    layer = conv()
    layer.register_buffer("mask", torch.ones(4))
    return layer


def without_parameter() -> nn.Module:
    layer = conv()
    weight = layer.weight.detach()
    del layer.weight
    layer.weight = weight  # type: ignore[assignment]
    return layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Own(4, 4, 3, padding=1), "Own calls conv2d itself"),
        (lambda: nn.ConvTranspose2d(4, 4, 3, padding=1), "layer conv: ConvTranspose2d cannot"),
        (lazy, "layer conv: LazyConv2d cannot be quantized"),
        (lambda: nn.utils.spectral_norm(conv()), "layer conv: its weights are computed from"),
        (with_buffer, "layer conv: its weights are computed from mask"),
        (without_parameter, "layer conv: its weights are computed from others"),
        (lambda: conv().half(), "layer conv: weights must be float32 or float64, not torch.float1"),
    ],
)
def test_what_would_be_passed_over_is_named(make: Callable[[], nn.Module], message: str) -> None:
    model = Net(unused_branch)
    model.conv = make()
    with pytest.raises(InputError, match=message):
        quantize(model, RECIPE)
    assert type(model.a) is nn.Conv2d  # nothing was converted


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (lambda net, x: torch.matmul(net.conv(F.relu(net.a(x))), net.b(x)), "matmul"),
        (lambda net, x: net.conv(F.relu(net.a(x))) + net.b.weight.cumsum(0).sum(), "cumsum"),
    ],
)
def test_a_function_that_would_be_passed_over_is_named(way: Forward, name: str) -> None:
    with pytest.raises(InputError, match=f"Net calls {name} itself, which cannot be quantized"):
        quantize(Net(way), RECIPE)


def test_what_scales_single_elements_stays() -> None:
    model = Net(lambda net, x: net.conv(net.same(F.relu(net.a(x))) * net.scale))
    model.same, model.scale = nn.LayerNorm((4, 6, 6)), nn.Parameter(torch.ones(1, 4, 1, 1))
    quantize(model, RECIPE)
    assert isinstance(model.conv, QuantConv2d)
    with pytest.raises(InputError, match="layer a is quantized already"):
        quantize(model, RECIPE)


def test_a_layer_is_replaced_under_every_name_and_keeps_its_type() -> None:
    model = Net(unused_branch).double()
    model.other = model.conv
    quantize(model, RECIPE)
    assert isinstance(model.conv, QuantConv2d) and model.other is model.conv
    assert {value.dtype for value in model.parameters()} == {torch.float64}


def test_modes_come_back_after_an_error() -> None:
    model = Net(unused_branch)
    model.bn.eval()
    before = {name: module.training for name, module in model.named_modules()}
    with pytest.raises(KeyError), evaluation_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert {name: module.training for name, module in model.named_modules()} == before


def test_nothing_of_the_callers_changes() -> None:
    model = Net(unused_branch).eval()
    model.a.weight.requires_grad_(False)
    seen: list[str] = []
    handle = model.a.register_forward_hook(lambda *args: seen.append("a"))
    quantize(model, RECIPE)
    assert not any(module.training for module in model.modules())
    assert not model.a.weight.requires_grad
    model.train()(torch.zeros(2, 1, 6, 6))
    handle.remove()
    model(torch.zeros(2, 1, 6, 6))
    assert seen == ["a"]
    model.bn.eval()
    before = {name: module.training for name, module in model.named_modules()}
    export_network(model, RECIPE, images())
    assert {name: module.training for name, module in model.named_modules()} == before


def test_a_data_set_leaves_the_arrays_writable() -> None:
    pixels, labels = np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2, np.int64)
    data = Dataset(name="x", images=pixels, labels=labels, classes=("a",), mean=0.0, std=1.0)
    assert pixels.flags.writeable and labels.flags.writeable
    assert not data.images.flags.writeable


def test_a_recipes_strings_are_checked() -> None:
    from dataclasses import replace

    assert not replace(RECIPE, weights="none", activations="none").is_quantized
    with pytest.raises(InputError, match="weights must be one of none, "):
        replace(RECIPE, weights="nothing")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.tensor([float("nan")] * 4), "conv.bias of x must be finite, and holds nan"),
        (torch.full((4,), 1e300, dtype=torch.float64), "must be finite, and holds inf"),
        (torch.zeros(4, dtype=torch.complex64), "must be of type float32, not complex64"),
        (torch.zeros(4, dtype=torch.int64), "must be of type float32, not int64"),
        (torch.zeros(4, device="meta"), "must hold values"),
        (torch.zeros(4).to_sparse(), "must be a plain dense tensor, not sparse_coo"),
    ],
)
def test_foreign_tensors_are_refused_by_name(value: Tensor, message: str) -> None:
    model = Net(unused_branch)
    with pytest.raises(InputError, match=message):
        fill(model, model.state_dict() | {"conv.bias": value}, "x")


def quantized() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such tensors are on their way out
        return torch.quantize_per_tensor(torch.zeros(4), 1.0, 0, torch.qint8)


def nested() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # and these are not finished
        return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (quantized, "must be a plain dense tensor, not quantized"),
        (nested, "must be a plain dense tensor, not nested"),
        (lambda: torch.zeros(4, dtype=torch.complex64), "must be real, not complex64"),
        (nn.UninitializedParameter, "must hold values, and holds none"),
    ],
)
def test_tensors_of_foreign_kinds_are_refused_by_name(
    make: Callable[[], Tensor], message: str
) -> None:
    with pytest.raises(InputError, match=rf"tensor a\.b {message}"):
        check_tensor("a.b", make())


def test_a_variance_is_not_negative() -> None:
    values = torch.tensor([1.0, -1.0])
    check_tensor("a.running_mean", values)
    with pytest.raises(InputError, match=r"a\.running_var must not be negative, and holds -1\.0"):
        check_tensor("a.running_var", values)


def test_a_network_that_is_not_finite_after_an_epoch_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(trainer: EpochTrainer, *_: object) -> Tensor:
        with torch.no_grad():
            trainer.state.model.get_parameter("conv1.weight")[0, 0, 0, 0] = float("nan")
        return torch.zeros(())

    monkeypatch.setattr(EpochTrainer, "_step", spoil)
    recipe = recipes.load("digits-float", {"epochs": 1, "training_images": 128})
    message = "tensor conv1.weight of the network after epoch 1 must be finite, and holds nan"
    with pytest.raises(InputError, match=message):
        train(recipe, output=tmp_path)
    assert checkpoint.load(tmp_path / "last.pt").epoch == 0


def test_a_network_whose_parameters_are_integers_is_refused() -> None:
    model = Net(unused_branch)
    model.a.weight = nn.Parameter(torch.zeros(4, 1, 3, 3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(InputError, match=r"tensor a\.weight must be of a floating-point type"):
        check_network(model)


def test_a_network_with_infinity_is_not_exported() -> None:
    model = trained(unused_branch)
    with torch.no_grad():
        model.fc.weight[0, 0] = float("inf")
    with pytest.raises(InputError, match=r"tensor fc\.weight must be finite"):
        check_network(model)
    with pytest.raises(InputError, match=r"tensor fc\.weight must be finite"):
        export_network(model, RECIPE, images())
