"""Quantizers give grid levels, the nearest ones, and never lose their positive steps."""

import math

import pytest
import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import APOT, POST, POT, SYMMETRIC, UNIFORM
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.quantizers.activations import ActivationQuantizer
from asq_hw.train.quantizers.adapter import (
    BETA_FLOOR,
    Adapter,
    PaperAdapter,
    quantize_weight,
    weight_scale,
)
from asq_hw.train.quantizers.initial_scales import (
    first_step,
    initial_alpha,
    initial_clip,
    initial_step,
    least_squares_step,
)
from asq_hw.train.quantizers.weights import UniformWeightQuantizer, make_weight_quantizer

GRIDS = [
    *(Grid(scheme=scheme, bits=bits) for scheme in (UNIFORM, SYMMETRIC) for bits in (2, 4, 8)),
    *(
        Grid(scheme=scheme, bits=bits, encoding=encoding)
        for scheme in (POT, POST)
        for bits in (2, 3, 4)
        for encoding in Encoding
    ),
    *(Grid(scheme=APOT, bits=bits) for bits in (3, 4, 5)),
]


def drawn(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Adapters draw their first weights from torch's global generator."""
    torch.manual_seed(0)


def name_of(grid: Grid) -> str:
    return f"{grid.scheme}{grid.bits}-{grid.encoding}"


@pytest.fixture(params=GRIDS, ids=name_of)
def grid(request: pytest.FixtureRequest) -> Grid:
    assert isinstance(request.param, Grid)
    return request.param


@pytest.mark.parametrize("per_channel", [False, True])
def test_codes_and_scale_give_exactly_the_quantized_weights(grid: Grid, per_channel: bool) -> None:
    weight = drawn(6, 4, 3, 3)
    quantizer = make_weight_quantizer(grid, weight, per_channel=per_channel)
    values = {level.code: level.value for level in grid.levels}
    codes = quantizer.level_codes(weight)
    assert codes.dtype == torch.int64
    decoded = torch.tensor([values[code] for code in codes.flatten().tolist()])
    assert torch.equal(quantizer(weight), decoded.reshape(weight.shape) * quantizer.scale())
    assert quantizer.scale().shape == ((6, 1, 1, 1) if per_channel else ())


def test_every_weight_goes_to_a_nearest_level(grid: Grid) -> None:
    weight = 0.7 * drawn(500)
    quantizer = make_weight_quantizer(grid, weight, per_channel=False)
    scale = quantizer.scale().double()
    levels = torch.tensor([level.value for level in grid.levels], dtype=torch.float64) * scale
    smallest = (weight.double()[:, None] - levels).abs().amin(dim=1)
    error = (weight.double() - quantizer(weight).double()).abs()
    torch.testing.assert_close(error, smallest, rtol=1e-5, atol=1e-6)


def test_per_channel_quantizes_each_channel_by_itself(grid: Grid) -> None:
    weight = drawn(3, 40) * torch.tensor([[0.01], [1.0], [50.0]])
    together = make_weight_quantizer(grid, weight, per_channel=True)(weight)
    for channel, quantized in zip(weight, together, strict=True):
        alone = make_weight_quantizer(grid, channel[None], per_channel=False)(channel[None])
        assert torch.equal(quantized, alone[0])


def test_initial_alpha_is_the_best_of_a_finer_search() -> None:
    weight, grid = drawn(2000), Grid(scheme=POST, bits=4)
    levels = torch.tensor([level.value for level in grid.ordered_levels])

    def error(alpha: float) -> float:
        nearest = (weight[:, None] - alpha * levels).abs().amin(dim=1)
        return float(nearest.square().sum())

    finer = min(error(alpha) for alpha in torch.linspace(0.05, 6, 400).tolist())
    assert error(float(initial_alpha(weight, grid))) <= 1.02 * finer


@pytest.mark.parametrize("maximum", [3, 15])
def test_initial_clip_is_the_best_of_a_finer_search(maximum: int) -> None:
    x = drawn(4000).relu()
    x[17] = 12

    def error(clip: float) -> float:
        step = clip / maximum
        return float(((x / step).round().clamp(max=maximum) * step - x).square().sum())

    finer = min(error(float(clip)) for clip in torch.linspace(0.5, 12, 400))
    clip = float(initial_clip(x, maximum))
    assert error(clip) <= 1.02 * finer
    assert clip < 12


def test_initial_clip_is_the_largest_input_where_codes_abound() -> None:
    assert float(initial_clip(torch.linspace(-2, 1, 301), 255)) == 2


def test_initial_clip_of_a_large_input_looks_at_a_part_of_it() -> None:
    x = torch.linspace(0, 1, 1 << 20)
    x[1] = 1000  # between two of those that are looked at
    assert float(initial_clip(x, 15)) <= 1


def test_initial_step_is_lsqs_until_it_reaches_past_the_data() -> None:
    x = torch.tensor([-1.0, 0.0, 0.5, 2.5])
    assert float(initial_step(x, 3)) == pytest.approx(min(2 * 1.0 / math.sqrt(3), 2.5 / 3))
    narrow = torch.tensor([0.1, 0.1, 0.1, 100.0])
    assert float(initial_step(narrow, 15)) == pytest.approx(100 / 15)
    spread = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 16.0])
    assert float(initial_step(spread, 15)) == pytest.approx(2 * 2 / math.sqrt(15))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_least_squares_step_is_the_best_of_a_finer_search(signed: bool, bits: int) -> None:
    x = drawn(4000) if signed else drawn(4000).relu()
    x[17] = 12
    grid = Grid(scheme=UNIFORM, bits=bits, signed=signed)

    def error(step: float) -> float:
        codes = (x / step).round().clamp(grid.minimum, grid.maximum)
        return float((codes * step - x).square().sum())

    finer = min(error(float(step)) for step in torch.linspace(0.05, 12 / grid.maximum, 800))
    step = float(least_squares_step(x, grid))
    assert error(step) <= 1.02 * finer
    assert error(step) < error(float(initial_step(x, grid.maximum)))
    assert first_step(x, grid, StepStart.LEAST_SQUARES) == step
    assert first_step(x, grid, StepStart.LSQ) == initial_step(x, grid.maximum)


