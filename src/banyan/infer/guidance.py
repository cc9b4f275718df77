"""Classifier-free guidance: listen to the wish more, by comparing with what would be drawn without it."""

from __future__ import annotations

from torch import Tensor


def guide(conditional_V: Tensor, unconditional_V: Tensor, *, scale: float) -> Tensor:
    """Return the logits that lie `scale` times as far from the wishless ones as those with the wish.

    Shapes: (V,) each; scale 1 is the wish as it is, 0 no wish at all.
    Source: Ho and Salimans 2021; on token logits, Gafni et al. 2022 (Make-A-Scene).
    """
    with_wish, without = conditional_V.log_softmax(dim=-1), unconditional_V.log_softmax(dim=-1)
    return without + scale * (with_wish - without)
