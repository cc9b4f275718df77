"""The parts that all picture networks are made of: residual blocks, and halving or doubling the resolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_GROUP_CHANNELS = 8  # that share one mean and one deviation


def group_norm(num_channels: int) -> nn.GroupNorm:
    """Return a norm over groups of at most 8 channels, which knows nothing of the other pictures of a batch."""
    return nn.GroupNorm(max(1, num_channels // _GROUP_CHANNELS), num_channels)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside the picture they change; a fresh block changes nothing.

    Shapes: (B, C, Y, X) → the same.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.norm_in = group_norm(num_channels)
        self.conv_in = nn.Conv2d(num_channels, num_channels, 3, padding=1)
        self.norm_out = group_norm(num_channels)
        self.conv_out = nn.Conv2d(num_channels, num_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the picture and what the block adds to it."""
        inner = self.conv_in(F.silu(self.norm_in(x)))
        change: Tensor = self.conv_out(F.silu(self.norm_out(inner)))
        return x + change


class Halve(nn.Conv2d):
    """Half the resolution: every output sees 4×4 pixels, two apart."""

    def __init__(self, num_channels: int, num_outputs: int) -> None:
        super().__init__(num_channels, num_outputs, 4, stride=2, padding=1)


class Double(nn.Module):
    """Twice the resolution, by a convolution of repeated pixels: no checkerboard, as transposed ones draw."""

    def __init__(self, num_channels: int, num_outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_channels, num_outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, Y, X) → (B, num_outputs, 2Y, 2X)."""
        doubled: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return doubled