def test_a_least_squares_step_looks_at_every_column_of_a_large_map() -> None:
    x = torch.zeros(128, 16, 32, 32)
    x[..., 5] = 3.0
    assert float(least_squares_step(x, Grid(scheme=UNIFORM, bits=2, signed=False))) == 1.0


@pytest.mark.parametrize("start", StepStart)
def test_steps_start_where_they_are_told_to(start: StepStart) -> None:
    x, grid = drawn(4, 9), Grid(scheme=UNIFORM, bits=2)
    wanted = [float(first_step(row, grid, start)) for row in x]
    weights = UniformWeightQuantizer(grid, x, per_channel=True, step_start=start)
    assert weights.step().flatten().tolist() == wanted
    activations = ActivationQuantizer(bits=2, signed=True, step_start=start)
    activations(x)
    assert activations.step().item() == float(first_step(x, grid, start))


def test_all_zero_weights_start_from_one() -> None:
    assert float(least_squares_step(torch.zeros(8), Grid(scheme=UNIFORM, bits=4))) == 1
    assert float(initial_step(torch.zeros(8), 7)) == 1
    assert float(initial_clip(torch.zeros(8), 7)) == 1
    assert float(initial_alpha(torch.zeros(8), Grid(scheme=POST, bits=4))) == 1


@pytest.mark.parametrize("learning_rate", [1e3, 1e30, float("inf")])
@pytest.mark.parametrize("grid", [GRIDS[1], GRIDS[9]], ids=name_of)
def test_scales_stay_positive_whatever_the_optimizer_does(grid: Grid, learning_rate: float) -> None:
    weight = drawn(4, 9)
    quantizer = make_weight_quantizer(grid, weight, per_channel=True)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=learning_rate)
    for sign in (1, -1, 1):
        optimizer.zero_grad()
        (sign * quantizer(weight)).sum().backward()
        optimizer.step()
        assert bool((quantizer.scale() > 0).all())
        assert bool(quantizer.scale().isfinite().all())
        assert bool(quantizer(weight).isfinite().all())


