"""Vector quantisation: every cell is named by the nearest entry of a codebook that follows the latents it names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.vision.quantized import Quantized

_DECAY = 0.99  # of the codebook's running sums, per batch
_DEAD_SHARE = 0.1  # of the use that each code would have if all were used alike; below, a code is revived


class VectorQuantizer(nn.Module):
    """A codebook of unit vectors, moved by running averages rather than by gradients.

    An entry that hardly anything is named by starts again from a cell of the present batch.
    Shapes: latents (B, num_dims, Y, X); codebook (num_codes, num_dims); codes (B, Y, X).
    Source: van den Oord et al. 2017 (appendix A.1); unit vectors, Yu et al. 2022.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, num_codes: int, num_dims: int) -> None:
        super().__init__()
        codebook = F.normalize(torch.randn(num_codes, num_dims), dim=1)
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("sums", codebook.clone())
        self.num_dims = num_dims
        self.num_codes = num_codes

    def forward(self, latents: Tensor) -> Quantized:
        """Name every cell; in training the codebook moves too, once for each batch it sees."""
        directions = F.normalize(latents, dim=1)
        cells = directions.detach().movedim(1, -1).flatten(0, -2)
        codes = (cells @ self.codebook.T).argmax(dim=1)
        values = self._values(codes.view(len(latents), *latents.shape[2:]))
        if self.training and torch.is_grad_enabled():
            self._follow(cells, codes)
        return Quantized(
            latents=latents,
            values=directions + (values - directions).detach(),
            codes=codes.view(len(latents), *latents.shape[2:]),
            commitment=(directions - values).square().sum(dim=1).mean(dim=(1, 2)),
        )

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the values that a decoder reads for codes.

        Shapes: (B, Y, X) → (B, num_dims, Y, X).
        """
        return self._values(codes)

    def _values(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    @torch.no_grad()
    def _follow(self, cells: Tensor, codes: Tensor) -> None:
        """Move every entry towards the mean of the cells it names."""
        uses = torch.bincount(codes, minlength=self.num_codes).to(self.counts.dtype)
        self.counts.lerp_(uses, 1 - _DECAY)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, codes, cells), 1 - _DECAY)
        self._revive(cells)
        self.codebook.copy_(F.normalize(self.sums, dim=1))

    def _revive(self, cells: Tensor) -> None:
        """Let entries that are hardly used begin anew at cells of this batch, drawn at random."""
        usual = len(cells) / self.num_codes
        dead = (self.counts < _DEAD_SHARE * usual).nonzero().flatten()
        drawn = cells[torch.randperm(len(cells), device=cells.device)[: len(dead)]]
        dead = dead[: len(drawn)]
        self.sums[dead], self.counts[dead] = drawn * usual, usual
