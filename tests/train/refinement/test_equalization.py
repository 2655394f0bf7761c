"""Cross-layer equalization changes no function, and brings channels to one range."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import asq_hw
from asq_hw.train.calibration import unquantized
from asq_hw.train.refinement.equalization import equalize


class Net(nn.Module):
    """All that equalization passes through, and what stops it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, groups=8)
        self.point = nn.Conv2d(8, 12, 1)
        self.grouped = nn.Conv2d(12, 6, 3, groups=3)
        self.six = nn.Conv2d(6, 6, 1)
        self.flat = nn.Linear(24, 10)
        self.fc = nn.Linear(10, 4)
        nn.init.uniform_(self.norm.weight, 0.3, 3)
        with torch.no_grad():
            for module in (self.one, self.deep, self.point, self.grouped, self.flat):
                module.weight.mul_(
                    torch.logspace(-1, 1, len(module.weight)).view(
                        -1, *(1 for _ in module.weight.shape[1:])
                    )
                )

    def forward(self, x: Tensor) -> Tensor:
        x = self.deep(torch.relu(self.norm(self.one(x))))
        x = self.grouped(torch.relu(self.point(x)))
        x = nn.functional.relu6(self.six(nn.functional.max_pool2d(torch.relu(x), 2)))
        x = self.flat(x.flatten(1))
        return self.fc(torch.relu(x))


IMAGES = torch.randn(8, 3, 10, 10, generator=torch.Generator().manual_seed(1))
PAIRS = [
    ("one", "deep"),
    ("deep", "point"),
    ("point", "grouped"),
    ("grouped", "six"),
    ("flat", "fc"),
]


def ranges(made: nn.Module, first: str, second: str) -> tuple[Tensor, Tensor]:
    """Largest weights of each channel in between: what makes it, and what reads it."""
    weight = made.get_submodule(first).weight
    made_by = weight.flatten(1).abs().amax(1)
    if first == "one":
        norm = made.norm
        made_by = made_by * norm.weight.abs() / (norm.running_var + norm.eps).sqrt()
    reader = made.get_submodule(second)
    groups, columns = getattr(reader, "groups", 1), []
    for channel in range(len(weight)):
        per_group = len(weight) // groups
        outputs = len(reader.weight) // groups
        group, place = divmod(channel, per_group)
        columns.append(reader.weight[group * outputs : (group + 1) * outputs, place].abs().max())
    return made_by.detach(), torch.stack(columns).detach()


def test_the_function_stays_and_ranges_become_equal() -> None:
    made = asq_hw.prepare(Net().eval(), IMAGES)
    with torch.no_grad(), unquantized(made):
        before = made(IMAGES)
        assert equalize(made) == len(PAIRS)
        after = made(IMAGES)
    assert torch.allclose(after, before, atol=1e-5 * float(before.abs().max()))
    for first, second in PAIRS:
        ours, theirs = ranges(made, first, second)
        assert torch.allclose(ours, theirs, rtol=0.05), (first, second)
        original = ranges(asq_hw.prepare(Net().eval(), IMAGES), first, second)
        assert not torch.allclose(*original, rtol=0.5)


class Blocked(nn.Module):
    """A sum, a second reader, and scores that are read."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.three, self.four = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.one(x))
        y = x + self.two(x)
        return (self.three(y) + self.four(torch.relu(y))).flatten(1)


def test_what_is_read_twice_or_summed_is_left_alone() -> None:
    made = asq_hw.prepare(Blocked().eval(), IMAGES)
    before = copy.deepcopy(made.state_dict())
    assert equalize(made) == 0
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_a_flattened_map_is_scaled_by_its_channels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 5)
    ).eval()
    with torch.no_grad():
        model[0].weight.mul_(torch.tensor([0.1, 1, 3, 10])[:, None, None, None])
    made = asq_hw.prepare(model)
    assert equalize(made) == 1
    with unquantized(made):
        assert torch.allclose(made(IMAGES), model(IMAGES), atol=1e-5)
    columns = made.get_submodule("4").weight.detach().view(5, 4, 16).abs().amax((0, 2))
    rows = made.get_submodule("0").weight.detach().flatten(1).abs().amax(1)
    assert torch.allclose(rows, columns, rtol=0.02)


def test_one_scale_for_all_channels_has_less_error_behind_it() -> None:
    model, error = Net().eval(), []
    for equalized in (False, True):
        made = asq_hw.prepare(model, IMAGES, bits=6, per_channel=False)
        asq_hw.calibrate(made, [IMAGES], equalize=equalized, correction="none")
        error.append(float((made(IMAGES) - model(IMAGES)).detach().square().sum()))
    assert error[1] < 0.85 * error[0]
