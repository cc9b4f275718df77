"""A small net whose features say how alike two pictures look; it learns to tell pictures apart beside the tokenizer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from banyan.model.vision.layers import Halve, group_norm

MIN_IMAGE_SIZE = 8  # pixels a side: they are halved three times
NUM_TURNS = 4  # what a net without labels learns to tell: by how many quarters a picture is turned


class FeatureNet(nn.Module):
    """Three levels of features and a guess at the label.

    Shapes: pictures (B, C, Y, X) → three feature maps and logits (B, num_labels).
    """

    def __init__(self, *, channels: int, num_labels: int, width: int = 24) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(
            Halve(before, after) for before, after in zip((channels, *widths), widths, strict=False)
        )
        self.norms = nn.ModuleList(group_norm(after) for after in widths)
        self.head = nn.Linear(widths[-1], num_labels)

    def forward(self, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the features of each level, and the logits."""
        maps, x = [], pictures
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.silu(norm(layer(x)))
            maps.append(x)
        return maps, self.head(x.mean(dim=(2, 3)))


def frozen_call(net: nn.Module, pictures: Tensor) -> Any:
    """Return what a net makes of pictures, so that a gradient reaches the pictures and not the net."""
    frozen = {name: value.detach() for name, value in net.named_parameters()}
    return functional_call(net, frozen, (pictures,))


def feature_distance(maps: list[Tensor], others: list[Tensor]) -> Tensor:
    """Return how far apart two lots of pictures lie in features of unit length, as the mean over the levels.

    Shapes: lists of (B, C, Y, X); returns (B,).
    Source: Zhang et al. 2018 (LPIPS, without its learned weights).
    """
    parts = [
        (F.normalize(ours, dim=1) - F.normalize(theirs, dim=1)).square().sum(dim=1).mean(dim=(1, 2))
        for ours, theirs in zip(maps, others, strict=True)
    ]
    return torch.stack(parts).mean(dim=0)


def quarter_turns(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Return square pictures turned by 0, 1, 2, 3, 0 … quarters, and by how many.

    Source: Gidaris et al. 2018 (RotNet).
    """
    turned, turns = torch.empty_like(pictures), torch.arange(len(pictures), device=pictures.device) % NUM_TURNS
    for quarters in range(NUM_TURNS):
        turned[quarters::NUM_TURNS] = pictures[quarters::NUM_TURNS].rot90(quarters, dims=(2, 3))
    return turned, turns