@pytest.mark.parametrize(("per_channel", "count"), [(False, 36), (True, 9)])
@pytest.mark.parametrize(
    ("grid", "slope", "factor"),
    [
        (Grid(scheme=UNIFORM, bits=4), 0 - 0.3, 1 / math.sqrt(7)),
        (Grid(scheme=POST, bits=4), 0.25 - 0.3, 7 * math.sqrt(7)),
        (Grid(scheme=POST, bits=3), 0.5 - 0.3, 3 * math.sqrt(3)),
    ],
    ids=["uniform", "post", "post3"],
)
def test_gradient_scale_of_weights(
    grid: Grid, slope: float, factor: float, per_channel: bool, count: int
) -> None:
    """LSQ: 1 / sqrt(N * Qp) for N weights to a step.

    Alpha / Qp has Qp times alpha's gradient and at that scale moves by Qp times less: Qp**1.5.
    """
    quantizer = make_weight_quantizer(grid, drawn(4, 9), per_channel=per_channel)
    (parameter,) = quantizer.eval().parameters()  # training would not leave it at 1
    nn.init.ones_(parameter)
    quantizer(torch.full((4, 9), 0.3)).sum().backward()
    assert parameter.grad is not None
    expected = slope * factor * count / math.sqrt(count)
    assert parameter.grad.flatten().tolist() == pytest.approx([expected] * parameter.numel())


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("away", [-1.0, 1e-6, 1e6])
def test_training_holds_a_scale_within_reach_of_the_weights(
    grid: Grid, away: float, per_channel: bool
) -> None:
    """The highest level lies between the mean magnitude and the largest.

    Means of the two channels are 2 and 5, of both 3.5; the largest weights are 4 and 8.
    """
    weight = torch.tensor([[-4.0, 1, 2, 1], [8, -3, -2, 7]])
    means, largest = ([2.0, 5], [4.0, 8]) if per_channel else ([3.5], [8.0])
    quantizer = make_weight_quantizer(grid, weight, per_channel=per_channel)
    nn.init.constant_(quantizer.learned.value, away)
    quantizer(weight)
    highest = max(level.value for level in grid.levels)
    top = grid.maximum if grid.scheme.integer_range else highest
    expected = [one / top for one in (largest if away > 1 else means)]
    held = quantizer.learned.value.detach().clone()
    assert held.flatten().tolist() == pytest.approx(expected)
    assert quantizer.learned.floor.flatten().tolist() == pytest.approx([one / top for one in means])
    assert quantizer(weight).max().item() == pytest.approx(8 if away > 1 else means[-1])
    with torch.no_grad():
        quantizer.learned.value.mul_(fits := 1.1 if away < 1 else 1 / 1.1)
    quantizer(weight)
    assert torch.equal(quantizer.learned.value, held * fits), "what fits is left alone"


def test_what_is_not_trained_is_not_held() -> None:
    grid, weight = Grid(scheme=UNIFORM, bits=4), drawn(2, 9)
    quantizer = make_weight_quantizer(grid, weight, per_channel=True)
    nn.init.constant_(quantizer.learned.value, 100.0)
    quantizer.eval()(weight)
    assert quantizer.learned.value.flatten().tolist() == [100, 100]
    quantizer.learned.requires_grad_(False)
    quantizer.train()(weight)
    assert quantizer.learned.value.flatten().tolist() == [100, 100]
    quantizer.learned.requires_grad_(True)
    quantizer(torch.cat([weight[:1], torch.zeros(1, 9)]))
    assert quantizer.learned.value.flatten().tolist() == pytest.approx(
        [weight[0].abs().max().item() / 7, 100]
    )


