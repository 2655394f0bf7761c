"""Batch normalization over the images of all processes, on any device.

torch's own `SyncBatchNorm` runs on GPUs only. Ioffe and Szegedy, "Batch Normalization",
arXiv:1502.03167; the gradients are those of its section 3, with every sum taken over all processes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from asq_hw.train.quantizers.log_linear import LogLinearAdapter

__all__ = ["SharedBatchNorm2d", "freeze_batch_norm", "share_batch_norm"]

_AXES = (0, 2, 3)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose statistics in training are those of all processes' images.

    Every process must bring as many images as the others.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape and type."""
        if not self.training:
            return super().forward(input)
        mean, variance, count = _statistics(input.detach())
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = torch.rsqrt(variance + self.eps)
        normalized: Tensor = _Normalize.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, mean, scale, count
        )
        return normalized


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and biased variance of each channel over all processes, and the values in each."""
    variance, mean = torch.var_mean(_accurate(x), dim=_AXES, correction=0)
    own = torch.stack([mean, variance])
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    means, variances = torch.stack(parts, dim=1)
    whole = means.mean(dim=0)
    # Deviations from the process' own mean, and those means' from the whole: nothing cancels.
    spread = (means - whole).square().mean(dim=0)
    return whole, variances.mean(dim=0) + spread, len(parts) * x.numel() // x.shape[1]


class _Normalize(torch.autograd.Function):
    """``(x - mean) * scale * weight + bias``, where mean and scale are functions of every x."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor, count: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.count = count
        factor = weight * scale
        shift = bias - mean * factor
        return torch.addcmul(_wide(shift), _accurate(x), _wide(factor)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        upstream = _accurate(gradients[0])
        normalized = (_accurate(x) - _wide(mean)) * _wide(scale)
        sums = torch.stack([upstream.sum(_AXES), (upstream * normalized).sum(_AXES)])
        # The parameters' gradients are averaged with all others; those of the statistics act here.
        bias_gradient, weight_gradient = sums.unbind()
        shared = sums.clone()
        dist.all_reduce(shared)
        center, slope = (shared / ctx.count).unbind()
        inner = upstream - _wide(center) - normalized * _wide(slope)
        return (
            (inner * _wide(weight * scale)).to(x.dtype),
            weight_gradient,
            bias_gradient,
            None,
            None,
            None,
        )


def _accurate(x: Tensor) -> Tensor:
    """At least float32, whatever the convolutions are computed in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _wide(channels: Tensor) -> Tensor:
    return channels[:, None, None]


def share_batch_norm(model: nn.Module) -> nn.Module:
    """Replace every `torch.nn.BatchNorm2d`, in place, by one that all processes share."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, _shared(child))
    return model


def _shared(layer: nn.BatchNorm2d) -> SharedBatchNorm2d:
    """Make the twin of a layer; it takes over the layer's parameters and buffers."""
    twin = SharedBatchNorm2d(layer.num_features, eps=layer.eps, momentum=layer.momentum)
    twin.weight, twin.bias = layer.weight, layer.bias
    twin.running_mean, twin.running_var = layer.running_mean, layer.running_var
    twin.num_batches_tracked = layer.num_batches_tracked
    return twin


def freeze_batch_norm(model: nn.Module) -> None:
    """Make every batch norm use and keep its running statistics, until `train` is called.

    So do log-linear adapters.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | LogLinearAdapter):
            module.eval()
