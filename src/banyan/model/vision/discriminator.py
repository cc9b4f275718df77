"""The net that tries to tell decoded pictures from real ones, patch by patch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.vision.layers import Halve, group_norm

_SLOPE = 0.2  # of what lies below zero


class PatchDiscriminator(nn.Module):
    """One verdict for each patch of a picture: above 0 real, below 0 decoded.

    Shapes: (B, C, Y, X) → (B, 1, Y/4, X/4).
    Source: Isola et al. 2017 (PatchGAN), with group in place of batch norms.
    """

    def __init__(self, *, channels: int, width: int = 32) -> None:
        super().__init__()
        self.first = Halve(channels, width)
        self.second = Halve(width, 2 * width)
        self.norm = group_norm(2 * width)
        self.verdict = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the verdicts."""
        x = F.leaky_relu(self.first(pictures), _SLOPE)
        verdicts: Tensor = self.verdict(F.leaky_relu(self.norm(self.second(x)), _SLOPE))
        return verdicts
