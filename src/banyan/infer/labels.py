"""Closed label sets: a probability for every label, from a head's logits or from the labels' own words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from banyan.core.errors import InputError


def label_probs_from_logits(logits_L: Tensor) -> tuple[float, ...]:
    """Return the probabilities a classification head gives its labels.

    Shapes: (L,) → L numbers that sum to 1.
    """
    return tuple(logits_L.double().softmax(dim=-1).tolist())


def label_probs_from_words(
    token_log_probs: Sequence[Sequence[float]], *, length_normalised: bool = False
) -> tuple[float, ...]:
    """Return the probabilities of labels that were scored as words by the language model.

    One list of token log-probabilities per label. Their sum is the model's own probability of that label; its mean
    (`length_normalised`) keeps long labels from losing by their length where the model was not taught the labels.
    Raises: InputError for a label without tokens.
    """
    if any(len(scores) == 0 for scores in token_log_probs):
        raise InputError("a label has no tokens and cannot be scored; every label needs at least one.")
    totals = [sum(scores) / (len(scores) if length_normalised else 1) for scores in token_log_probs]
    return label_probs_from_logits(torch.tensor(totals, dtype=torch.float64))
