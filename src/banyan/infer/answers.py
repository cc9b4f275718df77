"""Answers in the making: what one request adds to the logits of a step, and what it does with the token drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set

import torch
from torch import Tensor

from banyan.core.types import NO_GRID, Completion, FinishReason, ImageGrid, Text
from banyan.infer.forms.form import FormReader
from banyan.infer.guidance import guide, scale_at, wish_ratio
from banyan.infer.lookup import PromptLookup
from banyan.infer.penalties import Penalties
from banyan.infer.randomness import uniform
from banyan.infer.requests import Alternatives, Request
from banyan.infer.samplers import Draw, build_samplers
from banyan.infer.stopping import AnswerText
from banyan.infer.text_rules import blocked_tokens
from banyan.tokenizers.vocabulary import Vocabulary


class Answer(ABC):
    """An answer in the making, and the cache slots it holds meanwhile."""

    def __init__(self, request: Request, *, slots: Sequence[int]) -> None:
        self.request = request
        self.slots = tuple(slots)
        self.finish_reason: FinishReason | None = None
        self.num_cached_tokens = 0  # of its prompts, that were not read again

    @property
    def is_over(self) -> bool:
        """Whether no more tokens are needed, or nobody waits for them."""
        return self.finish_reason is not None or self.request.ticket.is_done

    def grid_id_of(self, number: int) -> int:
        """Return the picture cell that a token of the answer fills, by its number from 0 on."""
        return NO_GRID

    @property
    def is_ready(self) -> bool:
        """Whether the next token can be drawn; not while the slots still read what was drawn before."""
        return True

    @property
    @abstractmethod
    def fed(self) -> dict[int, tuple[int, int]]:
        """What each slot reads next: a token, and the picture cell that it predicts."""

    @abstractmethod
    def completion(self) -> Completion:
        """Return the finished answer."""


class DrawnAnswer(Answer):
    """An answer of which every step draws one token."""

    def __init__(self, request: Request, *, slots: Sequence[int]) -> None:
        super().__init__(request, slots=slots)
        self.token_ids: list[int] = []
        self.log_probs: list[float] = []
        self.alternatives: list[Alternatives] = []  # of each token's place, where they were asked for
        self._num_fed = 0  # of the answer's tokens, that the slots have read
        self._samplers = build_samplers(request.sampling)

    @property
    def fed(self) -> dict[int, tuple[int, int]]:
        """The token that comes next in the answer, to every slot."""
        token_id = self.token_ids[self._num_fed]
        return {slot: (token_id, self.grid_id_of(self._num_fed + 1)) for slot in self.slots}

    def note_step(self) -> None:
        """Hear that every slot has read what `fed` said."""
        self._num_fed += 1

    @property
    def is_ready(self) -> bool:
        """Whether the slots have read all that was drawn."""
        return self._num_fed == len(self.token_ids)

    def set_aside(self) -> None:
        """Give the slots up: they will have to read everything again, token by token as before."""
        self.slots, self._num_fed = (), 0

    def take_up(self, slots: Sequence[int]) -> None:
        """Go on in other slots."""
        self.slots = tuple(slots)

    @property
    def draw(self) -> Draw:
        """What the next token is drawn with: a function of the seed and of its place in the sequence, no more."""
        sampling = self.request.sampling
        place = len(self.request.prompt) + len(self.token_ids)
        return Draw(samplers=self._samplers, uniform=None if sampling.is_greedy else uniform(sampling.seed, place))

    @abstractmethod
    def shape(self, logits_SV: Tensor) -> Tensor:
        """Turn the logits of the slots into those a token is drawn from.

        Shapes: (S, V), one row for each slot; returns (V,), minus infinity where a token may not come out.
        """

    @abstractmethod
    def accept(self, drawn: int, log_prob: float) -> None:
        """Take the token that was drawn (its column in the logits), tell the listeners, and see whether it ends."""


class TextAnswer(DrawnAnswer):
    """Free text: ordinary tokens until a stop token, a stop text, or no more room."""

    def __init__(
        self,
        request: Request,
        *,
        slots: Sequence[int],
        vocabulary: Vocabulary,
        stop_ids: Set[int],
        forbidden_V: Tensor,
        form: FormReader | None = None,
    ) -> None:
        super().__init__(request, slots=slots)
        self._form = form
        self._vocabulary = vocabulary
        self._stop_ids = stop_ids
        self._forbidden_V = forbidden_V
        self._text = text_of(request, vocabulary)
        self._num_told = 0
        self._lookup = PromptLookup()
        self._bias_V = _bias(request.sampling.logit_bias, like_V=forbidden_V) if request.sampling.logit_bias else None
        self._penalties: Penalties | None = None
        if request.sampling.has_penalties:
            self._penalties = Penalties(request.sampling, request.prompt.token_ids, vocab_size=len(forbidden_V))

    def shape(self, logits_SV: Tensor) -> Tensor:
        """Apply the penalties and take out what free text cannot hold: special tokens, unused rows."""
        logits_V = logits_SV[0] if self._penalties is None else self._penalties(logits_SV[0])
        logits_V = logits_V if self._bias_V is None else logits_V + self._bias_V
        logits_V = logits_V.masked_fill(self._forbidden_V, -float("inf"))
        if blocked := blocked_tokens(self.token_ids, self.request.sampling, stop_ids=self._stop_ids):
            logits_V[sorted(blocked)] = -float("inf")
        if self._form is not None:
            forbidden_V = self._form.forbidden(num_left=self.request.max_tokens - len(self.token_ids))
            logits_V = logits_V.masked_fill(forbidden_V.to(logits_V.device), -float("inf"))
        return logits_V

    def accept(self, drawn: int, log_prob: float) -> None:
        """Add the token to the text; a token that may belong to a stop text is told only when it turns out not to."""
        if drawn in self._stop_ids:
            del self.alternatives[len(self.token_ids) :]
            self._end(FinishReason.STOP)
            return
        self.token_ids.append(drawn)
        self.log_probs.append(log_prob)
        if self._penalties is not None:
            self._penalties.record(drawn)
        self._tell(self._text.push(drawn))
        if self._text.is_stopped:
            self.finish_reason = FinishReason.STOP
        elif self._form is not None and self._has_form(self._form, drawn):
            self._end(FinishReason.STOP)
        elif len(self.token_ids) >= self.request.max_tokens:
            self._end(FinishReason.LENGTH)

    def guess(self, max_tokens: int) -> tuple[int, ...]:
        """Return what may follow the token that the slot reads next, as far as the answer has room for it."""
        is_next_the_last = self._num_fed + 1 == len(self.token_ids)
        room = min(max_tokens, self.request.max_tokens - len(self.token_ids) - 1)
        if not self.request.sampling.prompt_lookup or not is_next_the_last or room < 1:
            return ()
        if not self._lookup:
            self._lookup.read(self.request.prompt.token_ids)
        self._lookup.read(self.token_ids[len(self._lookup) - len(self.request.prompt) :])
        return self._lookup.guess(room)

    def completion(self) -> Completion:
        """Return the tokens that lie wholly before any stop text, and the exact text."""
        num_kept = self._text.num_released_tokens
        return Completion(
            finish_reason=self.finish_reason or FinishReason.LENGTH,
            token_ids=tuple(self.token_ids[:num_kept]),
            token_log_probs=tuple(self.log_probs[:num_kept]),
            alternatives=tuple(self.alternatives[:num_kept]),
            text=self._text.text,
        )

    def _has_form(self, form: FormReader, drawn: int) -> bool:
        """Read on in the form; whether the answer is complete, or has its form and no more room."""
        form.read(self._vocabulary.decode_bytes((drawn,)))
        return form.is_complete or (form.may_end and len(self.token_ids) >= self.request.max_tokens)

    def _end(self, reason: FinishReason) -> None:
        self._tell(self._text.finish())
        self.finish_reason = reason

    def _tell(self, text: str) -> None:
        num_certain = self._text.num_released_tokens
        if self.request.on_token is not None:
            for place in range(self._num_told, num_certain):
                if self.request.on_alternatives is not None and self.alternatives:
                    self.request.on_alternatives(self.alternatives[place])
                self.request.on_token(self.token_ids[place], self.log_probs[place])
        self._num_told = num_certain
        if self.request.on_text is not None and text:
            self.request.on_text(text)


class PictureAnswer(DrawnAnswer):
    """A picture: exactly one image code for each cell, row by row."""

    def __init__(self, request: Request, *, slots: Sequence[int], grid: ImageGrid) -> None:
        super().__init__(request, slots=slots)
        self._grid = grid
        self._logits_SV: Tensor | None = None  # of the code that comes next, where candidates are compared
        self._wish_ratio = 0.0

    def grid_id_of(self, number: int) -> int:
        """Return the number itself: cells are filled in order."""
        return number

    def shape(self, logits_SV: Tensor) -> Tensor:
        """Move towards the wish, if asked to, among the codes the picture may hold."""
        logits_SV = logits_SV[:, : self._grid.num_codes]
        if len(self.slots) == 1:
            return logits_SV[0]
        if self.request.sampling.num_candidates > 1:
            self._logits_SV = logits_SV
        scale = scale_at(len(self.token_ids), num_cells=self._grid.num_tokens, sampling=self.request.sampling)
        return guide(logits_SV[0], logits_SV[1], scale=scale)

    def accept(self, drawn: int, log_prob: float) -> None:
        """Add one code; the picture is complete when every cell has one."""
        if self._logits_SV is not None:
            self._wish_ratio += wish_ratio(self._logits_SV[0], self._logits_SV[1], drawn)
        self.token_ids.append(self._grid.first_code_id + drawn)
        self.log_probs.append(log_prob)
        if self.request.on_token is not None:
            self.request.on_token(self.token_ids[-1], log_prob)
        if len(self.token_ids) == self._grid.num_tokens:
            self.finish_reason = FinishReason.STOP

    def completion(self) -> Completion:
        """Return all codes."""
        return Completion(
            token_ids=tuple(self.token_ids),
            token_log_probs=tuple(self.log_probs),
            wish_ratio=None if self._logits_SV is None else self._wish_ratio,
        )


def _bias(pairs: Sequence[tuple[int, float]], *, like_V: Tensor) -> Tensor:
    """Return what is added to each logit."""
    bias_V = torch.zeros(like_V.shape, device=like_V.device)
    bias_V[[token_id for token_id, _ in pairs]] = torch.tensor([bias for _, bias in pairs], device=like_V.device)
    return bias_V


def text_of(request: Request, vocabulary: Vocabulary) -> AnswerText:
    """Return what turns the tokens of a request's answer into its text."""
    decoding = request.prompt.decoding
    drops_space = isinstance(decoding, Text) and decoding.drops_first_space
    return AnswerText(vocabulary, stop=request.sampling.stop, drops_first_space=drops_space)
