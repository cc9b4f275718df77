"""BIO tags: the most probable sequence among the legal ones, and how sure each of its tags is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from banyan.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class TagRules:
    """Which tags may begin a sequence and which may follow which, as 0 (legal) and minus infinity (not)."""

    start_L: Tensor
    transitions_LL: Tensor  # from the row's tag to the column's


@lru_cache(maxsize=256)
def bio_rules(labels: tuple[str, ...]) -> TagRules:
    """Return the rules of BIO: `I-x` follows `B-x` or `I-x` only, everything else is free.

    Raises: ConfigError for a label that is neither O, B-… nor I-…, or if no tag may begin a sequence.
    """
    for label in labels:
        if label != "O" and not (label[:2] in ("B-", "I-") and len(label) > 2):
            raise ConfigError(f"tag {label!r} is not a BIO tag; use O, B-<type> and I-<type>.")
    starts = [not label.startswith("I-") for label in labels]
    if not any(starts):
        raise ConfigError(f"no tag of {list(labels)} may begin a sequence; add O or a B-<type>.")
    follows = [
        [free or before[1:] == label[1:] for label, free in zip(labels, starts, strict=True)] for before in labels
    ]
    return TagRules(start_L=_as_scores(starts), transitions_LL=_as_scores(follows))


def _as_scores(is_legal: Sequence[bool] | Sequence[Sequence[bool]]) -> Tensor:
    return torch.zeros(torch.tensor(is_legal).shape, dtype=torch.float64).masked_fill(
        ~torch.tensor(is_legal), -torch.inf
    )


def best_tags(logits_NL: Tensor, labels: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the most probable legal tag sequence, and for each tag its probability given that the whole is legal.

    Shapes: logits (N, L) for N units and L labels; returns N tag ids and N probabilities.
    Raises: ConfigError if the labels are not BIO tags.
    Source: Viterbi 1967 for the sequence; the forward-backward recursion (Rabiner 1989) for the probabilities.
    """
    rules = bio_rules(labels)
    if len(logits_NL) == 0:
        return (), ()
    scores_NL = logits_NL.double().cpu().log_softmax(dim=-1)
    tags = _viterbi(scores_NL, rules)
    marginals = _marginals(scores_NL, rules)
    return tags, tuple(marginals[range(len(tags)), list(tags)].tolist())


def _viterbi(scores_NL: Tensor, rules: TagRules) -> tuple[int, ...]:
    best_L = scores_NL[0] + rules.start_L
    came_from: list[list[int]] = []
    for unit_L in scores_NL[1:]:
        reached_L, before_L = (best_L[:, None] + rules.transitions_LL).max(dim=0)
        best_L = reached_L + unit_L
        came_from.append(before_L.tolist())
    path = [int(best_L.argmax())]
    for before in reversed(came_from):
        path.append(before[path[-1]])
    return tuple(reversed(path))


def _marginals(scores_NL: Tensor, rules: TagRules) -> Tensor:
    """Return each tag's probability at each unit over all legal sequences, (N, L)."""
    forward = [scores_NL[0] + rules.start_L]
    for unit_L in scores_NL[1:]:
        forward.append((forward[-1][:, None] + rules.transitions_LL).logsumexp(dim=0) + unit_L)
    backward = [torch.zeros_like(forward[0])]
    for unit_L in reversed(scores_NL[1:]):
        backward.append((rules.transitions_LL + (backward[-1] + unit_L)[None, :]).logsumexp(dim=1))
    return (torch.stack(forward) + torch.stack(backward[::-1])).softmax(dim=-1)
