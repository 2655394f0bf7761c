"""Networks that return maps or several tensors, and that take other integers than pixels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import asq_hw
from asq_hw import oracle
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError

IMAGES = torch.randint(0, 256, (24, 1, 8, 8), generator=torch.Generator().manual_seed(1)) / 255


class Both(NamedTuple):
    """What somebody's detector returns."""

    boxes: Tensor
    logits: Tensor


Returned = Callable[[Tensor, Tensor, Tensor, Tensor], Any]


class Heads(nn.Module):
    """Layers that share a stem; what is returned of them is up to the test."""

    def __init__(self, returned: Returned) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.map = nn.Conv2d(6, 4, 1)
        self.fc = nn.Linear(6, 5)
        self.returned = returned

    def forward(self, x: Tensor) -> Any:
        low = self.norm(self.stem(x))
        features = torch.relu(low)
        return self.returned(low, features, self.map(features), self.fc(features.mean([2, 3])))


def heads(returned: Returned) -> Heads:
    torch.manual_seed(3)
    return Heads(returned).eval()


def quantized(model: nn.Module, images: Tensor, **settings: Any) -> nn.Module:
    made = asq_hw.prepare(model, images[:2], **settings)
    asq_hw.calibrate(made, [images])
    return made


def decibels(wanted: Tensor, found: Tensor) -> float:
    signal, noise = wanted.double().square().sum(), (found - wanted).double().square().sum()
    return float(10 * torch.log10(signal / noise))


FORMS: dict[str, tuple[Returned, Any, dict[str, Callable[[Any], Tensor]]]] = {
    "a map": (lambda low, features, m, v: m, Tensor, {"output": lambda y: y}),
    "a tuple": (
        lambda low, features, m, v: (m, v),
        tuple,
        {"output.0": lambda y: y[0], "output.1": lambda y: y[1]},
    ),
    "a list": (
        lambda low, features, m, v: [v, low],
        list,
        {"output.0": lambda y: y[0], "output.1": lambda y: y[1]},
    ),
    "a named tuple": (
        lambda low, features, m, v: Both(m, v),
        Both,
        {"boxes": lambda y: y.boxes, "logits": lambda y: y.logits},
    ),
    "a dict": (
        lambda low, features, m, v: {"out": m, "aux": None, "fpn": {0: low, "p-2": features}},
        dict,
        {
            "out": lambda y: y["out"],
            "fpn.0": lambda y: y["fpn"][0],
            "fpn.p_2": lambda y: y["fpn"]["p-2"],
        },
    ),
    "an ordered dict": (
        lambda low, features, m, v: OrderedDict([("0", m), ("pool", features)]),
        dict,
        {"output.0": lambda y: y["0"], "pool": lambda y: y["pool"]},
    ),
    "one map twice": (
        lambda low, features, m, v: (m, m),
        tuple,
        {"output.0": lambda y: y[0], "output.1": lambda y: y[1]},
    ),
    "a map and what is made of it": (
        lambda low, features, m, v: (low, torch.relu(low), features.mean([2, 3])),
        tuple,
        {f"output.{n}": lambda y, n=n: y[n] for n in range(3)},
    ),
    "the input too": (
        lambda low, features, m, v: (m, -v, low.flatten(1)),
        tuple,
        {f"output.{n}": lambda y, n=n: y[n] for n in range(3)},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_returned_is_given_out(form: str, tmp_path: Path) -> None:
    returned, kind, names = FORMS[form]
    model = heads(returned)
    assert asq_hw.check(model, IMAGES[:2]).ok
    q = quantized(model, IMAGES)
    net = asq_hw.export(q, mean=0.0, std=1.0)
    net.save(tmp_path / "net.asq")
    result = asq_hw.simulate(tmp_path / "net.asq", [IMAGES])
    with torch.no_grad():
        real, fake = model(IMAGES), q(IMAGES)
    assert isinstance(fake, kind) and [*result.outputs] == [*names]
    pixels = (IMAGES[:2] * 255).round().to(torch.uint8).numpy()
    exact = oracle.run(net, pixels)
    for output in net.outputs:
        found = result.outputs[output.name]
        assert np.array_equal(found.integers[:2], exact[output.layer])
        values = torch.from_numpy(found.real).flatten(1)
        assert decibels(names[output.name](fake).flatten(1), values) > 30
        assert decibels(names[output.name](real).flatten(1), values) > 25
    assert not result.has_scores and (result.top1, result.agreement) == (None, None)
    compared = asq_hw.compare(model, q, net, [IMAGES])
    assert (compared.float_top1, compared.quantized_agreement) == (None, None)
    assert "no class scores" in str(compared) and "top-1" not in str(compared)
    for one in compared.outputs:
        wanted, got = (names[one.name](y).flatten(1) for y in (real, fake))
        assert one.signal.quantized == pytest.approx(decibels(wanted, got), abs=0.01)
        largest = [names[one.name](y).argmax(1) for y in (real, fake)]
        share = float((largest[0] == largest[1]).double().mean())
        assert one.quantized_agreement == pytest.approx(share)


def test_one_of_several_outputs_is_class_scores() -> None:
    model = heads(lambda low, features, m, v: {"seg": m, "cls": v})
    q = quantized(model, IMAGES)
    with torch.no_grad():
        classes = q(IMAGES)["cls"].argmax(1)
    pairs = [(IMAGES, classes)]
    net = asq_hw.export(q, mean=0.0, std=1.0, classes=[*"abcde"], scores="cls", reference=[IMAGES])
    result = asq_hw.simulate(net, pairs)
    assert result.top1 == result.agreement == np.mean(result.predictions == classes.numpy())
    assert result.scores.shape == (24, 5) and result.top1 > 0.9
    compared = asq_hw.compare(model, q, net, pairs)
    assert compared.quantized_top1 == 1.0
    assert compared.integer_top1 == compared.integer_alone_agreement == result.top1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scores": "seg"}, "class scores must be a vector, and the output seg is a map"),
        ({"scores": "other"}, "one of the network's outputs seg, cls, not 'other'"),
        ({"scores": 1}, "an output's name, True or False, not 1"),
        ({"classes": [*"abcde"]}, "a network of 0 scores must have as many classes, not 5"),
        ({"reference": [IMAGES]}, r"none of the network's outputs \(seg, cls\) is said to be"),
    ],
)
def test_class_scores_are_not_made_up(settings: dict[str, Any], said: str) -> None:
    q = quantized(heads(lambda low, features, m, v: {"seg": m, "cls": v}), IMAGES)
    with pytest.raises(InputError, match=said):
        asq_hw.export(q, mean=0.0, std=1.0, **settings)


