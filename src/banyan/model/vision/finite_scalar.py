"""Finite scalar quantisation: each number of a latent is rounded to one of a few levels; together they are the code."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from banyan.model.vision.quantized import Quantized

_SLOPE = 1.6  # of the squashing function: normally distributed latents then fill all levels about equally
_REACH = 0.5  # squared levels within which a cell counts for a code
_TINY = 1e-9


class FiniteScalarQuantizer(nn.Module):
    """A codebook that nobody stores: code number = the levels of a cell as digits.

    Shapes: latents (B, num_dims, Y, X); codes (B, Y, X).
    Source: Mentzer et al. 2023 (FSQ), with bins of equal width under a sigmoid in place of the shifted tanh.
    """

    levels: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        places = [math.prod(levels[:place]) for place in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels).view(-1, 1, 1), persistent=False)
        self.register_buffer("places", torch.tensor(places).view(-1, 1, 1), persistent=False)
        self.num_dims = len(levels)
        self.num_codes = math.prod(levels)

    def forward(self, latents: Tensor) -> Quantized:
        """Round the latents; the gradient passes as if nothing had been rounded."""
        heights = self._heights(latents)
        digits = torch.minimum(heights.detach().round().clamp_min(0), self.levels - 1)
        rounded = heights + (digits - heights).detach()
        return Quantized(
            latents=latents,
            values=self._scaled(rounded),
            codes=(digits.long() * self.places).sum(dim=1),
            commitment=latents.new_zeros(len(latents)),
        )

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the values that a decoder reads for codes.

        Shapes: (B, Y, X) → (B, num_dims, Y, X).
        """
        digits = codes.unsqueeze(1) // self.places % self.levels
        return self._scaled(digits.float())

    def unevenness(self, latents: Tensor) -> Tensor:
        """Return how far the codes of a batch are from being used alike: 0 all equally often, 1 one alone.

        Each cell counts for all codes, the more the nearer they are, so that a gradient can spread the cells.
        Source: the entropy of Yu et al. 2023 (MAGVIT-v2), of the product of all numbers' levels.
        """
        heights = self._heights(latents).movedim(1, 0).flatten(1)
        levels = self.levels.flatten().tolist()
        near = [_nearness(heights[place], num) for place, num in enumerate(levels)]
        half = (len(near) + 1) // 2
        shares = _joined(near[:half]).T @ _joined(near[half:]) / heights.shape[1]
        entropy = -(shares * (shares + _TINY).log()).sum()
        return 1 - entropy / math.log(self.num_codes)

    def _heights(self, latents: Tensor) -> Tensor:
        """Return latents on the scale of the levels: level n reaches from n - 1/2 to n + 1/2."""
        return torch.sigmoid(_SLOPE * latents) * self.levels - 0.5

    def _scaled(self, digits: Tensor) -> Tensor:
        """Return levels as numbers between -1 and 1."""
        return (2 * digits + 1) / self.levels - 1


def _nearness(heights: Tensor, num_levels: int) -> Tensor:
    """Return to which part each height counts for each level.

    Shapes: (N,) → (N, num_levels).
    """
    distances = heights[:, None] - torch.arange(num_levels, device=heights.device)
    return torch.softmax(-distances.square() / _REACH, dim=1)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Return the parts for every combination of levels; for none, one part of 1.

    Shapes: (N, L1), (N, L2) … → (N, L1 · L2 · …).
    """
    whole = parts[0].new_ones(len(parts[0]), 1) if parts else torch.ones(1, 1)
    for part in parts:
        whole = (whole[:, :, None] * part[:, None, :]).flatten(1)
    return whole
