"""A text that is searched for: which cache slot holds which beginning, and what is told when the search is over."""

from __future__ import annotations

from collections.abc import Sequence, Set

import torch
from torch import Tensor

from banyan.core.types import NO_GRID, Completion
from banyan.infer.answers import Answer, text_of
from banyan.infer.beams import BeamSearch
from banyan.infer.requests import Request
from banyan.infer.text_rules import blocked_tokens
from banyan.tokenizers.vocabulary import Vocabulary


class BeamAnswer(Answer):
    """Free text by beam search, one slot for each beam. The listeners hear all of it at its end."""

    def __init__(
        self,
        request: Request,
        *,
        slots: Sequence[int],
        vocabulary: Vocabulary,
        stop_ids: Set[int],
        forbidden_V: Tensor,
    ) -> None:
        super().__init__(request, slots=slots)
        sampling = request.sampling
        self._stop_ids = stop_ids
        self._forbidden_V = forbidden_V
        self._search = BeamSearch(
            num_beams=sampling.num_beams,
            length_penalty=sampling.length_penalty,
            max_tokens=request.max_tokens,
            stop_ids=stop_ids,
        )
        self._text = text_of(request, vocabulary)
        self.live_slots = self.slots[:1]  # slot n holds the search's beginning n

    @property
    def fed(self) -> dict[int, tuple[int, int]]:
        """The last token of each beginning."""
        pairs = zip(self.live_slots, self._search.live, strict=True)
        return {slot: (beginning.token_ids[-1], NO_GRID) for slot, beginning in pairs}

    def widen(self, logits_NV: Tensor) -> dict[int, int]:
        """Take one step and return which slots must hold what others hold: target → source.

        Shapes: (N, V), one row for each of `live_slots`.
        """
        self._search.extend(self._allowed(logits_NV.double().log_softmax(dim=-1)))
        if self._search.is_over:
            self._end()
            return {}
        return self._settle()

    def completion(self) -> Completion:
        """Return the answer with the best score."""
        best = self._search.best
        return Completion(
            finish_reason=best.reason,
            token_ids=best.hypothesis.token_ids,
            token_log_probs=best.hypothesis.log_probs,
            text=self._text.text,
        )

    def _allowed(self, log_probs_NV: Tensor) -> Tensor:
        log_probs_NV = log_probs_NV.masked_fill(self._forbidden_V, -torch.inf)
        for row, beginning in enumerate(self._search.live):
            blocked = blocked_tokens(beginning.token_ids, self.request.sampling, stop_ids=self._stop_ids)
            log_probs_NV[row, sorted(blocked)] = -torch.inf
        return log_probs_NV

    def _settle(self) -> dict[int, int]:
        """Give every beginning a slot: the first child of a parent keeps the parent's, the others take free ones."""
        sources = [self.live_slots[beginning.parent] for beginning in self._search.live]
        free = iter([slot for slot in self.slots if slot not in sources])
        is_first = [source not in sources[:place] for place, source in enumerate(sources)]
        self.live_slots = tuple(
            source if keeps else next(free) for source, keeps in zip(sources, is_first, strict=True)
        )
        pairs = zip(self.live_slots, sources, strict=True)
        return {slot: source for slot, source in pairs if slot != source}

    def _end(self) -> None:
        best = self._search.best
        text = "".join([*map(self._text.push, best.hypothesis.token_ids), self._text.finish()])
        if self.request.on_token is not None:
            for token, log_prob in zip(best.hypothesis.token_ids, best.hypothesis.log_probs, strict=True):
                self.request.on_token(token, log_prob)
        if self.request.on_text is not None and text:
            self.request.on_text(text)
        self.finish_reason = best.reason