def test_a_vector_need_not_be_class_scores() -> None:
    q = quantized(heads(lambda low, features, m, v: v), IMAGES)
    assert asq_hw.simulate(asq_hw.export(q, mean=0.0, std=1.0), [IMAGES]).has_scores
    net = asq_hw.export(q, mean=0.0, std=1.0, scores=False)
    assert [(output.name, output.is_scores) for output in net.outputs] == [("output", False)]
    with pytest.raises(InputError, match="labels are for class scores"):
        asq_hw.simulate(net, IMAGES, labels=[0] * 24)
    labels, pixels = np.zeros(24, np.int64), (IMAGES * 255).round().to(torch.uint8).numpy()
    data = Dataset(name="x", images=pixels, labels=labels, classes=("a",), mean=0.0, std=1.0)
    assert asq_hw.simulate(net, data).top1 is None  # whatever its classes are


def test_equalization_leaves_what_is_returned() -> None:
    """Channels are brought to one range only where nobody sees them in between."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Any:
            between = torch.relu(self.first(x))
            return between, self.second(between)

    torch.manual_seed(0)
    model = Pair()
    with torch.no_grad():
        model.first.weight *= torch.tensor([1.0, 20.0, 0.05, 3.0])[:, None, None, None]
    q = asq_hw.prepare(model, IMAGES[:2], per_channel=False)
    asq_hw.calibrate(q, [IMAGES], equalize=True)
    with torch.no_grad():
        for wanted, found in zip(model(IMAGES), q(IMAGES), strict=True):
            assert decibels(wanted, found) > 25


def test_what_stands_last_is_left_out_where_it_keeps_the_order() -> None:
    model = heads(
        lambda low, features, m, v: (m.softmax(1), v.log_softmax(-1), v.sigmoid(), m.sigmoid())
    )
    report = asq_hw.check(model, IMAGES[:2])
    dropped = [found.what.split()[0] for found in report.findings]
    assert dropped == ["softmax", "log_softmax"]
    q = quantized(model, IMAGES)
    with torch.no_grad():
        real, fake = model(IMAGES), q(IMAGES)
    for one, other in zip(real, fake, strict=True):
        assert float((one.argmax(1) == other.argmax(1)).double().mean()) > 0.9
    assert all(decibels(real[n], fake[n]) > 25 for n in (2, 3))  # sigmoids are computed
    kinds = [layer.kind for layer in asq_hw.export(q, mean=0.0, std=1.0).layers]
    assert kinds.count("lookup") == 2


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda low, features, m, v: (v, 3), "output.1 is int; wrap it in a module"),
        (lambda low, features, m, v: {"a": v, "b": "x"}, "b is str; wrap it in a module"),
        (lambda low, features, m, v: None, "must return a tensor, not nothing"),
        (lambda low, features, m, v: (v, torch.ones(2, 3)), "output.1 not"),
        (lambda low, features, m, v: {"a-b": v, "a_b": v + 1}, "called a_b"),
        (lambda low, features, m, v: {"a" * 65: v, "b": m}, "64"),
    ],
)
def test_what_is_no_tensor_is_refused_by_name(returned: Returned, said: str) -> None:
    with pytest.raises(InputError, match=said):
        asq_hw.check(heads(returned), IMAGES[:2])


def test_a_result_in_another_order_is_refused_with_the_others_read() -> None:
    report = asq_hw.check(
        heads(lambda low, features, m, v: {"a": v, "b": m.permute(0, 2, 3, 1).flatten(1, 2)}),
        IMAGES[:2],
    )
    (found,) = report.refused
    assert "b is returned" in found.what and found.remedy and found.source
    with pytest.raises(InputError, match="b is returned"):
        asq_hw.prepare(heads(lambda low, f, m, v: {"a": v, "b": m.flatten(2)}), IMAGES[:2])


def test_several_tensors_are_trained_in_a_loop_of_ones_own() -> None:
    model = heads(lambda low, features, m, v: {"seg": m, "cls": v})
    q = quantized(model, IMAGES, bits=4)
    labels = torch.arange(24) % 5
    with pytest.raises(InputError, match="returns a dict: train it in a loop of your own"):
        asq_hw.finetune(q, [(IMAGES, labels)])
    maps = quantized(heads(lambda low, features, m, v: m), IMAGES)
    with pytest.raises(InputError, match=r"maps of \(4, 8, 8\): train it in a loop"):
        asq_hw.finetune(maps, [(IMAGES, labels)])
    optimizer = torch.optim.Adam(q.parameters(), 0.01)
    losses = []
    for _ in range(60):
        found = q(IMAGES)
        loss = nn.functional.cross_entropy(found["cls"], labels) + found["seg"].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.95 * losses[0]
    net = asq_hw.export(q.eval(), mean=0.0, std=1.0, scores="cls")
    assert [output.name for output in net.outputs] == ["seg", "cls"]


# Inputs


class Sensor(nn.Module):
    """Vectors of three measurements."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


