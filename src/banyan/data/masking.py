"""Which mask a stretch of running text is learned under: causal, prefix or full, mixed by share.

A trunk that has read in both directions while it was pretrained can be asked so later, by a tagger or a classifier; one
that never has is at a loss there when it is small.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.core.types import NO_TARGET, MaskKind, TokenSequence

_SHORTEST = 8  # tokens; a shorter stretch is always causal
_PREFIX_RANGE = (0.1, 0.9)  # of a stretch


@config
class MaskShares:
    """How running text is read while it is learned; what the shares leave is causal."""

    prefix: float = 0.0  # share of the stretches whose beginning is read in both directions and whose rest is predicted
    full: float = 0.0  # share read in both directions throughout, where the hidden tokens are predicted
    hidden: float = 0.25  # of the tokens of such a stretch

    def __post_init__(self) -> None:
        for name in ("prefix", "full"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"masks.{name}={getattr(self, name)} must lie between 0 and 1.")
        if self.prefix + self.full > 1:
            raise ConfigError(f"masks.prefix={self.prefix} and masks.full={self.full} are together more than 1.")
        if not 0 < self.hidden < 1:
            raise ConfigError(f"masks.hidden={self.hidden} must lie between 0 and 1, both excluded.")


def mix_masks(
    sequence: TokenSequence, shares: MaskShares, *, hidden_id: int, generator: np.random.Generator
) -> TokenSequence:
    """Return a causal stretch of text as it is, with a prefix, or with hidden tokens, as the draw falls.

    Where it is read in both directions, a hidden token is predicted at the position before it, as always in a
    decoder: "masked next-token prediction".
    Source: prefix language models, Raffel et al. 2020; masked next-token prediction, BehnamGhader et al. 2024.
    """
    draw = generator.random()
    if len(sequence) < _SHORTEST or draw >= shares.prefix + shares.full:
        return sequence
    if draw < shares.prefix:
        return _with_prefix(sequence, round(len(sequence) * generator.uniform(*_PREFIX_RANGE)))
    return _with_hidden_tokens(sequence, generator.random(len(sequence)) < shares.hidden, hidden_id=hidden_id)


def _with_prefix(sequence: TokenSequence, prefix_len: int) -> TokenSequence:
    prefix_len = max(1, prefix_len)
    num_given = prefix_len - 1  # their next tokens stand in the prefix
    return replace(
        sequence,
        targets=(NO_TARGET,) * num_given + sequence.targets[num_given:],
        loss_weights=(0.0,) * num_given + sequence.loss_weights[num_given:],
        mask=MaskKind.PREFIX,
        prefix_len=prefix_len,
    )


def _with_hidden_tokens(sequence: TokenSequence, is_hidden: np.ndarray, *, hidden_id: int) -> TokenSequence:
    is_hidden[0] = False  # nothing stands before it that could predict it
    if not is_hidden.any():
        is_hidden[len(sequence) // 2] = True
    is_asked = [*is_hidden[1:], False]
    return replace(
        sequence,
        token_ids=tuple(hidden_id if hide else i for i, hide in zip(sequence.token_ids, is_hidden, strict=True)),
        targets=tuple(t if ask else NO_TARGET for t, ask in zip(sequence.targets, is_asked, strict=True)),
        loss_weights=tuple(w if ask else 0.0 for w, ask in zip(sequence.loss_weights, is_asked, strict=True)),
        mask=MaskKind.FULL,
    )