def test_two_passes_of_an_update_share_a_held_scale() -> None:
    grid, weight = Grid(scheme=UNIFORM, bits=4), drawn(2, 9).requires_grad_()
    quantizer = make_weight_quantizer(grid, weight, per_channel=False)
    nn.init.constant_(quantizer.learned.value, 1e-6)
    parts = [quantizer(weight), quantizer(weight)]
    assert torch.equal(*parts)
    for part in parts:
        part.sum().backward()
    assert weight.grad is not None and quantizer.learned.value.grad is not None


@pytest.mark.parametrize("adapted", [False, True])
def test_gradient_scale_of_activations(adapted: bool) -> None:
    """1 / sqrt(N * Qp) for s, N the elements of one sample; nothing for beta.

    With s = 2 and beta = 1, 200 values of 0.6 are 0.3 steps each: code 0, slope -0.3 (Eq. 7).
    """
    adapter = PaperAdapter(4) if adapted else None
    quantizer = ActivationQuantizer(bits=4, signed=False, adapter=adapter)
    if adapter is not None:
        nn.init.zeros_(adapter.output.weight)
    quantizer(torch.ones(2, 4, 5, 5))
    nn.init.constant_(quantizer.learned.value, 2.0)
    quantizer(torch.full((2, 4, 5, 5), 0.6)).sum().backward()
    assert quantizer.learned.value.grad is not None
    expected = -0.3 * 200 / math.sqrt(100 * 15)
    assert quantizer.learned.value.grad.item() == pytest.approx(expected)
    if adapter is not None:
        assert adapter.output.bias.grad is not None
        assert adapter.output.bias.grad.item() == pytest.approx(-0.3 * 200 * 2)


def test_activation_step_starts_from_the_first_training_batch() -> None:
    quantizer = ActivationQuantizer(bits=4, signed=False)
    x = drawn(8, 3, 5, 5).relu()
    with pytest.raises(InputError, match="must be calibrated, or see a training batch"):
        quantizer.eval()(x)
    quantizer.train()(x)
    assert quantizer.step().item() == float(initial_step(x, 15))
    quantizer(100 * x)
    assert quantizer.step().item() == float(initial_step(x, 15))


@pytest.mark.parametrize(("signed", "lowest", "highest"), [(True, -8, 7), (False, 0, 15)])
def test_activations_are_integers_times_the_step(signed: bool, lowest: int, highest: int) -> None:
    quantizer = ActivationQuantizer(bits=4, signed=signed)
    x = drawn(8, 3, 5, 5)
    quantizer(x)
    ratio = (quantizer(5 * x) / quantizer.step()).detach()
    torch.testing.assert_close(ratio, ratio.round(), rtol=1e-6, atol=0)
    assert (int(ratio.round().min()), int(ratio.round().max())) == (lowest, highest)
    assert (quantizer.bits, quantizer.signed) == (4, signed)


def test_asq_gives_each_sample_its_own_step() -> None:
    quantizer = ActivationQuantizer(bits=4, signed=False, adapter=PaperAdapter(4))
    assert quantizer.adapter is not None
    x = drawn(6, 4, 5, 5).relu() * torch.tensor([0.1, 0.5, 1, 2, 4, 8]).reshape(-1, 1, 1, 1)
    with torch.no_grad():
        quantizer.adapter.output.weight.fill_(0.5)
    together = quantizer(x)
    betas = quantizer.adapter(x)
    assert betas.unique().numel() == 6
    for sample, beta, quantized in zip(x, betas, together, strict=True):
        step = beta.item() * quantizer.step().item()
        expected = (sample / step).round().clamp(0, 15) * step
        torch.testing.assert_close(quantized, expected)
    assert torch.equal(quantizer(x[2:3])[0], together[2])


def test_asq_trains_both_the_step_and_the_adapter() -> None:
    quantizer = ActivationQuantizer(bits=3, signed=True, adapter=PaperAdapter(8))
    (quantizer(drawn(4, 8, 5, 5)) ** 2).sum().backward()
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    assert quantizer.adapter is not None
    for layer in quantizer.adapter.linear_layers():
        assert layer.weight.grad is not None
        assert bool(layer.weight.grad.any())


