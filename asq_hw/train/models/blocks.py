"""What the networks are built of: convolutions, residual blocks, first weights."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["BasicBlock", "InvertedBlock", "conv3x3", "initialise"]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution without bias that keeps the size, or divides it by the stride."""
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=1, groups=groups, bias=False
    )


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al., arXiv:1512.03385)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, C', H / stride, W / stride)``."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + shortcut)  # type: ignore[no-any-return]  # nn.Module calls are Any


class InvertedBlock(nn.Module):
    """Depthwise then linear pointwise convolution around a shortcut, MobileNet-V2's shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = conv3x3(channels, channels, groups=channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu6 = nn.ReLU6()
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to the same shape; the result can be negative."""
        y = self.relu6(self.bn1(self.depthwise(x)))
        y = self.bn2(self.pointwise(y))
        return x + y  # type: ignore[no-any-return]  # nn.Module calls are Any


def initialise(model: nn.Module) -> None:
    """Draw the weights of convolutions as He et al. do (arXiv:1502.01852), by outputs."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
