"""From requests to answers in the making, with what several share: masks of forms, and what may not be drawn."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from banyan.core.types import ImageGrid, Text
from banyan.infer.answers import Answer, PictureAnswer, TextAnswer
from banyan.infer.beam_answer import BeamAnswer
from banyan.infer.forms.form import FormReader, with_space_before
from banyan.infer.forms.grammar import Grammar
from banyan.infer.forms.token_masks import TokenBytes, TokenMasks
from banyan.infer.requests import Request
from banyan.tokenizers.vocabulary import Vocabulary

_MAX_FORMS = 16  # that are kept


class AnswerMaker:
    """Makes the answers of one model."""

    def __init__(self, vocabulary: Vocabulary, *, text_vocab_size: int, device: torch.device) -> None:
        self._vocabulary = vocabulary
        self._text_vocab_size = text_vocab_size
        self._device = device
        self._forbidden: dict[frozenset[int], Tensor] = {}
        self._token_bytes: TokenBytes | None = None
        self._masks: OrderedDict[tuple[Grammar, bool], TokenMasks] = OrderedDict()  # the longest unused first

    def make(self, request: Request, slots: Sequence[int]) -> Answer:
        """Return the answer to a request, of which nothing has been written yet."""
        decoding = request.prompt.decoding
        if isinstance(decoding, ImageGrid):
            return PictureAnswer(request, slots=slots, grid=decoding)
        assert isinstance(decoding, Text), f"{decoding} is not answered token by token"
        stop_ids = frozenset(decoding.stop_token_ids)
        forbidden_V = self._forbidden_tokens(stop_ids)
        of_text: dict[str, Any] = {"slots": slots, "vocabulary": self._vocabulary}
        of_text |= {"stop_ids": stop_ids, "forbidden_V": forbidden_V}
        if request.sampling.num_beams > 1:
            return BeamAnswer(request, **of_text)
        form = None if request.form is None else FormReader(self._masks_of(request, decoding), stop_ids=stop_ids)
        return TextAnswer(request, **of_text, form=form)

    def _masks_of(self, request: Request, decoding: Text) -> TokenMasks:
        """Return a form as tokens; forms that were asked for before are kept, with all that was worked out of them."""
        assert request.form is not None
        key = (request.form, decoding.drops_first_space)
        if key not in self._masks:
            self._token_bytes = self._token_bytes or TokenBytes(self._vocabulary)
            grammar = with_space_before(request.form) if decoding.drops_first_space else request.form
            self._masks[key] = TokenMasks(grammar, self._token_bytes)
            if len(self._masks) > _MAX_FORMS:
                self._masks.popitem(last=False)
        self._masks.move_to_end(key)
        return self._masks[key]

    def _forbidden_tokens(self, stop_ids: frozenset[int]) -> Tensor:
        """Return which columns of the text logits may not be drawn: all but ordinary tokens and these stop tokens."""
        if stop_ids not in self._forbidden:
            is_allowed = [
                self._vocabulary.is_text(token) or token in stop_ids for token in range(self._text_vocab_size)
            ]
            self._forbidden[stop_ids] = ~torch.tensor(is_allowed, device=self._device)
        return self._forbidden[stop_ids]
