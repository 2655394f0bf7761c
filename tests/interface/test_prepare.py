"""prepare copies, quantizes each layer as it is told, and refuses by name what it cannot do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asq_hw
from asq_hw.errors import InputError
from asq_hw.train.quantizers.layers import QuantConv2d, QuantLinear
from tests.helpers.own_networks import OwnNet, drawn_pixels, seen


def plain() -> nn.Sequential:
    """A network that can be taken as it stands."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(144, 5)
    )


def layer(model: nn.Module, name: str) -> QuantConv2d | QuantLinear:
    found = model.get_submodule(name)
    assert isinstance(found, QuantConv2d | QuantLinear)
    return found


def described(model: nn.Module, name: str) -> tuple[object, ...]:
    """Scheme and bits of the weights, bits of the input, whether its step is adapted."""
    found = layer(model, name)
    weights, inputs = found.weight_quantizer, found.activation_quantizer
    assert weights is not None and inputs is not None
    grid: Any = weights.grid
    return str(grid.scheme), grid.bits, inputs.bits, inputs.is_adaptive


def test_nothing_of_the_callers_changes() -> None:
    torch.manual_seed(0)
    model, example = OwnNet().train(), seen(drawn_pixels(2))
    model.inner.eval()
    calls: list[int] = []
    model.stem.register_forward_hook(lambda *_: calls.append(1))
    model.head.weight.requires_grad_(False)
    before, images = copy.deepcopy(model.state_dict()), example.clone()
    modes = [module.training for module in model.modules()]
    random = torch.random.get_rng_state()
    quantized = asq_hw.prepare(model, example, activations="asq", bits=4)
    asq_hw.calibrate(quantized, [example])
    with torch.no_grad():
        for parameter in quantized.parameters():
            parameter.add_(1)
    assert [module.training for module in model.modules()] == modes
    assert len(model.stem._forward_hooks) == 1 and not model.head.weight.requires_grad
    assert torch.equal(example, images)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert type(model.stem) is nn.Conv2d
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_methods_and_widths_go_by_layer_and_the_last_pattern_wins() -> None:
    rules = {
        "*": {"activation_bits": 5},
        "short*": {"weights": "lsq", "activations": "lsq", "bits": 6},
        "head": {"weights": "pot", "weight_bits": 3},
    }
    quantized = asq_hw.prepare(
        OwnNet(), seen(drawn_pixels(2)), weights="post", activations="asq", bits=4, layers=rules
    )
    assert described(quantized, "stem") == ("uniform", 8, 5, False)
    assert described(quantized, "inner") == ("post", 4, 5, True)
    assert described(quantized, "shortcut") == ("uniform", 6, 6, False)
    assert described(quantized, "head") == ("pot", 3, 5, False)


def test_without_a_word_all_is_uniform_in_eight_bits_by_channel() -> None:
    quantized = asq_hw.prepare(plain())
    assert all(described(quantized, n) == ("uniform", 8, 8, False) for n in ("0", "2", "4"))
    weights: Any = layer(quantized, "2").weight_quantizer
    assert weights.scale().shape == (4, 1, 1, 1)
    assert not layer(quantized, "2").activation_quantizer.signed  # type: ignore[union-attr]


def test_a_prepared_network_is_a_plain_module() -> None:
    quantized = asq_hw.prepare(plain())
    asq_hw.calibrate(quantized, [torch.rand(4, 3, 8, 8)])
    twin = asq_hw.prepare(plain())
    twin.load_state_dict(quantized.state_dict())
    copied = copy.deepcopy(quantized)
    x = torch.rand(3, 3, 8, 8)
    assert not quantized.training
    assert torch.equal(twin(x), quantized(x)) and torch.equal(copied(x), quantized(x))
    asq_hw.calibrate(copied, [x])  # a copy is still known


class Unusual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 8), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.group_norm(self.stem(x), 2).flatten(1)).exp().sin()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bits": 17}, r"bits must be 2\.\.8, not 17"),
        ({"bits": 4.0}, r"bits must be 2\.\.8, not 4.0"),
        ({"bits": True}, r"bits must be 2\.\.8, not True"),
        ({"edge_bits": 1}, r"edge_bits must be 2\.\.8, not 1"),
        ({"activation_bits": "8"}, r"activation_bits must be 2\.\.8, not '8'"),
        ({"weights": "int8"}, "weights must be one of none, lsq, .*, not 'int8'"),
        ({"weights": "asq"}, "weights must be one of .*, not 'asq'"),
        ({"activations": "qil"}, "activations qil have no integer form; choose other methods"),
        ({"weights": "none"}, "weights none have no integer form"),
        ({"encoding": "tight"}, "encoding must be one of packed, .*, not 'tight'"),
        ({"adapter": "log-linear"}, "adapter must be paper where activations are lsq"),
        ({"layers": {"5": {"bits": 4}}}, r"^layers.'5' must name a layer of the network: 0, 2, 4"),
        ({"layers": {"2": {"weights": "lq-net"}}}, "weights lq-net have no integer form"),
        ({"layers": {"2": {"width": 4}}}, "layers.'2'.width is unknown; the keys are weights"),
        ({"layers": {"2": {"bits": 9}}}, r"layers.'2'.weight_bits must be 2\.\.8, not 9"),
        ({"layers": {"2": 4}}, "layers.'2' must be a table, not 4"),
        ({"layers": ["2"]}, r"layers must be a table of layers, not \['2'\]"),
        ({"weights": "dorefa"}, r"^layer 2: dorefa weights must have 2\.\.7 bits, not 8"),
    ],
)
def test_impossible_settings_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        asq_hw.prepare(plain(), **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "example", "said"),
    [
        (nn.Sequential(nn.ReLU(), nn.Flatten()), None, "Sequential has no parameters"),
        (
            Unusual(),
            torch.rand(1, 3, 8, 8),
            r"Unusual cannot be quantized: \(test_prepare.py:\d+\): group_norm",
        ),
        (Unusual(), torch.rand(1, 3, 8, 8), r"\(and 2 more; asq_hw.check tells all\)"),
        (Unusual(), None, "cannot be quantized as it stands: .*give an example, a batch of images"),
        (OwnNet(), None, "cannot be quantized as it stands: .*relu6 has no integer form"),
        (plain(), torch.rand(3, 8, 8), r"vectors \(N, C\), not \(3, 8, 8\)"),
        (plain(), [1], r"vectors \(N, C\), not list"),
        (plain().state_dict(), None, "must be a torch.nn.Module, not OrderedDict"),
        (plain, None, "must be a torch.nn.Module, not function"),
    ],
)
def test_networks_that_cannot_be_prepared(model: Any, example: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        asq_hw.prepare(model, example)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_named() -> None:
    model = plain()
    with torch.no_grad():
        model[2].weight[0, 0] = torch.nan
    with pytest.raises(InputError, match="tensor 2.weight must be finite, and holds nan"):
        asq_hw.prepare(model)
