"""What an adapter adds to a linear layer: a product of two thin matrices beside the one that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.dropout import drop
from banyan.model.linear import Linear


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPart:
    """Neighbouring rows of a layer's matrix that other tools keep as a matrix of its own."""

    name: str  # q, k, v, qkv, output, gate, up or down
    stored_name: str  # of the module on disk
    num_rows: int
    is_transposed: bool = False  # on disk


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterPass:
    """Which adapters take part in one forward pass.

    Each runs over all rows, and its share of a row is 1 or 0: so the sizes of its products, and with them the rounding
    of a row, do not depend on which adapters the other rows go through, or on which others the model carries.
    Measured, 16 rows of one token, 768 to 2,304, rank 8, one core: 773 us without adapters, 23 us more for each one
    that takes part; 180 us for any number where each row gathers its own factors; 20 to 160 us for 1 to 16 lying side
    by side in one matrix, but its width is that of all that are loaded, and with it the last bits.
    """

    groups: tuple[tuple[str, Tensor | None], ...]  # an adapter, and its share of each row (B, 1, 1); None: all rows
    noise_keys_BT: Tensor | None = None  # for dropout, while it learns


class LowRank(nn.Module):
    """scale · up · down, for each part of a layer that an adapter changes; the parts' factors lie one above the other.

    Source: Hu et al. 2021 (LoRA).
    """

    def __init__(
        self,
        layer: Linear,
        parts: Sequence[LayerPart],
        *,
        adapted: frozenset[str],
        rank: int,
        scale: float,
        dropout: float,
        site: int,
    ) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.adapted = adapted
        self.rank, self.scale, self.dropout, self.site = rank, scale, dropout, site
        num_rows = sum(part.num_rows for part in self.adapted_parts)
        self.down = nn.Parameter(layer.weight.new_empty(len(self.adapted_parts) * rank, layer.in_features))
        self.up = nn.Parameter(layer.weight.new_zeros(num_rows, rank))

    @property
    def adapted_parts(self) -> tuple[LayerPart, ...]:
        """The parts of the layer that change, in their order."""
        return tuple(part for part in self.parts if part.name in self.adapted)

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Draw the first factor as PEFT does, uniform within 1/sqrt(width in); with the second 0, nothing changes."""
        bound = self.down.shape[1] ** -0.5
        drawn = torch.rand(self.down.shape, generator=generator, device=generator.device)
        self.down.copy_((2 * drawn - 1) * bound)
        self.up.zero_()

    def forward(self, x_BTI: Tensor, share_B11: Tensor | None, noise_keys_BT: Tensor | None) -> Tensor:
        """Return what is added to the layer's output.

        Shapes: x (B, T, in); share (B, 1, 1) or None for all; noise keys (B, T); returns (B, T, out).
        """
        if self.training and self.dropout and noise_keys_BT is not None:
            x_BTI = drop(x_BTI, noise_keys_BT, site=self.site, rate=self.dropout)
        low_BTR = F.linear(x_BTI, self.down) * self.scale
        if share_B11 is not None:
            low_BTR = low_BTR * share_B11
        if len(self.parts) == 1:
            return F.linear(low_BTR, self.up)
        return self._spread(low_BTR)

    def _spread(self, low_BTR: Tensor) -> Tensor:
        """Send each part's own low-rank numbers to its own rows; nothing to the rows of parts that stay."""
        lows, ups = iter(torch.split(low_BTR, self.rank, dim=-1)), iter(self.up_factors())
        return torch.cat(
            [
                F.linear(next(lows), next(ups))
                if part.name in self.adapted
                else low_BTR.new_zeros(*low_BTR.shape[:-1], part.num_rows)
                for part in self.parts
            ],
            dim=-1,
        )

    def down_factors(self) -> tuple[Tensor, ...]:
        """Return the first factor of every adapted part, (rank, in) each."""
        return torch.split(self.down, self.rank)

    def up_factors(self) -> tuple[Tensor, ...]:
        """Return the second factor of every adapted part, (rows, rank) each."""
        return torch.split(self.up, [part.num_rows for part in self.adapted_parts])

    @torch.no_grad()
    def change(self) -> Tensor:
        """Return what the adapter adds to the layer's matrix, worked out in double precision, (out, in)."""
        downs, ups = iter(self.down_factors()), iter(self.up_factors())
        width = self.down.shape[1]
        return torch.cat(
            [
                self.scale * (next(ups).double() @ next(downs).double())
                if part.name in self.adapted
                else torch.zeros(part.num_rows, width, dtype=torch.float64, device=self.down.device)
                for part in self.parts
            ]
        )


def through(layer: nn.Module, x_BTI: Tensor, adapters: AdapterPass | None) -> Tensor:
    """Return the output of a linear layer with what the adapters of this pass add to it.

    Shapes: x (B, T, in); returns (B, T, out).
    """
    output: Tensor = layer(x_BTI)
    if adapters is None or not isinstance(layer, Linear) or layer.adapters is None:
        return output
    for name, share_B11 in adapters.groups:
        if (key := adapter_key(name)) in layer.adapters:
            output = output + layer.adapters[key](x_BTI, share_B11, adapters.noise_keys_BT)
    return output


def adapter_key(name: str) -> str:
    """Return an adapter's name as that of a module, which may not be `train`, `keys` or `to`."""
    return f"lora_{name}"


def adapter_pass(
    names: Sequence[str | None], *, like: Tensor, noise_keys_BT: Tensor | None = None
) -> AdapterPass | None:
    """Return how rows go through their adapters (None: through none), or None if there is nothing to do.

    Shapes: like (B, T, …); one name for each row, or for each token of a single row.
    """
    present = sorted({name for name in names if name is not None})
    if not present:
        return None
    if len(set(names)) == 1:
        return AdapterPass(groups=((present[0], None),), noise_keys_BT=noise_keys_BT)
    shares = torch.tensor([[float(name == own) for name in names] for own in present], dtype=like.dtype)
    shares = shares.to(like.device)[..., None, None]
    groups = zip(present, shares if len(names) == len(like) else shares.transpose(1, 2), strict=True)
    return AdapterPass(groups=tuple(groups), noise_keys_BT=noise_keys_BT)
