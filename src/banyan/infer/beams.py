"""Beam search: of many answers that are written side by side, the one with the best score."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor

from banyan.core.types import FinishReason


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypothesis:
    """One beginning of an answer."""

    token_ids: tuple[int, ...] = ()  # without a stop token
    log_probs: tuple[float, ...] = ()  # of each of them, in nats
    total: float = 0.0  # log-probability of all, the stop token counted
    parent: int = 0  # its place among the beginnings of the step before


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """An answer that is complete."""

    hypothesis: Hypothesis
    score: float
    reason: FinishReason


class BeamSearch:
    """Keeps the `num_beams` likeliest beginnings, and the complete answers with the best scores.

    A score is log-probability / length**length_penalty, the stop token counted in both. The search ends when no
    beginning has a better score, at its present length, than the worst of `num_beams` complete answers; with a
    length penalty above 0 that is a rule of thumb, for a longer answer might still have gained.
    Source: Wu et al. 2016 (section 7) with length**alpha for its ((5 + length) / 6)**alpha; order of work, the rule
    for the end and what counts as complete as in transformers 5 with early_stopping=False.
    """

    def __init__(self, *, num_beams: int, length_penalty: float, max_tokens: int, stop_ids: Set[int]) -> None:
        self._num_beams = num_beams
        self._length_penalty = length_penalty
        self._max_tokens = max_tokens
        self._stop_ids = stop_ids
        self._finished: list[Finished] = []
        self.live = [Hypothesis()]
        self.is_over = False

    @property
    def best(self) -> Finished:
        """The answer with the best score; the earlier found of two that are equal."""
        return self._finished[0]

    def extend(self, log_probs_NV: Tensor) -> None:
        """Take one step with every live beginning.

        Shapes: (N, V) in nats, row n for `live[n]`; minus infinity where a token may not follow.
        """
        length = len(self.live[0].token_ids) + 1
        going_on: list[Hypothesis] = []
        candidates = self._candidates(log_probs_NV.double())
        for rank, (hypothesis, token) in enumerate(candidates):
            if token not in self._stop_ids and length < self._max_tokens:
                going_on.append(hypothesis)
            elif rank < self._num_beams:  # what ends further down has no claim to a place
                reason = FinishReason.STOP if token in self._stop_ids else FinishReason.LENGTH
                self._finish(hypothesis, reason, length=length)
        if not candidates and not self._finished:  # nothing may follow, so what there is has to do
            self._finish(self.live[0], FinishReason.LENGTH, length=max(1, length - 1))
        self.live = going_on[: self._num_beams]
        self.is_over = not self.live or self._is_settled(length)

    def _candidates(self, log_probs_NV: Tensor) -> list[tuple[Hypothesis, int]]:
        """Return the likeliest continuations, best first, enough that as many as there are beams go on."""
        totals_NV = log_probs_NV + torch.tensor(
            [[own.total] for own in self.live], dtype=torch.float64, device=log_probs_NV.device
        )
        num_kept = self._num_beams * max(2, 1 + len(self._stop_ids))
        best = totals_NV.flatten().topk(min(num_kept, totals_NV.numel()))
        vocab_size = totals_NV.shape[1]
        own_log_probs = log_probs_NV.flatten()[best.indices]
        found = zip(best.values.tolist(), best.indices.tolist(), own_log_probs.tolist(), strict=True)
        return [
            (self._follow(index // vocab_size, index % vocab_size, log_prob, total), index % vocab_size)
            for total, index, log_prob in found
            if total > -math.inf
        ]

    def _follow(self, parent: int, token: int, log_prob: float, total: float) -> Hypothesis:
        before = self.live[parent]
        if token in self._stop_ids:
            return Hypothesis(token_ids=before.token_ids, log_probs=before.log_probs, total=total, parent=parent)
        return Hypothesis(
            token_ids=(*before.token_ids, token),
            log_probs=(*before.log_probs, log_prob),
            total=total,
            parent=parent,
        )

    def _finish(self, hypothesis: Hypothesis, reason: FinishReason, *, length: int) -> None:
        score = hypothesis.total / length**self._length_penalty
        self._finished.append(Finished(hypothesis=hypothesis, score=score, reason=reason))
        self._finished.sort(key=lambda finished: -finished.score)  # stable: the earlier of two equals stays first
        del self._finished[self._num_beams :]

    def _is_settled(self, length: int) -> bool:
        hope = self.live[0].total / length**self._length_penalty
        return len(self._finished) == self._num_beams and hope <= self._finished[-1].score
