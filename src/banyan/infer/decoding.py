"""Answers token by token: they join and leave between steps, and each step gives one token to all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from banyan.core.types import NO_GRID, ImageGrid, Text
from banyan.infer.answers import Answer, DrawnAnswer, PictureAnswer, TextAnswer
from banyan.infer.beam_answer import BeamAnswer
from banyan.infer.requests import Request
from banyan.infer.samplers import draw_tokens
from banyan.infer.slots import SlotModel
from banyan.model.transformer import Transformer
from banyan.tokenizers.vocabulary import Vocabulary


class Decoder:
    """Keeps the answers in the making. An error of one request ends that request and nothing else."""

    def __init__(self, model: Transformer, vocabulary: Vocabulary, *, num_slots: int) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._slots = SlotModel(model, num_slots=num_slots)
        self._forbidden: dict[frozenset[int], Tensor] = {}
        self._live: list[Answer] = []

    @property
    def num_live(self) -> int:
        """Answers in the making."""
        return len(self._live)

    @property
    def num_free_slots(self) -> int:
        """Slots that nobody holds."""
        return self._slots.num_free

    def start(self, request: Request) -> None:
        """Read a prompt into free slots and draw the first token of its answer."""
        slots = self._slots.take(request.num_slots)
        try:
            answer = self._new_answer(request, slots)
        except Exception as error:
            self._slots.give_back(slots)
            request.ticket.fail(error)
            return
        self._live.append(answer)
        self._try([answer], lambda: self._draw([answer], self._read(answer), answer.slots))
        self._retire()

    def step(self) -> None:
        """Take the next token of every answer in the making."""
        self._retire()
        live = list(self._live)
        if live:
            self._try(live, lambda: self._draw(live, self._advance(live), range(self._slots.num_slots)))
            self._retire()

    def fail_all(self, error: BaseException) -> None:
        """End every answer in the making with an error."""
        for answer in self._live:
            answer.request.ticket.fail(error)
        self._retire()

    def _new_answer(self, request: Request, slots: Sequence[int]) -> Answer:
        decoding = request.prompt.decoding
        if isinstance(decoding, ImageGrid):
            return PictureAnswer(request, slots=slots, grid=decoding)
        assert isinstance(decoding, Text), f"{decoding} is not answered token by token"
        stop_ids = frozenset(decoding.stop_token_ids)
        forbidden_V = self._forbidden_tokens(stop_ids)
        way = BeamAnswer if request.sampling.num_beams > 1 else TextAnswer
        return way(request, slots=slots, vocabulary=self._vocabulary, stop_ids=stop_ids, forbidden_V=forbidden_V)

    def _forbidden_tokens(self, stop_ids: frozenset[int]) -> Tensor:
        """Return which columns of the text logits may not be drawn: all but ordinary tokens and these stop tokens."""
        if stop_ids not in self._forbidden:
            size = self._model.config.text_vocab_size
            is_allowed = [self._vocabulary.is_text(token) or token in stop_ids for token in range(size)]
            self._forbidden[stop_ids] = ~torch.tensor(is_allowed, device=self._model.device)
        return self._forbidden[stop_ids]

    def _read(self, answer: Answer) -> Tensor:
        """Return the last hidden state of each of the answer's prompts, (its slots, D)."""
        request = answer.request
        mask, adapter = request.prompt.mask, request.adapter
        read = self._slots.read_prompt
        # All beams begin with one prompt, so there may be more slots than prompts.
        pairs = zip(answer.slots, request.branches, strict=False)
        return torch.cat(
            [
                read(slot, token_ids, mask=mask, grid_ids=_cells(answer, len(token_ids)), adapter=adapter)
                for slot, token_ids in pairs
            ]
        )

    def _advance(self, live: Sequence[Answer]) -> Tensor:
        """Return the hidden state of every slot after its answer's last token, (num_slots, D)."""
        return self._slots.advance({slot: fed for answer in live for slot, fed in answer.fed.items()})

    def _draw(self, answers: Sequence[Answer], hidden_ND: Tensor, slots: Sequence[int]) -> None:
        """Take one token for each answer; row n of the hidden states belongs to `slots[n]`."""
        row_of = {slot: row for row, slot in enumerate(slots)}
        pictures = [answer for answer in answers if isinstance(answer, PictureAnswer)]
        texts = [answer for answer in answers if isinstance(answer, TextAnswer)]
        searches = [answer for answer in answers if isinstance(answer, BeamAnswer)]
        if pictures:
            self._draw_group(pictures, self._model.image_logits(hidden_ND).float(), row_of)
        if texts or searches:
            logits_NV = self._model.logits(hidden_ND).float()
            self._draw_group(texts, logits_NV, row_of)
            for search in searches:
                rows = [row_of[slot] for slot in search.live_slots]
                self._try([search], lambda s=search, r=rows: self._widen(s, logits_NV[r]))  # type: ignore[misc]

    def _widen(self, search: BeamAnswer, logits_NV: Tensor) -> None:
        for target, source in search.widen(logits_NV).items():
            self._slots.copy(source, target)

    def _draw_group(self, answers: Sequence[DrawnAnswer], logits_NV: Tensor, row_of: Mapping[int, int]) -> None:
        if not answers:
            return
        logits = [logits_NV[[row_of[slot] for slot in answer.slots]] for answer in answers]
        shaped_NV = torch.stack([answer.shape(own) for answer, own in zip(answers, logits, strict=True)])
        drawn = draw_tokens(shaped_NV, [answer.draw for answer in answers])
        # What is reported is the model's own opinion, before anything the request asked for changed it.
        log_probs_NV = torch.stack([own[0] for own in logits]).log_softmax(dim=-1)
        log_probs: list[float] = log_probs_NV[range(len(drawn)), drawn].tolist()
        for answer, token, log_prob in zip(answers, drawn, log_probs, strict=True):
            self._try([answer], lambda a=answer, t=token, p=log_prob: a.accept(t, p))  # type: ignore[misc]

    @staticmethod
    def _try(answers: Sequence[Answer], work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            for answer in answers:
                answer.request.ticket.fail(error)

    def _retire(self) -> None:
        """Hand over the answers that are over and free their slots."""
        for answer in [answer for answer in self._live if answer.is_over]:
            self._live.remove(answer)
            self._slots.give_back(answer.slots)
            if answer.finish_reason is not None:
                answer.request.ticket.succeed(answer.completion())


def _cells(answer: Answer, num_tokens: int) -> tuple[int, ...]:
    """Return the picture cell that each position of a prompt predicts: of the picture it shows, or that is drawn."""
    if answer.next_grid_id == NO_GRID:
        return answer.request.prompt.grid_ids
    return (*[NO_GRID] * (num_tokens - 1), answer.next_grid_id)