def vectors(count: int = 40) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(5)) * 10


@pytest.fixture(scope="module")
def sensor() -> tuple[Sensor, nn.Module]:
    torch.manual_seed(0)
    model = Sensor().eval()
    assert asq_hw.check(model, vectors(1)).ok
    return model, quantized(model, vectors())


@pytest.mark.parametrize("bits", [6, 8, 12, 16])
def test_vectors_become_integers_by_one_rule(
    bits: int, sensor: tuple[Sensor, nn.Module], tmp_path: Path
) -> None:
    model, q = sensor
    net = asq_hw.export(q, input=asq_hw.InputFormat(bits=bits, signed=True), scores=False)
    assert net.images is not None and net.images.format.step is not None
    step = float(net.images.format.step)
    reach = float(vectors().abs().max())
    assert np.log2(step) % 1 == 0 and 2 ** (bits - 1) - 1 >= 1.5 * reach / step
    assert 2 ** (bits - 1) - 1 < 3 * reach / step  # half of it would not do
    net.save(tmp_path / "net.asq")
    again = asq_hw.load(tmp_path / "net.asq")
    assert again.images == net.images and again.input.bits == bits
    integers = np.floor(vectors().numpy().astype(np.float64) / step + 0.5).astype(np.int64)
    by_hand = asq_hw.simulate(again, integers).outputs["output"].integers
    exact = oracle.run(net, integers[:, :, None, None])[net.outputs[0].layer]
    assert np.array_equal(by_hand, exact)
    for given in (vectors(), vectors().double().numpy(), [vectors()[:9], vectors()[9:]]):
        made = asq_hw.simulate(again, given).outputs["output"]
        assert np.array_equal(made.integers, by_hand)
    with torch.no_grad():
        wanted = model(vectors())
    found = torch.from_numpy(made.real).flatten(1)
    assert decibels(wanted, found) > (20 if bits == 6 else 30)


