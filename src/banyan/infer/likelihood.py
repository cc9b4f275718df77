"""How probable a model finds given tokens: the ground of perplexity and bits per byte."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from banyan.core.types import NO_TARGET, MaskKind, TokenSequence
from banyan.model.transformer import Transformer


def target_log_probs(model: Transformer, hidden_PD: Tensor, targets: Sequence[int]) -> list[float]:
    """Return the log-probability of one target at each hidden state.

    A text target is judged among text and special tokens, an image code among image codes, as in training.
    Shapes: hidden (P, D) and P targets.
    """
    text_size = model.config.text_vocab_size
    result = [0.0] * len(targets)
    for is_image in (False, True):
        places = [place for place, target in enumerate(targets) if (target >= text_size) is is_image]
        if not places:
            continue
        logits = model.image_logits(hidden_PD[places]) if is_image else model.logits(hidden_PD[places])
        first = text_size if is_image else 0
        ids = torch.tensor([targets[place] - first for place in places], device=logits.device)
        log_probs = logits.float().log_softmax(dim=-1).gather(1, ids[:, None])[:, 0]
        for place, value in zip(places, log_probs.tolist(), strict=True):
            result[place] = value
    return result


def are_likeliest(model: Transformer, hidden_PD: Tensor, targets: Sequence[int]) -> bool:
    """Return whether each text target is the most probable token at its hidden state: what greedy decoding would write.

    Shapes: hidden (P, D) and P targets.
    """
    return bool(model.logits(hidden_PD).argmax(dim=-1).tolist() == list(targets))


def document_windows(
    token_ids: Sequence[int], *, first_id: int, max_seq_len: int, task: str = "language_modeling"
) -> list[TokenSequence]:
    """Cut a document into sequences that predict each of its tokens exactly once.

    Every sequence after the first begins half a context early, so that no token is predicted from less than that.
    """
    ids = (first_id, *token_ids)
    windows, stride = [], max(1, max_seq_len // 2)
    scored = 0
    while scored < len(token_ids):
        start = 0 if scored == 0 else scored - (max_seq_len - stride)
        inputs = ids[start : min(start + max_seq_len, len(token_ids))]
        num_old = scored - start
        targets = (*[NO_TARGET] * num_old, *ids[scored + 1 : start + len(inputs) + 1])
        windows.append(
            TokenSequence(
                task=task,
                token_ids=inputs,
                targets=targets,
                loss_weights=(*[0.0] * num_old, *[1.0] * (len(inputs) - num_old)),
                mask=MaskKind.CAUSAL,
            )
        )
        scored = start + len(inputs)
    return windows


def bits(log_probs: Sequence[float]) -> float:
    """Return how many bits tokens of these log-probabilities (in nats) cost together."""
    return -math.fsum(log_probs) / math.log(2)
