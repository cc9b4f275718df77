"""Classifier-free guidance: listen to the wish more, by comparing with what would be drawn without it."""

from __future__ import annotations

import math

from torch import Tensor

from banyan.infer.sampling import SamplingConfig


def guide(conditional_V: Tensor, unconditional_V: Tensor, *, scale: float) -> Tensor:
    """Return the logits that lie `scale` times as far from the wishless ones as those with the wish.

    Shapes: (V,) each; scale 1 is the wish as it is, 0 no wish at all.
    Source: Ho and Salimans 2021; on token logits, Gafni et al. 2022 (Make-A-Scene).
    """
    with_wish, without = conditional_V.log_softmax(dim=-1), unconditional_V.log_softmax(dim=-1)
    return without + scale * (with_wish - without)


def scale_at(cell: int, *, num_cells: int, sampling: SamplingConfig) -> float:
    """Return how strong the guidance is at one code of a picture: from 1 up to the whole scale at the last one.

    Source: Yu et al. 2024 (RAR), the power schedule; power 0 is the whole scale everywhere.
    """
    share = math.pow((cell + 1) / num_cells, sampling.guidance_power)
    return 1 + (sampling.guidance_scale - 1) * share


def wish_ratio(conditional_V: Tensor, unconditional_V: Tensor, drawn: int) -> float:
    """Return by how much the wish makes one code more probable, as a logarithm.

    Shapes: (V,) each. Units: nats; summed over a picture, the model's own opinion of how well it fits its wish.
    """
    logs_2 = [logits_V.log_softmax(dim=-1)[drawn] for logits_V in (conditional_V, unconditional_V)]
    return float(logs_2[0] - logs_2[1])