@pytest.mark.parametrize("channels", [1, 3, 7, 8, 16, 64])
def test_adapter_starts_close_to_one(channels: int) -> None:
    adapter = PaperAdapter(channels)
    beta = adapter(drawn(32, channels, 6, 6).relu()).detach()
    assert beta.shape == (32,)
    assert float((beta - 1).abs().max()) < 0.05
    assert len(adapter.linear_layers()) == (1 if channels < 8 else 2)
    if channels >= 8:
        assert adapter.linear_layers()[0].out_features == channels // 4


@pytest.mark.parametrize(("ratio", "hidden"), [(1, 16), (4, 4), (8, 2), (9, None)])
def test_adapters_of_another_ratio(ratio: int, hidden: int | None) -> None:
    adapter = PaperAdapter(16, ratio=ratio)
    found = None if adapter.hidden is None else adapter.hidden.out_features
    assert found == hidden


def test_an_adapters_last_weights_start_with_their_deviation() -> None:
    weights = PaperAdapter(4096, start=0.02).output.weight
    assert weights.std().item() == pytest.approx(0.02, rel=0.1)
    assert not PaperAdapter(64, start=0.0).output.weight.any()


def test_adapter_by_hand() -> None:
    """Means 1 and 3; weights 0.5 and -0.25 (127 and -63.5, so -64, of 1/254); bias 1."""
    adapter = PaperAdapter(2)
    with torch.no_grad():
        adapter.output.weight.copy_(torch.tensor([[0.5, -0.25]]))
    x = torch.tensor([[[[0.0, 2.0]], [[4.0, 2.0]]]])
    expected = 1 + (127 * 1 - 64 * 3) / 254
    assert adapter(x).item() == pytest.approx(expected)
    assert adapter(x.mean(dim=(2, 3))).item() == pytest.approx(expected)


def test_adapter_never_goes_below_its_floor() -> None:
    adapter = PaperAdapter(4)
    nn.init.constant_(adapter.output.bias, -5.0)
    assert adapter(drawn(3, 4, 2, 2)).tolist() == [BETA_FLOOR] * 3


def test_adapter_weights_act_as_signed_8_bit_codes() -> None:
    weight = drawn(16, 64)
    codes = quantize_weight(weight) / weight_scale(weight)
    torch.testing.assert_close(codes, codes.round(), atol=1e-4, rtol=0)
    assert int(codes.abs().max().round()) == 127


def plain_beta(adapter: Adapter, means: Tensor) -> Tensor:
    """The adapter by torch's own operations, each weight as its 8-bit code."""

    def linear(layer: nn.Linear, x: Tensor) -> Tensor:
        rounded = (quantize_weight(layer.weight) - layer.weight).detach() + layer.weight
        return nn.functional.linear(x, rounded, layer.bias).relu()

    for layer in adapter.linear_layers():
        means = linear(layer, means)
    return means.clamp(min=BETA_FLOOR).squeeze(1)


@pytest.mark.parametrize("channels", [4, 16])
def test_adapter_agrees_with_autograd(channels: int) -> None:
    adapter = PaperAdapter(channels).double()
    nn.init.normal_(adapter.output.weight)
    means = (3 * drawn(64, channels).double()).requires_grad_()
    weighting, inputs = drawn(64, seed=5).double(), (means, *adapter.parameters())
    ours, plain = adapter(means), plain_beta(adapter, means)
    assert bool((ours == BETA_FLOOR).any())
    torch.testing.assert_close(ours, plain)
    for found, wanted in zip(
        torch.autograd.grad(ours, inputs, weighting),
        torch.autograd.grad(plain, inputs, weighting),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_adapter_of_all_zero_weights_is_constant() -> None:
    adapter = PaperAdapter(16)
    for layer in adapter.linear_layers():
        nn.init.zeros_(layer.weight)
    assert adapter(drawn(3, 16, 2, 2)).tolist() == [1.0] * 3


def test_quantizers_compute_in_float32_under_autocast() -> None:
    quantizer = ActivationQuantizer(bits=8, signed=False, adapter=PaperAdapter(16))
    x = drawn(4, 16, 3, 3).relu()
    plain = quantizer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(quantizer(x), plain)