def test_a_camera_of_12_bits(tmp_path: Path) -> None:
    """Integers, mean and deviation as its user has them: x = (p / 4095 - mean) / std."""
    pixels = np.random.default_rng(2).integers(0, 4096, (24, 1, 8, 8)).astype(np.uint16)
    pixels[0, 0, 0, :2] = 0, 4095
    images = torch.from_numpy((pixels / 4095 - 0.4) / 0.2).float()
    model = heads(lambda low, features, m, v: v)
    q = quantized(model, images)
    form = asq_hw.InputFormat(bits=12, step=Fraction(1, 4095))
    net = asq_hw.export(q, mean=0.4, std=0.2, input=form, reference=[images])
    net.save(tmp_path / "net.asq")
    result = asq_hw.simulate(tmp_path / "net.asq", pixels)
    assert result.agreement is not None and result.agreement > 0.9  # of these very integers
    for kind in (np.int64, ">u2", ">i4"):
        assert asq_hw.simulate(net, pixels.astype(kind)).agreement == result.agreement
    assert np.array_equal(result.scores, asq_hw.simulate(net, images).scores)
    assert asq_hw.load(tmp_path / "net.asq").images == net.images
    first = oracle.run(net, pixels)["input"] * 2.0**-net.input.output.fraction_bits
    assert np.abs(first - images.numpy()).max() < 2.0**-net.input.output.fraction_bits


def test_vectors_are_no_maps_of_one_position() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten())
    q = asq_hw.prepare(model, vectors()[:2, :, None, None])
    said = r"batch 0 of the loader must hold images of shape \(3, 1, 1\), not \(3,\)"
    with pytest.raises(InputError, match=said):
        asq_hw.calibrate(q, [vectors()])


def test_values_that_stay_within_a_step_of_it_are_the_nearest() -> None:
    form = asq_hw.InputFormat(bits=4, signed=True, step=0.25)
    values = np.array([-2.0, -0.125, -0.126, 0.0, 0.124, 0.125, 1.75, 1.874])
    assert form.integers(values).tolist() == [-8, 0, -1, 0, 0, 1, 7, 7]
    assert form.integers(values).dtype == np.int8
    for value, place in ((1.875, 1), (-2.126, 0), (np.nan, 1), (np.inf, 0)):
        given = np.zeros(2)
        given[place] = value
        said = rf"-2\.\.1\.75, that is -8\.\.7 steps of 0\.25, not .* at \[{place}\]"
        with pytest.raises(InputError, match=said):
            form.integers(given)


BYTES = Dataset(
    name="x", images=np.ones((2, 3, 1, 1), np.uint8), labels=None, classes=(), mean=0.0, std=1.0
)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (vectors() * 4, "steps of 0.0"),
        (vectors()[:, :2], r"images must be \(N, 3, 1, 1\), not \(40, 2\)"),
        (BYTES, "Sensor takes integers of 16 bits, which no data set holds"),
        (np.full((1, 3), 1 << 15), r"-32768\.\.32767, not 32768 at \[0, 0, 0, 0\]"),
        (torch.full((2, 3), torch.nan), "must be finite"),
    ],
)
def test_what_the_input_does_not_take(
    given: Any, said: str, sensor: tuple[Sensor, nn.Module]
) -> None:
    net = asq_hw.export(sensor[1], input=asq_hw.InputFormat(bits=16, signed=True))
    with pytest.raises(InputError, match=said):
        asq_hw.simulate(net, given)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "export needs mean and std, of pixels that are 8 bits, or the input's format"),
        ({"input": 16}, "input must be an InputFormat, not int"),
        (
            {"input": asq_hw.InputFormat(bits=16), "mean": 0.0, "std": 1.0},
            "an input's step must be given where mean and std are",
        ),
        ({"input": asq_hw.InputFormat(bits=16)}, r"0\.\.65535 steps of .*, not -"),
        ({"input": asq_hw.InputFormat(bits=8, signed=True, step=1e-3)}, r"-128\.\.127 steps of"),
        ({"mean": 0.0, "std": 1.0}, "whole pixels"),
    ],
)
def test_formats_that_do_not_hold_the_values(
    settings: dict[str, Any], said: str, sensor: tuple[Sensor, nn.Module]
) -> None:
    with pytest.raises(InputError, match=said):
        asq_hw.export(sensor[1], **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bits": 1}, r"an input's bits must be an integer in 2\.\.16, not 1"),
        ({"bits": 17}, "not 17"),
        ({"bits": 8, "signed": 1}, "signed must be True or False, not 1"),
        ({"bits": 8, "step": 0}, "step must be 1e-12"),
        ({"bits": 8, "step": -1.0}, "step must be 1e-12"),
        ({"bits": 8, "step": float("nan")}, "step must be a finite number, not nan"),
        ({"bits": 8, "step": float("inf")}, "step must be a finite number, not inf"),
        ({"bits": 8, "step": "a"}, "step must be a finite number, not 'a'"),
        ({"bits": 8, "step": Fraction(1, 10**28 + 1)}, "step must be 1e-12"),
    ],
)
def test_formats_that_are_none(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        asq_hw.InputFormat(**settings)
