"""calibrate starts scales from weights and from whatever a loader yields, or changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import asq_hw
from asq_hw.errors import InputError
from asq_hw.train.methods.catalog import ACTIVATION_METHODS, WEIGHT_METHODS, exportable
from tests.interface.test_prepare import layer, plain

IMAGES = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def step_of(found: Any) -> float:
    return float(found.activation_quantizer.step().detach())


def inputs() -> dict[str, torch.Tensor]:
    """What each layer of `plain` sees in floating point."""
    model, found = plain(), {}
    for name in ("0", "2", "4"):
        module = model.get_submodule(name)
        module.register_forward_pre_hook(
            lambda _, given, name=name: found.__setitem__(name, given[0].detach())
        )
    model(IMAGES)
    return found


def test_minmax_clips_nothing() -> None:
    quantized = asq_hw.prepare(plain(), bits=4)
    asq_hw.calibrate(quantized, IMAGES.split(5), method="minmax")
    seen = inputs()
    for name, bits in (("0", 8), ("2", 4), ("4", 8)):
        found: Any = layer(quantized, name)
        largest = 2 ** (bits - 1) - 1
        rows = found.weight.detach().flatten(1)
        ends = torch.maximum(rows.amax(1) / largest, -rows.amin(1) / (largest + 1))
        assert torch.allclose(found.weight_quantizer.step().flatten(), ends)
        low, high = seen[name].aminmax()
        signed = name != "2"
        step = max(high / largest, -low / (largest + 1)) if signed else high / (2**bits - 1)
        assert found.activation_quantizer.signed == signed
        assert step_of(found) == pytest.approx(float(step), rel=1e-6)


def test_mse_has_less_error_than_any_step_nearby() -> None:
    quantized = asq_hw.prepare(plain(), bits=3, edge_bits=3)
    asq_hw.calibrate(quantized, IMAGES.split(5))
    for name, x in inputs().items():
        quantizer: Any = layer(quantized, name).activation_quantizer
        grid = quantizer.grid

        def error(step: float, x: torch.Tensor = x, grid: Any = grid) -> float:
            codes = (x / step).round().clamp(grid.minimum, grid.maximum)
            return float((codes * step - x).square().sum())

        step = step_of(layer(quantized, name))
        finer = min(error(step * 2**octaves) for octaves in np.linspace(-2, 2, 200))
        assert error(step) <= 1.02 * finer


def test_weights_start_anew_from_what_was_loaded() -> None:
    quantized = asq_hw.prepare(plain(), weights="post", bits=4)
    fresh: Any = layer(quantized, "2")
    before = fresh.weight_quantizer.scale().clone()
    with torch.no_grad():
        fresh.weight.mul_(8)
    asq_hw.calibrate(quantized, [IMAGES])
    assert torch.allclose(fresh.weight_quantizer.scale(), 8 * before)


@pytest.mark.parametrize(
    ("weights", "activations"),
    [
        *((name, "lsq") for name in exportable(WEIGHT_METHODS)),
        *(("lsq", name) for name in exportable(ACTIVATION_METHODS) if name != "lsq"),
    ],
)
def test_every_exportable_method_is_calibrated(weights: str, activations: str) -> None:
    """The scores of a calibrated network follow those in floating point."""
    quantized = asq_hw.prepare(plain(), weights=weights, activations=activations, bits=6)
    asq_hw.calibrate(quantized, IMAGES.split(8))
    wanted, found = plain()(IMAGES).detach(), quantized(IMAGES).detach()
    if weights not in ("dorefa", "qil") and activations != "dorefa":  # these have fixed ranges
        noise = float((found - wanted).square().sum() / wanted.square().sum())
        assert noise < (0.05 if weights in ("pot", "post", "apot") else 0.01)


def test_pairs_arrays_a_tensor_and_a_generator_are_loaders() -> None:
    labels = torch.zeros(24, dtype=torch.int64)
    array = IMAGES.numpy().astype(np.float64)
    array.setflags(write=False)
    loaders: list[Any] = [
        IMAGES,
        (IMAGES[i : i + 7] for i in range(0, 24, 7)),
        [(IMAGES, labels)],
        [[IMAGES, labels, "names"]],
        [array],
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES, labels), batch_size=5),
    ]
    steps = set()
    for loader in loaders:
        quantized = asq_hw.prepare(plain())
        asq_hw.calibrate(quantized, loader)
        steps.add(tuple(step_of(layer(quantized, name)) for name in "024"))
    assert len(steps) == 1


def test_a_limit_is_kept_and_no_more_is_asked_for() -> None:
    def endless() -> Iterable[torch.Tensor]:
        while True:
            yield IMAGES[:5]

    quantized = asq_hw.prepare(plain())
    asq_hw.calibrate(quantized, endless(), limit=12)
    assert len(quantized.meta["asq_hw"].images) == 12


def test_what_is_known_of_images_is_that_of_the_last_calibration() -> None:
    quantized = asq_hw.prepare(plain(), IMAGES)
    asq_hw.calibrate(quantized, [IMAGES * 1000])
    with pytest.raises(InputError, match="batch 1"):
        asq_hw.calibrate(quantized, [IMAGES * 9000, IMAGES * torch.nan])
    asq_hw.calibrate(quantized, [IMAGES])
    again = asq_hw.prepare(plain(), IMAGES)
    asq_hw.calibrate(again, [IMAGES])
    steps = [
        made.images.format.step
        for network in (quantized, again)
        if (made := asq_hw.export(network, input=FORMAT)).images is not None
    ]
    assert len(steps) == 2 and steps[0] == steps[1]


FORMAT = asq_hw.InputFormat(bits=12, signed=True)
BAD = IMAGES.clone()
BAD[3, 1, 2, 2] = torch.inf


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        ([], "the loader yields nothing"),
        (iter(()), "the loader yields nothing"),
        (3, "a loader must be an iterable of batches, not int"),
        ("images", "a loader must be an iterable of batches, not str"),
        ([IMAGES, BAD], "batch 1 of the loader must be finite, and holds NaN or infinity"),
        ([IMAGES * torch.nan], "batch 0 of the loader must be finite"),
        (
            [IMAGES[0]],
            r"batch 0 .* or vectors \(N, C\), not a tensor of shape \(3, 8, 8\)",
        ),
        ([IMAGES, IMAGES[:, :, :4]], r"batch 1 .* shape \(3, 8, 8\), not \(3, 4, 8\)"),
        ([IMAGES[:0]], r"must hold images, not a tensor of shape \(0, 3, 8, 8\)"),
        ([IMAGES.to(torch.uint8)], "in floating point, not uint8"),
        ([{"image": IMAGES}], "must begin with images .*, not dict"),
        ([()], "must begin with images .*, not tuple"),
        ([(IMAGES, torch.zeros(3))], "must have integers for labels, not torch.float32"),
        ([(IMAGES, torch.zeros(3, dtype=torch.int64))], r"one label for each of 24 .*not \(3,\)"),
        ([(IMAGES, -torch.ones(24, dtype=torch.int64))], "labels from 0 on, not -1"),
    ],
)
def test_a_loader_that_is_none_is_one_line_and_changes_nothing(loader: Any, said: str) -> None:
    quantized = asq_hw.prepare(plain())
    before = copy.deepcopy(quantized.state_dict())
    with pytest.raises(InputError, match=said) as caught:
        asq_hw.calibrate(quantized, loader)
    assert "\n" not in str(caught.value)
    after = quantized.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    with pytest.raises(InputError, match="must be calibrated, or see a training batch, before"):
        quantized(IMAGES)


def test_a_value_inside_that_is_not_finite_is_named() -> None:
    model = plain()
    with torch.no_grad():
        model[0].weight.fill_(3e38)
    with pytest.raises(InputError, match="the input of layer 2: values must be finite"):
        asq_hw.calibrate(asq_hw.prepare(model), [IMAGES.abs()])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "best"}, "method must be one of mse, minmax, not 'best'"),
        ({"limit": 0}, "limit must be an integer of at least 1, not 0"),
        ({"limit": 2.5}, "limit must be an integer of at least 1, not 2.5"),
    ],
)
def test_settings_that_are_none(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        asq_hw.calibrate(asq_hw.prepare(plain()), [IMAGES], **settings)


@pytest.mark.parametrize("model", [nn.Conv2d(3, 4, 3), None, "net.asq"])
def test_only_prepared_networks_are_calibrated(model: Any) -> None:
    with pytest.raises(InputError, match="calibrate takes a network that asq_hw.prepare made"):
        asq_hw.calibrate(model, [IMAGES])
