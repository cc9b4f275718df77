"""Answers token by token: they join and leave between steps, and each step gives one token to all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from banyan.infer.answer_maker import AnswerMaker
from banyan.infer.answers import Answer, DrawnAnswer, PictureAnswer, TextAnswer
from banyan.infer.beam_answer import BeamAnswer
from banyan.infer.forward import num_idle_tokens
from banyan.infer.prefix_cache import PrefixCache
from banyan.infer.prompt_reading import PromptReading, read_in_turn
from banyan.infer.requests import Alternatives, Request
from banyan.infer.samplers import draw_tokens
from banyan.infer.slots import SlotModel
from banyan.model.transformer import Transformer
from banyan.tokenizers.vocabulary import Vocabulary

_HEADROOM = 16  # tokens for every answer, before one is taken up; or it were set aside again at once


class Decoder:
    """Keeps the answers in the making. An error of one request ends that request and nothing else.

    With a bound on the tokens that all slots together may hold, the youngest answers are set aside when it is reached.
    They are taken up again as they were: their prompts are read anew, and what they had written goes through the same
    steps as before, so not a bit of them changes.

    Where rows of a step are idle, up to `max_lookup_tokens` guesses behind the next token of each text are read in the
    same step; as far as they turn out to be what is drawn, a step gives several tokens, which are the same as without.
    """

    def __init__(
        self,
        model: Transformer,
        vocabulary: Vocabulary,
        *,
        num_slots: int,
        prefix_cache_bytes: int = 0,
        max_held_tokens: int | None = None,
        max_lookup_tokens: int = 0,
    ) -> None:
        self._model = model
        self._maker = AnswerMaker(vocabulary, text_vocab_size=model.config.text_vocab_size, device=model.device)
        self._slots = SlotModel(model, num_slots=num_slots)
        self._prefixes = PrefixCache(max_bytes=prefix_cache_bytes)
        self._max_held_tokens = math.inf if max_held_tokens is None else max_held_tokens
        self._max_lookup_tokens = max_lookup_tokens
        self._reading: list[PromptReading] = []
        self._live: list[Answer] = []  # the oldest first
        self._aside: list[DrawnAnswer] = []  # the oldest first
        self.num_set_aside = 0  # times that an answer was
        self.num_guessed = 0  # tokens that were guessed ahead
        self.num_guessed_right = 0  # of these, tokens that became part of an answer

    @property
    def num_live(self) -> int:
        """Answers in the making."""
        return len(self._reading) + len(self._live) + len(self._aside)

    @property
    def num_writing(self) -> int:
        """Answers of which a token has been drawn."""
        return len(self._live)

    @property
    def num_free_slots(self) -> int:
        """Slots that a new request may have; none while others have been set aside for want of room."""
        is_full = bool(self._aside) or self._slots.num_held_tokens >= self._max_held_tokens
        return 0 if is_full else self._slots.num_free

    def start(self, request: Request) -> None:
        """Give a request free slots; its prompt is read by `read`."""
        request.ticket.has_begun = True
        slots = self._slots.take(request.num_slots)
        try:
            answer = self._maker.make(request, slots)
        except Exception as error:
            self._slots.give_back(slots)
            request.ticket.fail(error)
            return
        self._reading.append(PromptReading(answer, self._slots, self._prefixes))

    def read(self, num_tokens: int) -> None:
        """Read so many tokens of the prompts that wait for it, a piece of each in turn, and begin their answers."""
        self._retire()
        self._take_up()
        while self._reading and num_tokens > 0:
            num_tokens -= self._read_pieces(num_tokens)
            self._begin([reading for reading in self._reading if reading.answer.is_over or reading.is_done])
        self._retire()

    def step(self) -> None:
        """Take the next token of every answer in the making."""
        self._retire()
        self._make_room()
        live = list(self._live)
        if live:
            self._try(live, lambda: self._take_step(live))
            self._retire()

    def fail_all(self, error: BaseException) -> None:
        """End every answer in the making with an error."""
        for answer in [*self._live, *self._aside, *(reading.answer for reading in self._reading)]:
            answer.request.ticket.fail(error)
        self.read(0)

    def _read_pieces(self, num_tokens: int) -> int:
        """Read pieces in one pass, let whose turn it was wait behind the others, and return how many tokens it were."""
        readings = [reading for reading in self._reading if not reading.answer.is_over]
        try:
            num_read = read_in_turn(readings, self._slots, num_tokens=num_tokens)
        except Exception:  # one after another, so that only whose fault it is fails
            num_read = {}
            for reading in readings:
                self._try([reading.answer], lambda own=reading: num_read.update(self._read_alone(own)))  # type: ignore[misc]
        self._reading.sort(key=lambda reading: reading in num_read)
        return max(1, sum(num_read.values()))

    def _read_alone(self, reading: PromptReading) -> dict[PromptReading, int]:
        return read_in_turn([reading], self._slots, num_tokens=1)

    def _begin(self, readings: Sequence[PromptReading]) -> None:
        """Let answers take part in the steps; new ones get their first token at once."""
        for reading in readings:
            self._reading.remove(reading)
            reading.answer.num_cached_tokens = reading.num_cached_tokens
            self._live.append(reading.answer)
        new = [reading for reading in readings if reading.answer.is_ready and not reading.answer.is_over]
        if new:
            answers = [reading.answer for reading in new]
            hidden_ND = torch.cat([reading.hidden_SD for reading in new])
            # As many rows as never round otherwise, whoever begins beside.
            hidden_ND = F.pad(hidden_ND, (0, 0, 0, num_idle_tokens(len(hidden_ND))))
            slots = [slot for reading in new for slot in reading.slots]
            self._try(answers, lambda: self._draw(answers, hidden_ND, slots))

    def _take_step(self, live: Sequence[Answer]) -> None:
        guesses = self._guess(live)
        fed = {slot: own for answer in live for slot, own in answer.fed.items()}
        hidden_ND = self._slots.advance(fed, guesses={answer.slots[0]: own for answer, own in guesses.items()})
        for answer in live:
            if isinstance(answer, DrawnAnswer):
                answer.note_step()
        ready = [answer for answer in live if answer.is_ready]
        self._draw(ready, hidden_ND, range(self._slots.num_slots), guesses=guesses)

    def _guess(self, live: Sequence[Answer]) -> dict[TextAnswer, tuple[int, ...]]:
        """Return guesses behind the next tokens of the texts in the making, for which there are rows and room."""
        if not self._max_lookup_tokens:
            return {}
        texts = [answer for answer in live if isinstance(answer, TextAnswer)]
        room = min(self._slots.num_idle_rows, self._max_held_tokens - self._slots.num_held_tokens - len(live))
        guesses: dict[TextAnswer, tuple[int, ...]] = {}
        for num_before, answer in enumerate(texts):
            share = max(1, room // (len(texts) - num_before)) if room >= 1 else 0
            if own := answer.guess(int(min(share, self._max_lookup_tokens))):
                guesses[answer] = own
                room -= len(own)
        self.num_guessed += sum(map(len, guesses.values()))
        return guesses

    def _make_room(self) -> None:
        """Set the youngest answers aside until the next step fits; the oldest always goes on, so all come to an end."""
        while len(self._live) > 1 and self._slots.num_held_tokens + len(self._live) > self._max_held_tokens:
            youngest = next((answer for answer in self._live[:0:-1] if isinstance(answer, DrawnAnswer)), None)
            if youngest is None:  # searches have many beginnings to lose; they are let be
                return
            self._live.remove(youngest)
            self._slots.give_back(youngest.slots)
            youngest.set_aside()
            self._aside.insert(0, youngest)
            self.num_set_aside += 1

    def _take_up(self) -> None:
        """Give slots to those that were set aside, the oldest first, as far as there is room again."""
        while self._aside and self._has_room(self._aside[0]):
            answer = self._aside.pop(0)
            answer.take_up(self._slots.take(answer.request.num_slots))
            self._reading.append(PromptReading(answer, self._slots, self._prefixes))

    def _has_room(self, answer: DrawnAnswer) -> bool:
        if not self._live and not self._reading:
            return True
        num_tokens = answer.request.num_tokens + answer.request.num_slots * len(answer.token_ids)
        fits = self._slots.num_held_tokens + num_tokens + _HEADROOM * self.num_live <= self._max_held_tokens
        return fits and answer.request.num_slots <= self._slots.num_free

    def _draw(
        self,
        answers: Sequence[Answer],
        hidden_ND: Tensor,
        slots: Sequence[int],
        *,
        guesses: Mapping[TextAnswer, tuple[int, ...]] | None = None,
    ) -> None:
        """Take one token for each answer, and more behind guesses that were right.

        Row n of the hidden states belongs to `slots[n]`.
        """
        row_of = {slot: row for row, slot in enumerate(slots)}
        pictures = [answer for answer in answers if isinstance(answer, PictureAnswer)]
        texts = [answer for answer in answers if isinstance(answer, TextAnswer)]
        searches = [answer for answer in answers if isinstance(answer, BeamAnswer)]
        if pictures:
            self._draw_group(pictures, self._model.image_logits(hidden_ND).float(), row_of)
        if texts or searches:
            logits_NV = self._model.logits(hidden_ND).float()
            self._draw_group(texts, logits_NV, row_of)
            self._draw_behind(guesses or {}, logits_NV)
            for search in searches:
                rows = [row_of[slot] for slot in search.live_slots]
                self._try([search], lambda s=search, r=rows: self._widen(s, logits_NV[r]))  # type: ignore[misc]

    def _draw_behind(self, guesses: Mapping[TextAnswer, tuple[int, ...]], logits_NV: Tensor) -> None:
        """Go on with the texts whose drawn token is the one that was guessed, and so has been read already."""
        num_right = dict.fromkeys(guesses, 0)
        going_on = list(guesses)
        while going_on := [a for a in going_on if not a.is_over and _is_next(guesses[a], num_right[a], a.token_ids)]:
            for answer in going_on:
                num_right[answer] += 1
                answer.note_step()
            rows = {answer.slots[0]: self._slots.rows_of(answer.slots[0])[num_right[answer]] for answer in going_on}
            self._draw_group(going_on, logits_NV, rows)
        for answer, number in num_right.items():
            self._slots.keep(answer.slots[0], num_guesses=number)
        self.num_guessed_right += sum(num_right.values())

    def _widen(self, search: BeamAnswer, logits_NV: Tensor) -> None:
        for target, source in search.widen(logits_NV).items():
            self._slots.copy(source, target)

    def _draw_group(self, answers: Sequence[DrawnAnswer], logits_NV: Tensor, row_of: Mapping[int, int]) -> None:
        shaped: dict[DrawnAnswer, tuple[Tensor, Tensor]] = {}
        for answer in answers:
            own = logits_NV[[row_of[slot] for slot in answer.slots]]
            self._try([answer], lambda a=answer, own=own: shaped.update({a: (own[0], a.shape(own))}))  # type: ignore[misc]
        if not shaped:
            return
        drawn = draw_tokens(torch.stack([logits_V for _, logits_V in shaped.values()]), [a.draw for a in shaped])
        # What is reported is the model's own opinion, before anything the request asked for changed it.
        log_probs_NV = torch.stack([logits_V for logits_V, _ in shaped.values()]).log_softmax(dim=-1)
        log_probs: list[float] = log_probs_NV[range(len(drawn)), drawn].tolist()
        for row, answer in enumerate(shaped):
            if number := answer.request.sampling.num_alternatives:
                answer.alternatives.append(_likeliest(log_probs_NV[row], number))
        for answer, token, log_prob in zip(shaped, drawn, log_probs, strict=True):
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
        self._aside = [answer for answer in self._aside if not answer.is_over]
        given_up = [reading for reading in self._reading if reading.answer.is_over]
        for reading in given_up:
            self._reading.remove(reading)
            self._slots.give_back(reading.answer.slots)
        for answer in [answer for answer in self._live if answer.is_over]:
            self._live.remove(answer)
            self._slots.give_back(answer.slots)
            if answer.finish_reason is not None:
                completion = replace(answer.completion(), num_cached_tokens=answer.num_cached_tokens)
                answer.request.ticket.succeed(completion)


def _likeliest(log_probs_V: Tensor, number: int) -> Alternatives:
    """Return the likeliest tokens with their log-probabilities, of one row alone, so that company changes nothing."""
    best = log_probs_V.topk(min(number, len(log_probs_V)))
    return tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def _is_next(guessed: Sequence[int], number: int, token_ids: Sequence[int]) -> bool:
    """Whether the last token of an answer is the next one that was guessed."""
    return number < len(guessed) and guessed[number] == token_ids[-1]
