"""How much, and from when on, each layer of a model learns that already knows something."""

from __future__ import annotations

from dataclasses import dataclass

_EMBEDDINGS = ("embedding.", "position_embedding.", "grid_embedding.", "lookback.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRates:
    """Lower layers learn slower, or later: what they know is of use to every task.

    Layers are counted from the top: 0 is all above the blocks, 1 the last block, and the embeddings lie below the first
    block. A tied output layer is an embedding.
    Source: Howard & Ruder 2018 (ULMFiT), unfreezing; Clark et al. 2020 (ELECTRA), the decay from layer to layer.
    """

    num_layers: int
    decay: float = 1.0  # of the learning rate, from one layer to the one below
    unfreeze_every: int = 0  # steps until the next layer below begins; 0: all begin at once

    def depth_of(self, name: str) -> int:
        """Return how far below the top a weight lies, by its name in the model."""
        if name.startswith(_EMBEDDINGS):
            return self.num_layers + 1
        parts = name.split(".")
        return self.num_layers - int(parts[1]) if parts[0] == "blocks" else 0

    def factor_of(self, name: str) -> float:
        """Return what a weight's learning rate is multiplied by."""
        return float(self.decay ** self.depth_of(name))

    def first_step_of(self, name: str) -> int:
        """Return the step, counted from 1, in which a weight begins to learn."""
        return 1 + max(0, self.depth_of(name) - 1) * self.unfreeze_every
