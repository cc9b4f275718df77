"""The net that judges pictures: what is in them, and the features in which drawn and real ones are compared.

It is trained on real pictures only and belongs to no model: neither a loss nor a ranking ever sees it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

MIN_IMAGE_SIZE = 4  # pixels a side: they are halved twice
_GROUPS = 8


class PictureJudge(nn.Module):
    """A small residual net in three resolutions, without anything that depends on the other pictures of a batch.

    Shapes: pictures (B, C, Y, X) from -1 to 1; logits (B, num_labels), features (B, 4 width).
    Source: He et al. 2016 (pre-activation), with group norm (Wu and He 2018).
    """

    def __init__(self, *, num_labels: int, channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        widths = (width, 2 * width, 4 * width)
        self.blocks = nn.ModuleList(_Block(one) for one in widths)
        self.wider = nn.ModuleList(nn.Conv2d(one, 2 * one, 1) for one in widths[:-1])
        self.norm = nn.GroupNorm(_GROUPS, widths[-1])
        self.head = nn.Linear(widths[-1], num_labels)

    @property
    def num_features(self) -> int:
        """Numbers that stand for one picture."""
        return self.head.in_features

    def features(self, pictures_BCYX: Tensor) -> Tensor:
        """Return what the net knows of each picture before it names it, (B, num_features)."""
        x = self.blocks[0](self.stem(pictures_BCYX))
        for wider, block in zip(self.wider, self.blocks[1:], strict=True):
            x = block(wider(F.avg_pool2d(x, 2)))
        return F.relu(self.norm(x)).mean(dim=(2, 3))

    def forward(self, pictures_BCYX: Tensor) -> Tensor:
        """Return a score for every label, (B, num_labels)."""
        logits: Tensor = self.head(self.features(pictures_BCYX))
        return logits


class _Block(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, width) for _ in range(2))
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.convs[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        inner = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            inner = conv(F.relu(norm(inner)))
        return x + inner
