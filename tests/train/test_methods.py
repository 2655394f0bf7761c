"""Every method: its formula by hand, its gradients, and a few steps on every network."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.schemes import APOT, UNIFORM
from asq_hw.train import recipes
from asq_hw.train.graph.conversion import quantize
from asq_hw.train.methods import lq_net
from asq_hw.train.methods.catalog import ACTIVATION_METHODS, METHODS, WEIGHT_METHODS, exportable
from asq_hw.train.methods.daq import distance_aware_round
from asq_hw.train.methods.dorefa import DorefaActivationQuantizer, DorefaWeightQuantizer
from asq_hw.train.methods.dsq import soft_staircase_round
from asq_hw.train.methods.factory import activation_quantizer, weight_quantizer
from asq_hw.train.methods.lsq_plus import LsqPlusActivationQuantizer
from asq_hw.train.methods.method import ActivationSettings, WeightSettings
from asq_hw.train.methods.pact import PactActivationQuantizer
from asq_hw.train.methods.qil import (
    QilActivationQuantizer,
    QilWeightQuantizer,
    interval_transform,
)
from asq_hw.train.models import build, names
from asq_hw.train.quantizers.activations import IntegerActivationQuantizer
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.quantizers.weights import GridWeightQuantizer, IntegerWeightQuantizer
from asq_hw.train.run.optimizer import make_optimizer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors as small as these are slower on several threads, which wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


NAMES = [method.name for method in METHODS]


def drawn(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def both_sides(method: str) -> dict[str, str]:
    """The method where it applies, LSQ on the other side."""
    return {
        "weights": method if method in WEIGHT_METHODS else "lsq",
        "activations": method if method in ACTIVATION_METHODS else "lsq",
    }


def make_weights(method: str, weight: Tensor, bits: int = 4, per_channel: bool = False):
    settings = WeightSettings(bits=bits, encoding=Encoding.PACKED, per_channel=per_channel)
    quantizer = weight_quantizer(method, weight, settings)
    assert quantizer is not None
    return quantizer


def make_activations(method: str, bits: int = 4, signed: bool = False):
    settings = ActivationSettings(channels=4, bits=bits, signed=signed)
    quantizer = activation_quantizer(method, settings)
    assert quantizer is not None
    return quantizer


def narrow_ranges(model: nn.Module) -> None:
    """Let inputs fall outside: some parameters learn from those, and start with none."""
    for module in model.modules():
        quantizer = getattr(module, "activation_quantizer", None)
        for part in () if quantizer is None else quantizer.modules():
            if isinstance(part, PositiveParameter):
                with torch.no_grad():
                    part.value.mul_(0.7)


def still_after_steps(method: str, network: str, seed: int) -> set[str]:
    """Names of the parameters that two steps on drawn images leave as they were.

    A change may be too small for the last digit; there the gradient tells.
    """
    torch.manual_seed(seed)
    changes = {"model": network, "learning_rate": 0.005, "weight_decay": 0.0}
    recipe = recipes.load("digits-asq-post-w4a4", changes | both_sides(method))
    model = quantize(build(network, width=8, in_channels=3, num_classes=4), recipe)
    model(drawn(8, 3, 24, 24))
    narrow_ranges(model)
    optimizer = make_optimizer(model, recipe)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for step in range(2):
        optimizer.zero_grad()
        logits = model(drawn(8, 3, 24, 24, seed=seed + step))
        loss = functional.cross_entropy(logits, torch.arange(8) % 4)
        assert math.isfinite(loss.item())
        loss.backward()
        optimizer.step()
    assert all(bool(value.isfinite().all()) for value in model.parameters())
    return {
        name
        for name, value in model.named_parameters()
        if torch.equal(value, before[name]) and not optimizer.state[value]["momentum_buffer"].any()
    }


@pytest.mark.parametrize("network", names())
@pytest.mark.parametrize("method", NAMES)
def test_every_method_trains_every_network(method: str, network: str) -> None:
    """From one start a rectifier's or a clip's parameter may get no gradient, but not from five."""
    still = still_after_steps(method, network, 1)
    for seed in range(2, 6):
        if still:
            still &= still_after_steps(method, network, seed)
    assert still == set()


@pytest.mark.parametrize("method", WEIGHT_METHODS)
def test_the_declaration_tells_which_weights_export(method: str) -> None:
    quantizer = make_weights(method, drawn(4, 3, 3, 3))
    is_integer = isinstance(quantizer, IntegerWeightQuantizer)
    assert is_integer == WEIGHT_METHODS[method].has_integer_form


@pytest.mark.parametrize("method", ACTIVATION_METHODS)
def test_the_declaration_tells_which_activations_export(method: str) -> None:
    is_integer = isinstance(make_activations(method), IntegerActivationQuantizer)
    assert is_integer == ACTIVATION_METHODS[method].has_integer_form


def test_a_method_has_one_name_and_applies_somewhere() -> None:
    assert len({method.name for method in METHODS}) == len(METHODS)
    assert all(method.weights or method.activations for method in METHODS)


@pytest.mark.parametrize("bits", [2, 3, 4, 7])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("method", exportable(WEIGHT_METHODS))
def test_codes_and_scale_give_the_quantized_weights(
    method: str, per_channel: bool, bits: int
) -> None:
    weight = 0.3 * drawn(6, 4, 3, 3)
    quantizer = make_weights(method, weight, bits=bits, per_channel=per_channel).eval()
    values = {level.code: level.value for level in quantizer.grid.levels}
    decoded = torch.tensor(
        [values[code] for code in quantizer.level_codes(weight).flatten().tolist()]
    )
    expected = decoded.reshape(weight.shape) * quantizer.scale()
    torch.testing.assert_close(quantizer(weight).detach(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "method",
    [name for name in exportable(ACTIVATION_METHODS) if name not in ("asq", "shared-exponent")],
)
def test_activations_are_integers_times_the_step(method: str, signed: bool) -> None:
    quantizer = make_activations(method, bits=3, signed=signed)
    x = drawn(8, 4, 5, 5) if signed else drawn(8, 4, 5, 5).relu()
    quantizer(x)
    ratio = (quantizer(3 * x) / quantizer.step()).detach()
    torch.testing.assert_close(ratio, ratio.round(), rtol=1e-5, atol=1e-5)
    found = set(ratio.round().flatten().int().tolist())
    assert found == set(range(-4, 4) if signed else range(8))


def test_pact_by_hand() -> None:
    """Eq. 1-3 with alpha = 3 and 2 bits: steps of 3 / 3 = 1.

    x          0.0  0.6  1.4  2.8  3.0  5.0
    y          0    0.6  1.4  2.8  3    3       clipped at alpha
    y_q        0    1    1    3    3    3
    d/dx       1    1    1    1    1    0       straight through inside
    d/dalpha   0    0    0    0    0    1       where the clip acts

    At x = alpha the two sides meet; the gradient goes to x.
    """
    pact = PactActivationQuantizer(bits=2, signed=False)
    pact(torch.tensor([[3.0]]))
    x = torch.tensor([[0.0, 0.6, 1.4, 2.8, 3.0, 5.0]], requires_grad=True)
    quantized = pact(x)
    assert quantized.tolist() == [[0, 1, 1, 3, 3, 3]]
    weighting = torch.tensor([[1.0, 10, 100, 1000, 10000, 100000]])
    to_x, to_alpha = torch.autograd.grad((quantized * weighting).sum(), [x, pact.alpha.value])
    assert to_x.tolist() == [[1, 10, 100, 1000, 10000, 0]]
    assert to_alpha.item() == 100000


def test_lsq_by_hand() -> None:
    """Eq. 3 and 5 of LSQ, s = 1/2, 3-bit weights (Qn = -4, Qp = 3), N = 4 weights.

    w        -2.60  -0.40   0.65   1.90
    w / s    -5.20  -0.80   1.30   3.80
    code     -4     -1      1      3
    d/ds     -4     -0.20  -0.30   3        round(w/s) - w/s inside, Qn and Qp outside

    The sum, -1.5, times the gradient scale 1 / sqrt(4 * 3).
    """
    w = torch.tensor([[-2.60, -0.40, 0.65, 1.90]], requires_grad=True)
    quantizer = make_weights("lsq", w, bits=3)
    nn.init.constant_(quantizer.learned.value, 0.5)
    quantized = quantizer(w)
    assert quantized.tolist() == [[-2, -0.5, 0.5, 1.5]]
    to_w, to_step = torch.autograd.grad(quantized.sum(), [w, quantizer.learned.value])
    assert to_w.tolist() == [[0, 1, 1, 0]]
    assert to_step.item() == pytest.approx(-1.5 / math.sqrt(12))


def test_symmetric_weights_and_gradients_by_hand() -> None:
    """Eq. 7 with Qn = -3 and Qp = 3 at 3 bits, s = 0.5; the gradient scale is 1 / sqrt(4 * 3).

    w      -2    -1.4   0.3   1.6
    w / s  -4    -2.8   0.6   3.2
    codes  -3    -3     1     3
    d/ds   -3    -0.2   0.4   3

    As sign and magnitude -3 is 7, 1 is 1, 3 is 3; two's complement would have -4 and -3 as 4, 5.
    """
    w = torch.tensor([[-2.0, -1.4, 0.3, 1.6]], requires_grad=True)
    quantizer = make_weights("symmetric", w, bits=3)
    nn.init.constant_(quantizer.learned.value, 0.5)
    quantized = quantizer(w)
    assert quantized.tolist() == [[-1.5, -1.5, 0.5, 1.5]]
    to_w, to_step = torch.autograd.grad(quantized.sum(), [w, quantizer.learned.value])
    assert to_w.tolist() == [[0, 1, 1, 0]]
    assert to_step.item() == pytest.approx((-3 - 0.2 + 0.4 + 3) / math.sqrt(12))
    assert quantizer.level_codes(w).tolist() == [[7, 7, 1, 3]]


def test_min_max_weights_and_gradients_by_hand() -> None:
    """The least step that clips nothing at 3 bits (Qn = -4, Qp = 3), and 1 where all are zero.

    row 0   w   -2.0  0.5  0.9  1.2     -2.0 / -4 = 0.5 is more than 1.2 / 3: -4, 1, 2, 2
    row 1   w   -0.4  0.0  0.3  3.0      3.0 / 3  = 1 is more than 0.4 / 4:    0, 0, 0, 3
    """
    w = torch.tensor(
        [[-2.0, 0.5, 0.9, 1.2], [-0.4, 0.0, 0.3, 3.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True
    )
    quantizer = make_weights("min-max", w, bits=3, per_channel=True)
    quantized = quantizer(w)
    assert quantized.tolist() == [[-2, 0.5, 1, 1], [0, 0, 0, 3], [0, 0, 0, 0]]
    assert quantizer.scale().flatten().tolist() == [2, 4, 4]  # levels are fourths
    assert quantizer.level_codes(w).tolist() == [[4, 1, 2, 2], [0, 0, 0, 3], [0, 0, 0, 0]]
    (to_w,) = torch.autograd.grad(quantized.sum(), [w])
    assert to_w.tolist() == [[1] * 4] * 3
    assert not list(quantizer.parameters())
    whole = make_weights("min-max", w, bits=3)
    assert whole(w).tolist() == [[-2, 0, 1, 1], [0, 0, 0, 3], [0, 0, 0, 0]]


def test_min_max_steps_follow_the_weights_in_training_alone() -> None:
    w = torch.tensor([[-2.0, 1.5]])
    quantizer = make_weights("min-max", w, bits=3)
    quantizer.eval()
    assert quantizer(2 * w).tolist() == [[-2, 1.5]]  # as it was, and clips
    quantizer.train()
    first = (2 * w).requires_grad_()
    once, again = quantizer(first), quantizer(4 * w)
    assert once.tolist() == [[-4, 3]] and again.tolist() == [[-8, 6]]
    once.sum().backward()  # nothing that this needs has changed
    assert first.grad is not None and first.grad.tolist() == [[1, 1]]
    quantizer.eval()
    assert quantizer(8 * w).tolist() == [[-8, 6]]


def test_a_learned_8_bit_step_can_run_away_and_a_min_max_step_cannot() -> None:
    """One step of SGD at rate 0.1 on a gradient of 1 that wants the largest weight larger.

    The learned step gets 127 of it, over sqrt(27 * 127), and is 0.22 afterwards, twice the weight:
    nothing of the channel is left, unless training holds the step where nothing is clipped.
    """
    start = torch.full((1, 27), 0.01)
    start[0, 0] = 0.1
    left = {}
    for method in ("lsq", "min-max"):
        w = nn.Parameter(start.clone())
        quantizer = make_weights(method, w, bits=8, per_channel=True)
        with torch.no_grad():
            w[0, 0] += 0.001  # past the end: a learned step clips it
        optimizer = torch.optim.SGD([w, *quantizer.parameters()], lr=0.1)
        (-quantizer(w)[0, 0]).backward()
        with torch.no_grad():
            w.grad = torch.zeros_like(w)  # as a batch norm would leave them
        optimizer.step()
        left[method] = [quantizer.train(mode)(w).unique().tolist() for mode in (False, True)]
    assert left["lsq"][0] == [0]
    assert left["lsq"][1] == pytest.approx([13 * 0.101 / 127, 0.101])
    for unlearned in left["min-max"]:
        assert len(unlearned) == 2 and unlearned[1] == pytest.approx(0.101, rel=0.02)


def test_apot_levels_and_gradients_by_hand() -> None:
    """APoT's Eq. 5 at 5 bits: a sign and two terms of 2 bits (k = 2, n = 2).

    p0 is one of 0, 2^0, 2^-2, 2^-4, and p1 of 0, 2^-1, 2^-3, 2^-5. Over 1/32 that is 0, 32, 8, 2
    and 0, 16, 4, 1, so the sums are

        0 1 2 3 4 6 8 9 12 16 18 24 32 33 36 48

    and gamma = 32 / 48 makes the largest alpha. Half of each sum is what we keep (the terms here
    begin at 2^-1), so that our scale times 48 / 64 is the paper's alpha.

    Eq. 9 for alpha = 2: d/dalpha is level - w / alpha inside, the sign of w outside.

    w           -3      0.70         1.10
    w / alpha   -1.5    0.35         0.55
    48 * that   -72     16.8         26.4
    level       -48     16           24        over 48
    d/dalpha    -1      -0.8 / 48    -2.4 / 48
    """
    sums = [0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48]
    grid = Grid(scheme=APOT, bits=5)
    published = {sign * value / 48 for value in sums for sign in (1, -1)}
    largest = max(level.value for level in grid.levels)
    assert largest == 48 / 64
    found = {level.value / largest for level in grid.levels}
    assert sorted(found) == pytest.approx(sorted(published))
    w = torch.tensor([[-3.0, 0.70, 1.10]], requires_grad=True)
    quantizer = make_weights("apot", w, bits=5)
    assert isinstance(quantizer, GridWeightQuantizer)
    nn.init.constant_(quantizer.learned.value, 2 / largest)
    quantized = quantizer(w)
    assert quantized.flatten().tolist() == pytest.approx([-2, 2 * 16 / 48, 2 * 24 / 48])
    to_w, to_scale = torch.autograd.grad(quantized.sum(), [w, quantizer.learned.value])
    assert to_w.tolist() == [[0, 1, 1]]
    steps = 15 / largest  # of LSQ's, in the scale; 1 / sqrt(3 * 15) is LSQ's factor
    to_alpha = to_scale.item() * math.sqrt(3 * 15) / steps**2 / largest
    assert to_alpha == pytest.approx(-1 - 0.8 / 48 - 2.4 / 48)


def test_dorefa_by_hand() -> None:
    """Eq. 9 at 2 bits: tanh(w) / (2 max) + 1/2 times 3, rounded: 0..3, and so -1, -1/3, 1/3, 1.

    With tanh(w) = -0.8, 0.1, 0.5 and max 0.8: 0, 0.5625, 0.8125; times 3: 0, 1.6875, 2.4375;
    rounded 0, 2, 2; times 2/3, less 1: -1, 1/3, 1/3.
    """
    w = torch.atanh(torch.tensor([[-0.8, 0.1, 0.5]]))
    quantizer = DorefaWeightQuantizer(2)
    assert quantizer(w).flatten().tolist() == pytest.approx([-1, 1 / 3, 1 / 3])
    assert quantizer.level_codes(w).tolist() == [[5, 1, 1]]  # -3, 1, 1 in three bits
    x = torch.tensor([[-0.2, 0.3, 0.6, 1.7]], requires_grad=True)
    rounded = DorefaActivationQuantizer(bits=2, signed=False)(x)
    assert rounded.flatten().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    (gradient,) = torch.autograd.grad(rounded.sum(), x)
    assert gradient.flatten().tolist() == pytest.approx([0, 1, 1, 0])
    with pytest.raises(InputError, match=r"dorefa weights must have 2\.\.7 bits, not 8"):
        DorefaWeightQuantizer(8)


def test_lsq_plus_by_hand() -> None:
    """Eq. 1-3 with s = 1/2, offset -1/4, 2 bits; and Eq. 4's start of a weight's step.

    x                 -1.00  0.35  0.80   2.00
    (x - o) / s       -1.50  1.20  2.10   4.50
    code               0     1     2      3
    x^                -0.25  0.25  0.75   1.25
    d/ds               0    -0.20 -0.10   3
    d/do               1     0     0      1
    """
    quantizer = LsqPlusActivationQuantizer(bits=2, signed=True)
    quantizer(torch.tensor([[-0.25, 1.25]]))
    assert quantizer.learned.value.item() == pytest.approx(0.5)
    x = torch.tensor([[-1.00, 0.35, 0.80, 2.00]], requires_grad=True)
    quantized = quantizer(x)
    assert quantized.tolist() == [[-0.25, 0.25, 0.75, 1.25]]
    parameters = [quantizer.learned.value, quantizer.offset]
    to_step, to_offset = torch.autograd.grad(quantized.sum(), parameters)
    scale = 1 / math.sqrt(4 * quantizer.grid.maximum)
    assert to_step.item() == pytest.approx(2.7 * scale, rel=1e-5)
    assert to_offset.item() == pytest.approx(2 * scale)
    w = torch.tensor([[1.0, 3.0]])  # mean 2, deviation 1: (2 + 3) / 2^3
    assert make_weights("lsq+", w).scale().item() == pytest.approx(5 / 8 * 8)


def test_interval_by_hand() -> None:
    """Center 2, radius 1: nothing below 1, everything above 3, and half at 2; slope 1 / 2."""
    x = torch.tensor([0.5, 1.5, 2.0, 3.5], requires_grad=True)
    center, radius = torch.tensor(2.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    inside = interval_transform(x, center, radius)
    assert inside.tolist() == [0, 0.25, 0.5, 1]
    to_x, to_center, to_radius = torch.autograd.grad(inside.sum(), [x, center, radius])
    assert to_x.tolist() == [0, 0.5, 0.5, 0]
    assert to_center.item() == -1
    assert to_radius.item() == 0.25  # -(x - c) / (2 d^2) at 1.5


def test_soft_staircase_by_hand() -> None:
    """DSQ with alpha = 0.2: s = 1.25, k = ln 9, and tanh(k / 2) = 0.8, so that pieces meet.

    The derivative of (phi + 1) / 2 in the middle is s * k / 2, at the ends that times 1 - 0.8^2.
    """
    ratio = torch.tensor([0.5, 1e-6, 1.8], dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    rounded = soft_staircase_round(ratio, alpha)
    assert rounded.tolist() == [0, 0, 2]
    (slopes,) = torch.autograd.grad(rounded.sum(), ratio, retain_graph=True)
    middle = 1.25 * math.log(9) / 2
    expected = [middle, middle * 0.36, middle * (1 - math.tanh(0.3 * math.log(9)) ** 2)]
    assert slopes.tolist() == pytest.approx(expected, rel=1e-5)
    (to_alpha,) = torch.autograd.grad(rounded[2], alpha)

    def soft(a: float) -> float:
        return (math.tanh(0.3 * math.log(2 / a - 1)) / (1 - a) + 1) / 2

    assert to_alpha.item() == pytest.approx((soft(0.2001) - soft(0.1999)) / 0.0002, rel=1e-5)


def test_distance_aware_rounding_by_hand() -> None:
    """DAQ a quarter above an integer: scores e^-1/4 and e^-3/4 * e^-1/4, gap 0.411; gamma, sigma 2.

    The share moves by sigmoid'(2) * (2 / 0.411) * (e^-1/4 + e^-1), stretched by 1 / tanh(1).
    In the middle, where both are equally far, the scores are e^-1/2 and e^-3/4.
    """
    ratio = torch.tensor([0.25, 0.75, 2.5], dtype=torch.float64, requires_grad=True)
    rounded = distance_aware_round(ratio, 2.0)
    assert rounded.tolist() == [0, 1, 2]
    (slopes,) = torch.autograd.grad(rounded.sum(), ratio)
    sigmoid = 1 / (1 + math.exp(-2))
    factor = sigmoid * (1 - sigmoid) * 2 / math.tanh(1)
    pairs = [(math.exp(-0.25), math.exp(-1))] * 2 + [(math.exp(-0.5), math.exp(-0.75))]
    expected = [factor * (near + far) / (near - far) for near, far in pairs]
    assert slopes.tolist() == pytest.approx(expected)
    assert expected[2] > 2 * expected[0]


def test_learned_basis_finds_the_basis_that_made_the_values() -> None:
    """Values made of the basis 1, 0.3 by +-: the best levels have no error."""
    signs = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])
    values = (signs @ torch.tensor([1.0, 0.3])).repeat(5)[None]
    basis = lq_net.LearnedBasis(bits=2, signed=True, groups=1)
    basis.start(values, torch.tensor(0.4))
    torch.testing.assert_close(basis.round(values), values)


def test_learned_basis_moves_a_tenth_of_the_way_in_training_only() -> None:
    quantizer = lq_net.LqNetActivationQuantizer(bits=2, signed=False)
    x = drawn(4, 4, 3, 3).relu()
    quantizer(x)
    before = quantizer.basis.basis.clone()
    target = quantizer.basis._fitted(2 * x.reshape(1, -1))
    quantizer(2 * x)
    torch.testing.assert_close(quantizer.basis.basis, 0.9 * before + 0.1 * target)
    quantizer.eval()
    after = quantizer.basis.basis.clone()
    quantizer(3 * x)
    assert torch.equal(quantizer.basis.basis, after)
    assert quantizer(torch.zeros(1, 4, 1, 1)).abs().max() == 0


def test_asq_is_the_one_with_an_adapter() -> None:
    made = make_activations("asq")
    assert isinstance(made.adapter, Adapter)
    assert made.adapter.output.weight.requires_grad


def test_constant_beta_by_hand() -> None:
    """Eq. 7-9 with s = 1/2 and beta = 2, so steps of 1, codes 0..3; 4 values of each sample.

    x           0.4  1.25  2.75  7.0
    code        0    1     3     3
    d/dstep    -0.4 -0.25  0.25  3        their sum, 2.6, times beta to s, times s to beta

    LSQ's 1 / sqrt(N * Qp), with N = 4 and Qp = 3, multiplies the gradient of s alone.
    """
    quantizer = make_activations("asq-constant", bits=2)
    x = torch.tensor([[0.4, 1.25, 2.75, 7.0]])
    quantizer(x)
    nn.init.constant_(quantizer.learned.value, 0.5)
    nn.init.constant_(quantizer.beta.value, 2.0)
    quantized = quantizer(x)
    assert quantized.tolist() == [[0, 1, 3, 3]]
    assert quantizer.step().item() == 1
    parameters = [quantizer.learned.value, quantizer.beta.value]
    to_step, to_beta = torch.autograd.grad(quantized.sum(), parameters)
    assert to_step.item() == pytest.approx(2.6 * 2 / math.sqrt(12), rel=1e-6)
    assert to_beta.item() == pytest.approx(2.6 * 0.5, rel=1e-6)
    assert list(quantizer.factor_parameters()) == [quantizer.beta.value]


def test_constant_beta_learns_as_an_adapter_whose_weights_stay_zero() -> None:
    """Three steps of SGD: the same steps, s and beta, as ASQ with its last bias alone."""
    control, adaptive = make_activations("asq-constant"), make_activations("asq")
    assert adaptive.adapter is not None
    nn.init.zeros_(adaptive.adapter.output.weight)
    adaptive.adapter.output.weight.requires_grad_(False)
    made = []
    for quantizer in (control, adaptive):
        torch.manual_seed(0)
        quantizer(drawn(8, 4, 5, 5))
        optimizer = torch.optim.SGD(
            [value for value in quantizer.parameters() if value.requires_grad], lr=0.003
        )
        for step in range(3):
            optimizer.zero_grad()
            x = drawn(8, 4, 5, 5, seed=step)
            (quantizer(x) - x).square().sum().backward()
            optimizer.step()
        made.append(quantizer(drawn(8, 4, 5, 5, seed=9)).detach())
    torch.testing.assert_close(*made)
    assert control.beta.value.item() == pytest.approx(adaptive.adapter.output.bias.item())
    assert abs(control.beta.value.item() - 1) > 0.01


def test_parameters_keep_the_names_that_checkpoints_hold() -> None:
    weights = QilWeightQuantizer(Grid(scheme=UNIFORM, bits=4), drawn(18), per_channel=False)
    learned = {f"{name}.{part}" for name in ("centre", "radius") for part in ("value", "floor")}
    assert set(weights.state_dict()) == learned | {"gamma.value", "gamma.floor"}
    activations = QilActivationQuantizer(bits=4, signed=False)
    assert set(activations.state_dict()) == learned | {"is_initialised"}
