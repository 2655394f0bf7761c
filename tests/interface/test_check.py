"""The report that a user gets before training."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import asq_hw
from asq_hw.errors import InputError
from asq_hw.train.graph.canonical.findings import FindingKind
from asq_hw.train.graph.canonical.naming import layer_names


class Faulty(nn.Module):
    """Three faults and a batch norm in an odd place."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.first = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        self.act = nn.GroupNorm(2, 4)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(self.norm(x)))
        x = self.up(x)
        return self.head(x.mean((2, 3)))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.inner = nn.Conv2d(4, 6, 1, bias=False)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(torch.relu(self.first(x)))
        return self.head(x.mean((2, 3)))


def test_everything_that_stops_a_network_is_told_at_once_with_its_line() -> None:
    report = asq_hw.check(Faulty(), torch.rand(1, 3, 8, 8))
    assert not report.ok and report.layers == ()
    assert [(f.place, f.what) for f in report.refused] == [
        ("first", "padding with other than zeros has no integer form"),
        ("act", "group_norm has no integer form"),
        ("up", "transposed conv2d has no integer form"),
    ]
    assert report.refused[1].remedy == "use batch norm"
    with open(__file__) as file:
        lines = file.read().splitlines()
    for finding in report.refused:
        name, _, number = finding.source.partition(":")
        assert name == "test_check.py" and finding.place in lines[int(number) - 1]
    (rewritten,) = [f for f in report.findings if f.kind is FindingKind.REWRITTEN]
    assert rewritten.place == "norm" and "a scale of channels" in rewritten.what
    assert str(report).splitlines()[0] == "Faulty cannot be quantized"


def test_layers_are_told_with_their_roles() -> None:
    report = asq_hw.check(Plain(), torch.rand(2, 3, 8, 8))
    assert report.ok and report.findings == ()
    told = [(x.name, x.kind, x.weights, x.is_edge, x.signed_input) for x in report.layers]
    assert told == [
        ("first", "Conv2d", (4, 3, 3, 3), True, True),
        ("inner", "Conv2d", (6, 4, 1, 1), False, False),
        ("head", "Linear", (10, 6), True, True),
    ]
    assert str(report).splitlines()[2] == "inner: Conv2d 6 x 4 x 1 x 1, inner, unsigned input"


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (torch.rand(3, 8, 8), r"images \(N, C, H, W\) or of vectors \(N, C\), not \(3, 8, 8\)"),
        (torch.rand(0, 3, 8, 8), r"not \(0, 3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "float32, not torch.uint8"),
        (torch.full((1, 3, 8, 8), torch.nan), "must be finite"),
        (torch.rand(1, 4, 8, 8), r"Plain \(test_check.py:\d+\) cannot be traced: .*4 channels"),
    ],
)
def test_a_wrong_example_is_one_line(example: Tensor, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        asq_hw.check(Plain(), example)
    assert "\n" not in str(caught.value)


def damaged(name: str, value: float) -> nn.Module:
    """A network with one wrong number."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    with torch.no_grad():
        model.state_dict()[name].flatten()[0] = value
    return model


class Overflowing(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.inf


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda x: x, "must be a torch.nn.Module, not function"),
        (nn.Identity(), "Identity has no parameters"),
        (damaged("0.weight", torch.nan), "tensor 0.weight must be finite, and holds nan"),
        (damaged("1.running_mean", torch.inf), "tensor 1.running_mean must be finite"),
        (damaged("1.running_var", -1), "tensor 1.running_var must not be negative"),
        (Overflowing(), "Overflowing computes NaN or infinity on the example"),
    ],
)
def test_a_network_that_computes_nothing_sound_is_one_line(model: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        asq_hw.check(model, torch.rand(2, 3, 8, 8))
    assert "\n" not in str(caught.value)


class ByValue(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 8)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return self.layer(x).flatten(1)
        return self.layer(-x).flatten(1)


class Two(ByValue):
    def forward(self, x: Tensor) -> tuple[Tensor, int]:  # type: ignore[override]
        return self.layer(x), 2


class Aside(ByValue):
    def forward(self, x: Tensor) -> Tensor:
        self.layer(x)
        return torch.relu(x)


class FirstTwo(ByValue):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).flatten(1)[:2]


class ForTwo(ByValue):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).view(2, 4)


class Talking(ByValue):
    def forward(self, x: Tensor) -> Tensor:
        print("out loud", file=sys.stderr)
        return self.layer(x).flatten(1)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (ByValue(), r"ByValue \(test_check.py:\d+\) cannot be traced: it decides by the values"),
        (Aside(), "what Aside returns must depend on parameters, and it does not"),
        (nn.Sequential(nn.Flatten(), nn.Linear(5, 4)), "cannot be traced: a and b must have same"),
        (FirstTwo(), "FirstTwo must compute output of each image .*: of 3 it gives 2$"),
        (Two(), "must return tensors, .* and output.1 is int; wrap it in a module"),
        (nn.Sequential(nn.LazyConv2d(4, 3)), "0.weight has no shape yet"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, device="meta")), "0.weight holds no values"),
    ],
)
def test_a_network_that_cannot_be_read_is_one_line(
    model: nn.Module, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        asq_hw.check(model, torch.rand(1, 3, 8, 8))
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")


def test_a_network_for_so_many_images_and_no_others_is_taken() -> None:
    assert asq_hw.check(ForTwo(), torch.rand(2, 3, 8, 8)).ok


def test_what_a_network_says_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    assert asq_hw.check(Talking(), torch.rand(1, 3, 8, 8)).ok
    assert "out loud" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_a_compiled_network_is_refused() -> None:
    compiled = torch.jit.script(nn.Sequential(nn.ReLU()))
    with pytest.raises(InputError, match="compiled by TorchScript; give the module"):
        asq_hw.check(compiled, torch.rand(1, 3, 8, 8))


def test_names_are_valid_free_and_no_folders_of_others() -> None:
    wanted = ["a", "a.b", "a.b", "1x1 c-a", "n" * 90, "n" * 90 + "m", "", "a"]
    names = layer_names(wanted)
    assert names[:4] == ["a_1", "a.b", "a.b_1", "1x1_c_a"]
    assert len(set(names)) == len(names) and all(0 < len(name) <= 64 for name in names)
    assert not any(other.startswith(f"{name}.") for name in names for other in names)


def test_the_package_loads_nothing_until_it_is_asked() -> None:
    program = (
        "import sys, asq_hw; assert 'check' in dir(asq_hw); "
        "assert not {'torch', 'numba', 'numpy'} & set(sys.modules); asq_hw.check; "
        "assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match=re.escape("has no attribute 'chek'")):
        asq_hw.chek  # noqa: B018 - to see it fail
