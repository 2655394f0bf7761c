"""Small networks, each written in a way that people write networks in."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as those do whose networks these are
from torch.nn.utils import prune

__all__ = ["CONSTRUCTS", "REFUSED", "Forward", "Net"]

Forward = Callable[[Any, Tensor], Any]
CLASSES = 5


class Net(nn.Module):
    """A network of given modules with a given forward."""

    def __init__(self, forward: Forward, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self._forward = forward

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def head(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


def conv(inputs: int = 4, outputs: int = 4, kernel: int = 3, **options: Any) -> nn.Conv2d:
    options.setdefault("padding", kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, **options)


def ghost(self: Any, x: Tensor) -> Tensor:
    """Half of the channels pass a layer, and all are shuffled: a block of ShuffleNet V2."""
    left, right = x.chunk(2, dim=1)
    return F.channel_shuffle(torch.cat((left, torch.relu(self.c(right))), 1), 2)


def shuffled(self: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.size()
    x = torch.transpose(x.view(n, 2, c // 2, h, w), 1, 2).contiguous()
    return self.c(x.view(n, -1, h, w))


def body(forward: Forward, **modules: nn.Module) -> Net:
    """A network whose middle is given: ``forward(self, maps)`` after a first convolution."""

    def whole(self: Any, x: Tensor) -> Any:
        return self.head(forward(self, torch.relu(self.stem(x))))

    return Net(whole, stem=conv(3, 4), head=head(), **modules)


def after(forward: Forward, **modules: nn.Module) -> Net:
    """A network whose end is given: ``forward(self, maps)`` on 4 maps of 8 x 8."""

    def whole(self: Any, x: Tensor) -> Any:
        return forward(self, torch.relu(self.stem(x)))

    return Net(whole, stem=conv(3, 4), **modules)


class OwnConv(nn.Conv2d):
    """A subclass that changes nothing."""


class ScaledConv(nn.Conv2d):
    """A subclass that computes its weights."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight / self.weight.abs().max()
        return F.conv2d(input, weight, self.bias, self.stride, self.padding, groups=self.groups)


class StandardizedConv(nn.Conv2d):
    """Weight standardization."""

    def forward(self, input: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        std = self.weight.std((1, 2, 3), keepdim=True) + 1e-5
        return self._conv_forward(input, (self.weight - mean) / std, self.bias)


class FunctionalConv(nn.Module):
    """Parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1)


class FrozenBatchNorm(nn.Module):
    """As detection networks write it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 0.5)
        for name in ("bias", "running_mean"):
            self.register_buffer(name, torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.reshape(1, -1, 1, 1), self.bias.reshape(1, -1, 1, 1)
        scale = weight * (self.running_var.reshape(1, -1, 1, 1) + 1e-5).rsqrt()
        return x * scale + (bias - self.running_mean.reshape(1, -1, 1, 1) * scale)


class BatchNormAct(nn.BatchNorm2d):
    """Norm and activation in one, as timm writes it."""

    def forward(self, input: Tensor) -> Tensor:
        made = F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps
        )
        return F.relu(made, inplace=True)


class LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(4, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class DropPath(nn.Module):
    """Stochastic depth."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.bernoulli(torch.full((len(x), 1, 1, 1), 0.9)) / 0.9


class Counting(nn.Module):
    """A buffer that is written in every call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


class Block(nn.Module):
    """A residual block with a shortcut that is a module or not there."""

    def __init__(self, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = conv(bias=False), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.shortcut is None else self.shortcut(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


def hooked() -> nn.Module:
    net = body(lambda self, x: self.conv(x), conv=conv())
    net.conv.register_forward_hook(lambda module, inputs, output: output * 2)
    return net


def shared_module() -> nn.Module:
    relu = nn.ReLU()
    return body(lambda self, x: self.b(self.conv(self.a(x))), a=relu, b=relu, conv=conv())


def tied_weights() -> nn.Module:
    net = body(lambda self, x: self.b(self.a(x)), a=conv(), b=conv())
    net.b.weight = net.a.weight
    return net


def pruned() -> nn.Module:
    net = body(lambda self, x: self.conv(x), conv=conv())
    prune.l1_unstructured(net.conv, "weight", 0.5)
    return net


def norm_of_input() -> nn.Module:
    net = Net(
        lambda self, x: self.head(self.stem((x - self.mean) / self.std)),
        stem=conv(3, 4),
        head=head(),
    )
    net.register_buffer("mean", torch.rand(1, 3, 1, 1))
    net.register_buffer("std", torch.rand(1, 3, 1, 1) + 0.5)
    return net


def slot(x: Tensor, function: Callable[[Tensor], Any]) -> Tensor:
    """Call for the sake of its side effect."""
    function(x)
    return x


CONSTRUCTS: dict[str, Callable[[], nn.Module]] = {
    # Rectifiers
    "nn.ReLU": lambda: body(lambda self, x: self.r(self.c(x)), c=conv(), r=nn.ReLU()),
    "nn.ReLU(inplace)": lambda: body(lambda self, x: self.r(self.c(x)), c=conv(), r=nn.ReLU(True)),
    "nn.ReLU6": lambda: body(lambda self, x: self.r(self.c(x)), c=conv(), r=nn.ReLU6()),
    "F.relu": lambda: body(lambda self, x: F.relu(self.c(x)), c=conv()),
    "F.relu(inplace)": lambda: body(lambda self, x: F.relu(self.c(x), inplace=True), c=conv()),
    "F.relu_": lambda: body(lambda self, x: F.relu_(self.c(x)), c=conv()),
    "torch.relu": lambda: body(lambda self, x: torch.relu(self.c(x)), c=conv()),
    "x.relu()": lambda: body(lambda self, x: self.c(x).relu(), c=conv()),
    "x.relu_()": lambda: body(lambda self, x: self.c(x).relu_(), c=conv()),
    "F.relu6": lambda: body(lambda self, x: F.relu6(self.c(x)), c=conv()),
    "F.hardtanh": lambda: body(lambda self, x: F.hardtanh(self.c(x), 0.0, 4.0), c=conv()),
    "nn.Hardtanh": lambda: body(lambda self, x: self.h(self.c(x)), c=conv(), h=nn.Hardtanh(0, 3)),
    "clamp(min)": lambda: body(lambda self, x: self.c(x).clamp(min=0), c=conv()),
    "clamp(0, 6)": lambda: body(lambda self, x: torch.clamp(self.c(x), 0, 6), c=conv()),
    "clamp_(0)": lambda: body(lambda self, x: self.c(x).clamp_(0), c=conv()),
    "clamp_min": lambda: body(lambda self, x: self.c(x).clamp_min(0), c=conv()),
    "clip": lambda: body(lambda self, x: torch.clip(self.c(x), 0, 2), c=conv()),
    "clamp(max) of positives": lambda: body(lambda self, x: self.c(x.clamp(max=1.0)), c=conv()),
    "threshold": lambda: body(lambda self, x: F.threshold(self.c(x), 0.0, 0.0), c=conv()),
    "maximum with zeros": lambda: body(
        lambda self, x: torch.maximum(self.c(x), torch.zeros(1)), c=conv()
    ),
    "relu twice": lambda: body(lambda self, x: F.relu(F.relu(self.c(x))), c=conv()),
    # Convolutions
    "no bias": lambda: body(lambda self, x: self.c(x), c=conv(bias=False)),
    "stride 2": lambda: body(lambda self, x: self.c(x), c=conv(stride=2)),
    "1 x 3": lambda: body(
        lambda self, x: self.c(x), c=nn.Conv2d(4, 4, (1, 3), stride=(1, 2), padding=(0, 1))
    ),
    "depthwise": lambda: body(lambda self, x: self.c(x), c=conv(groups=4)),
    "grouped": lambda: body(lambda self, x: self.c(x), c=conv(groups=2)),
    "padding=same of what was a vector": lambda: after(
        lambda self, x: self.c(self.f(x.mean((2, 3)))[:, :, None, None]).flatten(1),
        c=conv(4, 5, padding="same"),
        f=nn.Linear(4, 4),
    ),
    "padding=same": lambda: body(lambda self, x: self.c(x), c=conv(padding="same")),
    "padding=valid": lambda: body(lambda self, x: self.c(x), c=conv(padding="valid")),
    "own subclass": lambda: body(lambda self, x: self.c(x), c=OwnConv(4, 4, 3)),
    "computed weights": lambda: body(lambda self, x: self.c(x), c=ScaledConv(4, 4, 3)),
    "weight standardization": lambda: body(lambda self, x: self.c(x), c=StandardizedConv(4, 4, 3)),
    "F.conv2d": lambda: body(lambda self, x: self.c(x), c=FunctionalConv()),
    "F.pad before": lambda: body(lambda self, x: self.c(F.pad(x, (1, 1, 1, 1))), c=conv(padding=0)),
    "nn.ZeroPad2d": lambda: body(
        lambda self, x: self.c(self.p(x)), p=nn.ZeroPad2d(1), c=conv(padding=0)
    ),
    "nn.ConstantPad2d(0)": lambda: body(
        lambda self, x: self.c(self.p(x)), p=nn.ConstantPad2d(2, 0.0), c=conv()
    ),
    # Functions of single values
    "nn.Hardswish": lambda: body(lambda self, x: self.a(self.c(x)), a=nn.Hardswish(), c=conv()),
    "F.hardswish": lambda: body(lambda self, x: F.hardswish(self.c(x)), c=conv()),
    "hard swish by hand": lambda: body(
        lambda self, x: (lambda y: y * F.relu6(y + 3) / 6)(self.c(x)), c=conv()
    ),
    "F.hardsigmoid": lambda: body(lambda self, x: F.hardsigmoid(self.c(x)), c=conv()),
    "hard sigmoid by hand": lambda: body(lambda self, x: F.relu6(self.c(x) + 3.0) / 6.0, c=conv()),
    "nn.SiLU(inplace)": lambda: body(
        lambda self, x: self.a(self.c(x)), a=nn.SiLU(inplace=True), c=conv()
    ),
    "x * sigmoid(x)": lambda: body(
        lambda self, x: (lambda y: y * torch.sigmoid(y))(self.c(x)), c=conv()
    ),
    "x.mul_(x.sigmoid())": lambda: body(
        lambda self, x: (lambda y: y.mul_(y.sigmoid()))(self.c(x)), c=conv()
    ),
    "x * sigmoid(other)": lambda: body(lambda self, x: self.c(x) * torch.sigmoid(x), c=conv()),
    "GELU": lambda: body(lambda self, x: F.gelu(self.c(x)), c=conv()),
    "GELU by tanh": lambda: body(lambda self, x: F.gelu(self.c(x), approximate="tanh"), c=conv()),
    "ELU": lambda: body(lambda self, x: F.elu(self.c(x), 0.7), c=conv()),
    "CELU": lambda: body(lambda self, x: F.celu(self.c(x), 1.3), c=conv()),
    "SELU": lambda: body(lambda self, x: F.selu(self.c(x)), c=conv()),
    "mish": lambda: body(lambda self, x: F.mish(self.c(x)), c=conv()),
    "softplus": lambda: body(lambda self, x: F.softplus(self.c(x), 2.0), c=conv()),
    "log sigmoid": lambda: body(lambda self, x: F.logsigmoid(self.c(x)), c=conv()),
    "tanh": lambda: body(lambda self, x: torch.tanh(self.c(x)), c=conv()),
    "sigmoid inside": lambda: body(lambda self, x: self.d(self.c(x).sigmoid()), c=conv(), d=conv()),
    "leaky ReLU": lambda: body(lambda self, x: F.leaky_relu_(self.c(x), 0.2), c=conv()),
    "PReLU": lambda: body(lambda self, x: self.p(self.c(x)), c=conv(), p=nn.PReLU()),
    "PReLU of channels": lambda: body(
        lambda self, x: F.prelu(self.c(x), torch.tensor([0.1, -0.5, 1.0, 0.3])), c=conv()
    ),
    "PReLU of a vector": lambda: after(
        lambda self, x: self.g(self.p(self.f(x.mean((2, 3))))),
        f=nn.Linear(4, 6),
        g=nn.Linear(6, 5),
        p=nn.PReLU(6),
    ),
    "GELU of a reshaped map": lambda: after(
        lambda self, x: self.f(F.gelu(x.flatten(1))), f=nn.Linear(256, 5)
    ),
    "clamp to -1": lambda: body(lambda self, x: self.c(x).clamp(-1, 1), c=conv()),
    "hard tanh": lambda: body(lambda self, x: self.a(self.c(x)), a=nn.Hardtanh(), c=conv()),
    "clamp from 0.2": lambda: body(lambda self, x: self.c(x).clamp(min=0.2), c=conv()),
    "clamp to 0.3": lambda: body(lambda self, x: self.c(x).clamp(max=0.3), c=conv()),
    "abs": lambda: body(lambda self, x: self.d(self.c(x).abs()), c=conv(), d=conv()),
    # Products and differences
    "product of maps": lambda: body(lambda self, x: self.c(x) * x, c=conv()),
    "product of vectors": lambda: after(
        lambda self, x: self.f(x.mean((2, 3)) * x.amax((2, 3))), f=nn.Linear(4, 5)
    ),
    "square": lambda: body(lambda self, x: self.c(x) ** 2, c=conv()),
    "torch.square": lambda: body(lambda self, x: torch.square(self.c(x)), c=conv()),
    "x * x": lambda: body(lambda self, x: (lambda y: y * y)(self.c(x)), c=conv()),
    "squeeze and excitation": lambda: body(
        lambda self, x: x * torch.relu(self.c(x.mean((2, 3), keepdim=True))), c=conv()
    ),
    "squeeze and excitation by vectors": lambda: body(
        lambda self, x: x * self.g(F.relu(self.f(x.mean((2, 3))))).sigmoid()[..., None, None],
        f=nn.Linear(4, 2),
        g=nn.Linear(2, 4),
    ),
    "gates of channels first": lambda: body(
        lambda self, x: F.hardsigmoid(self.c(x.mean((2, 3), True))).mul(self.d(x)),
        c=conv(),
        d=conv(),
    ),
    "gates of places": lambda: body(lambda self, x: x * self.c(x).sigmoid(), c=conv(4, 1)),
    "x *= gate": lambda: body(
        lambda self, x: operator.imul(self.d(x), self.c(x).sigmoid()), c=conv(), d=conv()
    ),
    "difference of maps": lambda: body(lambda self, x: self.c(x) - x, c=conv()),
    "difference with alpha": lambda: body(
        lambda self, x: torch.sub(x, self.c(x), alpha=0.5), c=conv()
    ),
    "sum with alpha": lambda: body(lambda self, x: torch.add(x, self.c(x), alpha=0.5), c=conv()),
    # Dilation
    "dilation": lambda: body(lambda self, x: self.c(x), c=conv(dilation=2)),
    "dilated rows, depthwise": lambda: body(
        lambda self, x: self.c(x), c=conv(dilation=(3, 1), groups=4, stride=2)
    ),
    "dilation, padding=same": lambda: body(
        lambda self, x: self.c(x), c=conv(dilation=(1, 2), padding="same", groups=2)
    ),
    # Maps that move
    "cat": lambda: after(
        lambda self, x: self.f(torch.cat([x, self.c(x)], 1)).mean((2, 3)),
        c=conv(),
        f=nn.Conv2d(8, 5, 1),
    ),
    "cat of three, one twice": lambda: after(
        lambda self, x: self.f(torch.concat((self.c(x), x, self.c(x)), dim=-3)).mean((2, 3)),
        c=conv(),
        f=nn.Conv2d(12, 5, 3),
    ),
    "cat of vectors": lambda: after(
        lambda self, x: self.f(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)), f=nn.Linear(8, 5)
    ),
    "sum of two poolings": lambda: after(lambda self, x: x.mean((2, 3)) + x.amax((2, 3))),
    "cat with zeros": lambda: body(
        lambda self, x: self.c(x) + torch.cat([torch.zeros(len(x), 1, 8, 8), self.d(x)], 1),
        c=conv(),
        d=nn.Conv2d(4, 3, 1),
    ),
    "asymmetric padding": lambda: body(
        lambda self, x: self.c(F.pad(x, (0, 1, 0, 1))), c=conv(padding=0)
    ),
    "padding=same of an even kernel": lambda: body(
        lambda self, x: self.c(x), c=conv(kernel=4, padding="same")
    ),
    "zeros, then relu": lambda: body(
        lambda self, x: self.c(F.relu(F.pad(x, (2, 0, 1, 1)))), c=conv()
    ),
    "zeros, then mean": lambda: after(
        lambda self, x: self.f(F.pad(self.c(x), (0, 3, 0, 0)).mean((2, 3))),
        c=conv(),
        f=nn.Linear(4, 5),
    ),
    "zeros, then max pooling of signed": lambda: body(
        lambda self, x: F.max_pool2d(F.pad(self.c(x), (0, 1, 0, 1)), 3, 2), c=conv()
    ),
    "zeros, then average pooling": lambda: body(
        lambda self, x: F.avg_pool2d(F.pad(self.c(x), (1, 2, 1, 2)), 3, 2), c=conv()
    ),
    "zeros on channels": lambda: body(
        lambda self, x: self.c(x) + F.pad(self.d(x), (0, 0, 0, 0, 1, 1)),
        c=conv(),
        d=nn.Conv2d(4, 2, 1),
    ),
    "strided slice": lambda: body(lambda self, x: self.c(x[:, :, ::2, ::2]), c=conv()),
    "strided rows": lambda: body(lambda self, x: self.c(x[:, :, ::3]), c=conv()),
    "slice of rows": lambda: body(lambda self, x: self.c(x[:, :, 2:, :]), c=conv()),
    "odd rows": lambda: body(lambda self, x: self.c(x[:, :, 1::2, ::2]), c=conv()),
    "crop": lambda: body(lambda self, x: self.c(x[..., 1:-1, 2:7]), c=conv()),
    "padding that cuts": lambda: body(lambda self, x: self.c(F.pad(x, (0, -1, -2, 0))), c=conv()),
    "slice of channels": lambda: after(
        lambda self, x: self.c(x[:, 1:3]).mean((2, 3)), c=nn.Conv2d(2, 5, 3)
    ),
    "halves": lambda: body(ghost, c=conv(2, 2)),
    "split": lambda: after(
        lambda self, x: self.c(torch.split(x, [3, 1], 1)[0]).mean((2, 3)), c=nn.Conv2d(3, 5, 3)
    ),
    "unbind": lambda: after(
        lambda self, x: self.c(torch.cat([p[:, None] for p in x.unbind(1)[1:]], 1)).mean((2, 3)),
        c=nn.Conv2d(3, 5, 3),
    ),
    "channel shuffle": lambda: body(shuffled, c=conv(groups=2)),
    "nn.ChannelShuffle": lambda: body(
        lambda self, x: self.c(self.s(x)), s=nn.ChannelShuffle(2), c=conv(groups=2)
    ),
    "listed channels": lambda: body(lambda self, x: self.c(x[:, [2, 0, 0, 3]]), c=conv()),
    "channels backwards": lambda: body(lambda self, x: self.c(x.flip(1)), c=conv()),
    "index_select": lambda: body(
        lambda self, x: self.c(torch.index_select(x, 1, torch.tensor([3, 1, 1, 0]))), c=conv()
    ),
    "part of a vector": lambda: after(
        lambda self, x: self.f(x.mean((2, 3))[:, 1:]), f=nn.Linear(3, 5)
    ),
    "rows and columns exchanged and back": lambda: body(
        lambda self, x: self.c(x.transpose(2, 3).contiguous().mT), c=conv()
    ),
    "flattened crop": lambda: after(
        lambda self, x: self.f(x[:, :3, 1:3].flatten(1)), f=nn.Linear(48, 5)
    ),
    "one row": lambda: after(lambda self, x: self.f(x[:, :, 3].flatten(1)), f=nn.Linear(32, 5)),
    "ceil mode": lambda: body(lambda self, x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
    "ceil mode with padding": lambda: body(
        lambda self, x: F.max_pool2d(x, 2, 3, padding=1, ceil_mode=True)
    ),
    "shortcut of option A": lambda: after(
        lambda self, x: (self.c(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))).mean((2, 3)),
        c=nn.Conv2d(4, 8, 3, stride=2, padding=1),
    ),
    "weight norm": lambda: body(
        lambda self, x: self.c(x), c=nn.utils.parametrizations.weight_norm(conv())
    ),
    "old weight norm": lambda: body(lambda self, x: self.c(x), c=nn.utils.weight_norm(conv())),
    "spectral norm": lambda: body(
        lambda self, x: self.c(x), c=nn.utils.parametrizations.spectral_norm(conv())
    ),
    "pruned": pruned,
    "used twice": lambda: body(lambda self, x: self.c(F.relu(self.c(x))), c=conv()),
    "tied weights": tied_weights,
    "forward hook": hooked,
    "a shared ReLU": shared_module,
    # Batch norm
    "batch norm": lambda: body(lambda self, x: self.b(self.c(x)), c=conv(), b=nn.BatchNorm2d(4)),
    "no affine": lambda: body(
        lambda self, x: self.b(self.c(x)), c=conv(), b=nn.BatchNorm2d(4, affine=False)
    ),
    "momentum=None": lambda: body(
        lambda self, x: self.b(self.c(x)), c=conv(), b=nn.BatchNorm2d(4, momentum=None)
    ),
    "eps": lambda: body(lambda self, x: self.b(self.c(x)), c=conv(), b=nn.BatchNorm2d(4, eps=0.1)),
    "untracked": lambda: body(
        lambda self, x: self.b(self.c(x)), c=conv(), b=nn.BatchNorm2d(4, track_running_stats=False)
    ),
    "SyncBatchNorm": lambda: body(
        lambda self, x: self.b(self.c(x)), c=conv(), b=nn.SyncBatchNorm(4)
    ),
    "FrozenBatchNorm": lambda: body(
        lambda self, x: self.b(self.c(x)), c=conv(), b=FrozenBatchNorm(4)
    ),
    "BatchNormAct": lambda: body(lambda self, x: self.b(self.c(x)), c=conv(), b=BatchNormAct(4)),
    "F.batch_norm": lambda: body(
        lambda self, x: F.batch_norm(self.c(x), torch.zeros(4), torch.ones(4) * 2), c=conv()
    ),
    "batch norm twice": lambda: body(
        lambda self, x: self.d(self.b(self.c(x))),
        c=conv(),
        b=nn.BatchNorm2d(4),
        d=nn.BatchNorm2d(4),
    ),
    "before a convolution": lambda: body(
        lambda self, x: self.c(self.b(x)), c=conv(), b=nn.BatchNorm2d(4)
    ),
    "before activation": lambda: body(
        lambda self, x: x + self.c(F.relu(self.b(x))), c=conv(), b=nn.BatchNorm2d(4)
    ),
    "first of all": lambda: Net(
        lambda self, x: self.h(self.c(self.b(x))), b=nn.BatchNorm2d(3), c=conv(3), h=head()
    ),
    "behind linear": lambda: after(
        lambda self, x: self.g(F.relu(self.b(self.f(x.flatten(1))))),
        f=nn.Linear(256, 8),
        b=nn.BatchNorm1d(8),
        g=nn.Linear(8, CLASSES),
    ),
    "of a sum": lambda: body(lambda self, x: self.b(self.c(x) + x), c=conv(), b=nn.BatchNorm2d(4)),
    "of a convolution read twice": lambda: body(
        lambda self, x: (lambda y: self.b(y) + y)(self.c(x)), c=conv(), b=nn.BatchNorm2d(4)
    ),
    # Constants
    "x * 0.5": lambda: body(lambda self, x: self.c(x) * 0.5, c=conv()),
    "0.5 * x": lambda: body(lambda self, x: 0.5 * self.c(x), c=conv()),
    "x / 3": lambda: body(lambda self, x: self.c(x) / 3, c=conv()),
    "x + 1": lambda: body(lambda self, x: self.c(x) + 1, c=conv()),
    "1 - x": lambda: body(lambda self, x: 1 - self.c(x), c=conv()),
    "x - 1": lambda: body(lambda self, x: self.c(x) - 1, c=conv()),
    "-x": lambda: body(lambda self, x: -self.c(x), c=conv()),
    "relu * 0.5": lambda: body(lambda self, x: self.c(F.relu(x) * 0.5), c=conv()),
    "LayerScale": lambda: body(lambda self, x: x + self.s(self.c(x)), c=conv(), s=LayerScale()),
    "x * 1": lambda: body(lambda self, x: self.c(x * 1.0 + 0.0), c=conv()),
    "input normalized inside": norm_of_input,
    "pixels scaled inside": lambda: Net(
        lambda self, x: self.h(self.c(2 * x - 1)), c=conv(3), h=head()
    ),
    "half a shortcut": lambda: body(lambda self, x: x + 0.5 * self.c(x), c=conv()),
    # Sums
    "x + y": lambda: body(lambda self, x: x + self.c(x), c=conv()),
    "torch.add": lambda: body(lambda self, x: torch.add(x, self.c(x)), c=conv()),
    "x.add": lambda: body(lambda self, x: x.add(self.c(x)), c=conv()),
    "x.add_": lambda: body(lambda self, x: self.c(x).add_(x), c=conv()),
    "+=": lambda: body(lambda self, x: operator.iadd(self.c(x), x), c=conv()),
    "operator.add": lambda: body(lambda self, x: operator.add(self.c(x), x), c=conv()),
    "x + x": lambda: body(lambda self, x: self.c(x + x), c=conv()),
    "three terms": lambda: body(lambda self, x: x + self.c(x) + self.d(x), c=conv(), d=conv()),
    "sum of a list": lambda: body(lambda self, x: sum([x, self.c(x)]), c=conv()),
    "FloatFunctional": lambda: body(
        lambda self, x: self.q.add(x, self.c(x)), c=conv(), q=nn.quantized.FloatFunctional()
    ),
    "add_relu": lambda: body(
        lambda self, x: self.q.add_relu(x, self.c(x)), c=conv(), q=nn.quantized.FloatFunctional()
    ),
    "residual block": lambda: body(lambda self, x: self.b(x), b=Block()),
    "shortcut convolution": lambda: body(
        lambda self, x: self.b(x), b=Block(nn.Sequential(conv(kernel=1), nn.BatchNorm2d(4)))
    ),
    "identity shortcut": lambda: body(lambda self, x: self.b(x), b=Block(nn.Identity())),
    "empty shortcut": lambda: body(lambda self, x: self.b(x), b=Block(nn.Sequential())),
    "in place under another name": lambda: body(
        lambda self, x: (lambda y: self.c(x) + y)(x.mul_(2)), c=conv()
    ),
    # Pooling
    "nn.MaxPool2d": lambda: body(lambda self, x: self.p(x), p=nn.MaxPool2d(2)),
    "F.max_pool2d": lambda: body(lambda self, x: F.max_pool2d(self.c(x), 3, 2, 1), c=conv()),
    "torch.max_pool2d": lambda: body(lambda self, x: torch.max_pool2d(x, 2)),
    "ceil mode that changes nothing": lambda: body(
        lambda self, x: self.p(x), p=nn.MaxPool2d(2, ceil_mode=True)
    ),
    "zeros, then pooling": lambda: body(lambda self, x: F.max_pool2d(F.pad(x, [1] * 4), 3, 2)),
    "indices that nobody reads": lambda: body(
        lambda self, x: F.max_pool2d(x, 2, return_indices=True)[0]
    ),
    "nn.AvgPool2d": lambda: body(lambda self, x: self.p(self.c(x)), c=conv(), p=nn.AvgPool2d(2)),
    "F.avg_pool2d": lambda: body(lambda self, x: F.avg_pool2d(x, 3, 1, 1)),
    "avg_pool2d of the whole": lambda: after(
        lambda self, x: self.f(F.avg_pool2d(x, 8).flatten(1)), f=nn.Linear(4, CLASSES)
    ),
    "avg_pool2d by size": lambda: after(
        lambda self, x: self.f(F.avg_pool2d(x, x.size()[2:]).squeeze(-1).squeeze(-1)),
        f=nn.Linear(4, CLASSES),
    ),
    "adaptive to 1": lambda: after(
        lambda self, x: self.f(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)),
        f=nn.Linear(4, CLASSES),
    ),
    "adaptive to (1, 1)": lambda: after(
        lambda self, x: self.f(F.adaptive_avg_pool2d(x, (1, 1))[:, :, 0, 0]),
        f=nn.Linear(4, CLASSES),
    ),
    "adaptive to 2": lambda: after(
        lambda self, x: self.f(F.adaptive_avg_pool2d(x, 2).flatten(1)), f=nn.Linear(16, CLASSES)
    ),
    "adaptive to its own size": lambda: after(
        lambda self, x: self.f(F.adaptive_avg_pool2d(x, 8).flatten(1)), f=nn.Linear(256, CLASSES)
    ),
    "adaptive maximum": lambda: after(
        lambda self, x: self.f(F.adaptive_max_pool2d(x, 1).flatten(1)), f=nn.Linear(4, CLASSES)
    ),
    "mean([2, 3])": lambda: after(lambda self, x: self.f(x.mean([2, 3])), f=nn.Linear(4, CLASSES)),
    "mean((-2, -1))": lambda: after(
        lambda self, x: self.f(x.mean((-2, -1))), f=nn.Linear(4, CLASSES)
    ),
    "mean with keepdim": lambda: after(
        lambda self, x: self.f(x.mean((2, 3), keepdim=True).flatten(1)), f=nn.Linear(4, CLASSES)
    ),
    "amax": lambda: after(lambda self, x: self.f(x.amax((2, 3))), f=nn.Linear(4, CLASSES)),
    "mean of a flat map": lambda: after(
        lambda self, x: self.f(x.flatten(2).mean(2)), f=nn.Linear(4, CLASSES)
    ),
    # Shapes
    "nn.Flatten": lambda: after(
        lambda self, x: self.f(self.l(x)), l=nn.Flatten(), f=nn.Linear(256, 5)
    ),
    "torch.flatten(1)": lambda: after(
        lambda self, x: self.f(torch.flatten(x, 1)), f=nn.Linear(256, 5)
    ),
    "x.view(x.size(0), -1)": lambda: after(
        lambda self, x: self.f(x.view(x.size(0), -1)), f=nn.Linear(256, 5)
    ),
    "x.view(-1, 256)": lambda: after(lambda self, x: self.f(x.view(-1, 256)), f=nn.Linear(256, 5)),
    "x.reshape(x.shape[0], -1)": lambda: after(
        lambda self, x: self.f(x.reshape(x.shape[0], -1)), f=nn.Linear(256, 5)
    ),
    "x.reshape(len(x), -1)": lambda: after(
        lambda self, x: self.f(x.reshape(len(x), -1)), f=nn.Linear(256, 5)
    ),
    "squeeze": lambda: after(
        lambda self, x: self.f(F.adaptive_avg_pool2d(x, 1).squeeze()), f=nn.Linear(4, 5)
    ),
    "squeeze(3).squeeze(2)": lambda: after(
        lambda self, x: self.f(F.adaptive_avg_pool2d(x, 1).squeeze(3).squeeze(2)), f=nn.Linear(4, 5)
    ),
    "1 x 1 convolution as classifier": lambda: after(
        lambda self, x: self.f(F.adaptive_avg_pool2d(x, 1)).flatten(1), f=nn.Conv2d(4, 5, 1)
    ),
    "classifier before pooling": lambda: after(
        lambda self, x: self.f(x).mean((2, 3)), f=nn.Conv2d(4, 5, 1)
    ),
    "unflatten and flatten": lambda: after(
        lambda self, x: self.f(x.flatten(1).view(-1, 4, 8, 8)).mean((2, 3)), f=nn.Conv2d(4, 5, 1)
    ),
    "vector as map": lambda: after(
        lambda self, x: self.f(self.a(x.flatten(1))[:, :, None, None]).flatten(1),
        a=nn.Linear(256, 4),
        f=nn.Conv2d(4, 5, 1),
    ),
    "permuted there and back": lambda: body(
        lambda self, x: self.c(x.permute(0, 1, 2, 3).contiguous()), c=conv()
    ),
    "relu behind flatten": lambda: after(
        lambda self, x: self.f(F.relu(self.c(x).flatten(1))), c=conv(), f=nn.Linear(256, 5)
    ),
    "matmul with a parameter": lambda: after(
        lambda self, x: x.flatten(1) @ self.f.weight.t(), f=nn.Linear(256, 5)
    ),
    "torch.addmm": lambda: after(
        lambda self, x: torch.addmm(self.f.bias, x.flatten(1), self.f.weight.t()),
        f=nn.Linear(256, 5),
    ),
    # What training has and inference has not
    "nn.Dropout": lambda: body(lambda self, x: self.c(self.d(x)), c=conv(), d=nn.Dropout(0.5)),
    "nn.Dropout2d": lambda: body(lambda self, x: self.c(self.d(x)), c=conv(), d=nn.Dropout2d(0.5)),
    "nn.AlphaDropout": lambda: body(
        lambda self, x: self.c(self.d(x)), c=conv(), d=nn.AlphaDropout()
    ),
    "F.dropout": lambda: body(lambda self, x: self.c(F.dropout(x, 0.5, self.training)), c=conv()),
    "DropPath": lambda: body(lambda self, x: x + self.d(self.c(x)), c=conv(), d=DropPath()),
    "nn.Identity": lambda: body(lambda self, x: self.c(self.i(x)), c=conv(), i=nn.Identity()),
    "a counter": lambda: body(lambda self, x: self.c(self.n(x)), c=conv(), n=Counting()),
    "dead code": lambda: body(lambda self, x: slot(self.c(x), self.d), c=conv(), d=conv()),
    "a module that nobody calls": lambda: body(lambda self, x: self.c(x), c=conv(), d=conv()),
    "auxiliary head in training": lambda: body(
        lambda self, x: self.c(x) if not self.training else (self.c(x), self.d(x)),
        c=conv(),
        d=conv(),
    ),
    "detach, clone, contiguous": lambda: body(
        lambda self, x: self.c(x.detach().clone().contiguous()), c=conv()
    ),
    # Names and containers
    "numbers as names": lambda: nn.Sequential(conv(3, 4), nn.ReLU(), head()),
    "nested Sequential": lambda: nn.Sequential(nn.Sequential(conv(3, 4), nn.ReLU()), head()),
    "OrderedDict": lambda: nn.Sequential(OrderedDict(first=conv(3, 4), act=nn.ReLU(), head=head())),
    "ModuleList": lambda: body(
        lambda self, x: self.l[1](F.relu(self.l[0](x))), l=nn.ModuleList([conv(), conv()])
    ),
    "ModuleDict with odd keys": lambda: body(
        lambda self, x: self.d["1x1 conv-a"](x), d=nn.ModuleDict({"1x1 conv-a": conv()})
    ),
    "long names": lambda: body(lambda self, x: getattr(self, "n" * 90)(x), **{"n" * 90: conv()}),
    "module called relu": lambda: body(lambda self, x: self.relu(x), relu=conv()),
    "branch on a shape": lambda: body(
        lambda self, x: self.c(x) if x.shape[1] == 4 else self.d(x), c=conv(), d=conv(8)
    ),
    "loop": lambda: body(
        lambda self, x: [x := F.relu(c(x)) for c in self.l][-1], l=nn.ModuleList([conv(), conv()])
    ),
    # Ends
    "softmax": lambda: Net(
        lambda self, x: F.softmax(self.n(x), 1), n=nn.Sequential(conv(3), head())
    ),
    "log_softmax": lambda: Net(
        lambda self, x: F.log_softmax(self.n(x), dim=-1), n=nn.Sequential(conv(3), head())
    ),
    "sigmoid": lambda: Net(lambda self, x: self.n(x).sigmoid(), n=nn.Sequential(conv(3), head())),
    "a dictionary of one": lambda: Net(
        lambda self, x: {"logits": self.n(x)}, n=nn.Sequential(conv(3), head())
    ),
    "a tuple with None": lambda: Net(
        lambda self, x: (self.n(x), None), n=nn.Sequential(conv(3), head())
    ),
    "DataParallel": lambda: nn.DataParallel(nn.Sequential(conv(3), head())),
}
"""Networks that take images of 3 x 8 x 8."""

REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "layer norm": (
        lambda: body(lambda self, x: self.n(x), n=nn.LayerNorm([4, 8, 8])),
        "layer_norm",
    ),
    "group norm": (lambda: body(lambda self, x: self.n(x), n=nn.GroupNorm(2, 4)), "group_norm"),
    "cat of rows": (
        lambda: body(lambda self, x: torch.cat([x, self.c(x)], 2), c=conv()),
        "cat along dimension 2",
    ),
    "cat with ones": (
        lambda: after(
            lambda self, x: self.f(torch.cat([x, torch.ones(len(x), 1, 8, 8)], 1)).mean((2, 3)),
            f=nn.Conv2d(5, 5, 1),
        ),
        "a constant that is not zero",
    ),
    "stack": (
        lambda: body(lambda self, x: torch.stack([x, self.c(x)], 1).flatten(1, 2)[:, :4], c=conv()),
        "stack",
    ),
    "transposed": (
        lambda: body(lambda self, x: self.t(x), t=nn.ConvTranspose2d(4, 4, 2, 2)),
        "transposed",
    ),
    "padding that cuts and adds": (
        lambda: body(lambda self, x: self.c(F.pad(x, (0, -1, 0, 1))), c=conv()),
        "must not cut a map and add to it",
    ),
    "rows backwards": (
        lambda: body(lambda self, x: self.c(x.flip(2)), c=conv()),
        "flip from (4, 8, 8) to (4, 8, 8) moves elements",
    ),
    "parts by the input": (
        lambda: body(lambda self, x: self.c(x[:, x.mean((0, 2, 3)).argsort()]), c=conv()),
        "over dimensions",
    ),
    "depth to space": (
        lambda: after(lambda self, x: self.c(F.pixel_shuffle(x, 2)).mean((2, 3)), c=conv(1, 5)),
        "pixel_shuffle",
    ),
    "padding with ones": (
        lambda: body(lambda self, x: self.c(F.pad(x, (0, 1, 0, 1), value=1.0)), c=conv()),
        "other than zeros",
    ),
    "reflected padding": (
        lambda: body(lambda self, x: self.c(x), c=conv(padding_mode="reflect")),
        "pad with zeros",
    ),
    "ceil mode": (
        lambda: body(lambda self, x: F.max_pool2d(self.c(x), 3, 2, ceil_mode=True), c=conv()),
        "ceil mode adds windows",
    ),
    "attention": (
        lambda: body(lambda self, x: F.scaled_dot_product_attention(x, x, x)),
        "attention",
    ),
    "interpolate": (lambda: body(lambda self, x: F.interpolate(x, scale_factor=2.0)), "resolution"),
    "noise": (lambda: body(lambda self, x: x + torch.randn(1)), "draws at random"),
    "channels last": (
        lambda: after(
            lambda self, x: self.f(x.permute(0, 2, 3, 1).flatten(1)), f=nn.Linear(256, 5)
        ),
        "moves elements",
    ),
    "mean over the channels": (
        lambda: after(lambda self, x: self.f(x.mean(1).flatten(1)), f=nn.Linear(64, 5)),
        "mean over dimensions",
    ),
    "softmax over positions": (
        lambda: body(lambda self, x: F.softmax(x, 1)),
        "softmax inside",
    ),
    "a product with positions": (
        lambda: body(lambda self, x: x * torch.rand(8, 8)),
        "draws at random",
    ),
    "outer product": (
        lambda: body(lambda self, x: x.mean((2, 3), keepdim=True) * self.c(x), c=conv(4, 1)),
        "a product of 4 x 1 x 1 and 1 x 8 x 8",
    ),
    "cube": (lambda: body(lambda self, x: self.c(x) ** 3, c=conv()), "pow to 3"),
    "exponential": (lambda: body(lambda self, x: torch.exp(-self.c(x)), c=conv()), "exp has no"),
    "dilated pooling": (
        lambda: body(lambda self, x: F.max_pool2d(x, 2, dilation=2)),
        "max pooling must have no dilation",
    ),
    "slopes of rows": (
        lambda: body(lambda self, x: self.c(x) * torch.arange(8.0)[:, None], c=conv()),
        "differs within a channel",
    ),
    "padding=same of a reshaped map": (
        lambda: body(lambda self, x: self.c(x.reshape(-1, 4, 4, 16)), c=conv(padding="same")),
        "a reshape of (4, 8, 8) to (4, 4, 16)",
    ),
    "a mean in double precision": (
        lambda: after(lambda self, x: x.mean((2, 3), dtype=torch.float64)),
        "mean makes float64; keep to float32",
    ),
    "a mean in double precision on the way": (
        lambda: after(
            lambda self, x: self.f(x.mean((2, 3), dtype=torch.float64).float()), f=nn.Linear(4, 5)
        ),
        "mean makes float64; keep to float32",
    ),
    "a constant in double precision": (
        lambda: body(lambda self, x: x * torch.arange(1.0, 5, dtype=torch.float64)[:, None, None]),
        "mul makes float64; keep to float32",
    ),
    "a choice by a mask": (
        lambda: body(
            lambda self, x: self.c(x[:, torch.tensor([True, False, True, False])]), c=conv(2)
        ),
        "sym_size has no integer form",
    ),
    "a constant of more dimensions": (
        lambda: after(lambda self, x: (x.mean((2, 3)) * torch.ones(1, 1, 1, 1)).flatten(1)),
        "mul moves the batch to another dimension",
    ),
    "a constant map": (
        lambda: body(lambda self, x: x + torch.arange(8.0)),
        "differs within a channel",
    ),
}
"""Networks that must be refused, and a part of what is said of each."""
