"""One request from accepted to answered: commit it, ask the model, commit the answer, and only then hand it over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from banyan.core.logging import log_event
from banyan.core.types import Completion, ImageGrid, Prompt, Text
from banyan.infer.sampling import SamplingConfig
from banyan.serve.errors import ApiError, as_api_error, called_off, where_raised
from banyan.serve.openai_shapes import Delta, ScoredToken, Usage
from banyan.serve.parts import ServerParts
from banyan.serve.quotas import Spent
from banyan.serve.recording import Record
from banyan.serve.served_model import Piece, ServedModel
from banyan.store.types import StoredOutput, StoredRequest

logger = logging.getLogger("banyan.serve")

R = TypeVar("R")  # the result of some work


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One prompt for the model, and how to choose its answer."""

    prompt: Prompt
    sampling: SamplingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One answer."""

    index: int
    prompt: Prompt
    completion: Completion
    text: str
    tokens: tuple[ScoredToken, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a request got: its choices, and what the store keeps of them."""

    choices: tuple[Choice, ...]
    outputs: tuple[StoredOutput, ...]

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """Why each choice ended."""
        return tuple(str(choice.completion.finish_reason) for choice in self.choices)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A whole request: what the store keeps of it, its questions, and how its answers are kept."""

    stored: StoredRequest
    questions: tuple[Question, ...]
    as_outputs: Callable[[Sequence[Choice]], Sequence[StoredOutput]]
    choices_per_prompt: int = 1
    max_seconds: float | None = None  # until the whole answer; None: what the server allows

    def usage(self, choices: Sequence[Choice]) -> Usage:
        """Count the tokens of the request and its answers; a prompt asked for several times counts once."""
        return Usage(
            num_prompt_tokens=self.stored.num_prompt_tokens,
            num_completion_tokens=sum(len(choice.completion.token_ids) for choice in choices),
            num_cached_tokens=sum(
                choice.completion.num_cached_tokens for choice in choices if choice.index % self.choices_per_prompt == 0
            ),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished(Generic[R]):
    """What some work came to, and what the store keeps of it."""

    result: R
    outputs: tuple[StoredOutput, ...] = ()
    num_completion_tokens: int = 0
    num_cached_tokens: int = 0  # of the prompts, that were not read again


class Listener(Protocol):
    """Who wants to see an answer grow."""

    def begin(self) -> None:
        """The request is committed; the work begins."""
        ...

    def hear(self, delta: Delta) -> None:
        """A piece of one choice is there."""
        ...


class Nobody:
    """The listener of an answer that is wanted whole."""

    def begin(self) -> None:
        """Do nothing."""

    def hear(self, delta: Delta) -> None:
        """Do nothing."""


@dataclass(slots=True)
class _Draft:
    """What has been written of one choice so far; kept even if the choice is never finished."""

    index: int
    pieces: list[str] = field(default_factory=list)
    tokens: list[ScoredToken] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


async def answer(parts: ServerParts, ask: Ask, listener: Listener | None = None) -> Answered:
    """Answer a request and return what was answered, which is committed by then.

    Raises: ApiError, before anything is stored if there is no room, afterwards for whatever the model or the store
    raises; CancelledError if the client left. The store then knows how the request ended.
    """
    listener = listener or Nobody()
    drafts = [_Draft(index) for index in range(len(ask.questions))]

    async def work(record: Record) -> Finished[Answered]:
        listener.begin()
        answers = _answer_all(parts.model, ask, drafts, record, listener)
        choices = await within_time(parts, answers, max_seconds=ask.max_seconds)
        answered = Answered(choices=choices, outputs=tuple(ask.as_outputs(choices)))
        used = ask.usage(choices)
        return Finished(
            result=answered,
            outputs=answered.outputs,
            num_completion_tokens=used.num_completion_tokens,
            num_cached_tokens=used.num_cached_tokens,
        )

    most = ask.stored.num_prompt_tokens + sum(_most_tokens(question) for question in ask.questions)
    return await recorded(parts, ask.stored, work, so_far=lambda: _so_far(drafts), max_tokens=most)


async def recorded(
    parts: ServerParts,
    stored: StoredRequest,
    work: Callable[[Record], Awaitable[Finished[R]]],
    *,
    so_far: Callable[[], Finished[None]] = lambda: Finished(result=None),
    max_tokens: int | None = None,
) -> R:
    """Do some work for a request between the two commits that every request gets, and return its result.

    `so_far` is what the store keeps if the work does not come to its end; `max_tokens` is what prompt and answer may
    cost together, where that is more than the prompt.
    Raises: as `answer`.
    """
    async with _places(parts, stored, max_tokens=max_tokens or stored.num_prompt_tokens) as spent:
        record = await _begin(parts, stored, spent)
        left = done = None
        try:
            done = await work(record)
            await record.complete(
                done.outputs,
                num_completion_tokens=done.num_completion_tokens,
                num_cached_tokens=done.num_cached_tokens,
            )
        except asyncio.CancelledError:
            left = so_far()
            await _note_cancellation(parts, record, left)
            if parts.admission.is_called_off(stored.request_id):
                raise called_off() from None
            raise
        except Exception as error:
            problem, left = as_api_error(error, request_id=stored.request_id), so_far()
            _log_failure(stored, problem, error)
            await record.fail(problem, left.outputs, num_completion_tokens=left.num_completion_tokens)
            raise problem from error
        finally:
            num_completion_tokens = (left or done or so_far()).num_completion_tokens
            spent.tokens = stored.num_prompt_tokens + num_completion_tokens
            parts.metrics.count_tokens(prompt=stored.num_prompt_tokens, completion=num_completion_tokens)
            if record.first_token_seconds is not None:
                parts.metrics.note_first_token(record.first_token_seconds)
    return done.result


async def _begin(parts: ServerParts, stored: StoredRequest, spent: Spent) -> Record:
    """Commit a request and return its record; one that cannot be committed costs its key nothing."""
    try:
        record = await parts.recorder.begin(replace(stored, store_mode=str(parts.caller.store_mode)))
    except BaseException:
        spent.tokens = 0
        raise
    if parts.caller.held is not None:
        record.hold_back()
        parts.caller.held.append(record)
    return record


@asynccontextmanager
async def _places(parts: ServerParts, stored: StoredRequest, *, max_tokens: int) -> AsyncIterator[Spent]:
    """Hold a place of the server and what the request may cost its key, and tell the caller what is left to it."""
    caller = parts.caller
    with parts.admission.place(stored.request_id, num_tokens=max_tokens):
        caller.headers["X-Content-Stored"] = str(caller.store_mode)
        if caller.key is None:
            yield Spent(at=0, tokens=max_tokens)
            return
        async with parts.quotas.place(caller.key, max_tokens=max_tokens) as spent:
            caller.headers.update(parts.quotas.headers(caller.key))
            yield spent


async def _note_cancellation(parts: ServerParts, record: Record, left: Finished[None]) -> None:
    await record.cancel(
        left.outputs, num_completion_tokens=left.num_completion_tokens, by_server=parts.admission.is_closed
    )


def _most_tokens(question: Question) -> int:
    """Return how many tokens may be written for an answer: what was asked for, or what its task allows, of each try."""
    decoding = question.prompt.decoding
    if isinstance(decoding, ImageGrid):
        return decoding.num_tokens * question.sampling.num_candidates
    allowed = decoding.max_tokens if isinstance(decoding, Text) else 1
    return (question.sampling.max_tokens or allowed) * question.sampling.num_beams


async def within_time(parts: ServerParts, work: Awaitable[R], *, max_seconds: float | None = None) -> R:
    """Wait for an answer as long as this server allows, or its client, if that is shorter.

    Raises: ApiError 504 after that.
    """
    seconds = min(parts.settings.answer_seconds, max_seconds or parts.settings.answer_seconds)
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise ApiError(504, "timeout", f"generation exceeded {seconds:g} s") from error


async def _answer_all(
    model: ServedModel, ask: Ask, drafts: list[_Draft], record: Record, listener: Listener
) -> tuple[Choice, ...]:
    work = [
        asyncio.create_task(_answer_one(model, question, draft, record, listener, owner=ask.stored.api_key_id or ""))
        for question, draft in zip(ask.questions, drafts, strict=True)
    ]
    try:
        return tuple(await asyncio.gather(*work))
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def _answer_one(
    model: ServedModel, question: Question, draft: _Draft, record: Record, listener: Listener, *, owner: str
) -> Choice:
    def hear(piece: Piece) -> None:
        # No database text can hold NUL, and what is answered must equal what is stored.
        text, ids = piece.text.replace("\0", "\ufffd"), tuple(token_id for token_id, _ in piece.tokens)
        delta = Delta(index=draft.index, text=text, tokens=_scored(model, piece), token_ids=ids)
        draft.pieces.append(delta.text)
        draft.tokens.extend(delta.tokens)
        if draft.index == 0:
            record.note_progress(draft.text)
        if delta.text or delta.tokens:
            listener.hear(delta)

    completion = await model.answer(question.prompt, question.sampling, listener=hear, owner=owner)
    tokens = tuple(draft.tokens)
    return Choice(index=draft.index, prompt=question.prompt, completion=completion, text=draft.text, tokens=tokens)


def _scored(model: ServedModel, piece: Piece) -> tuple[ScoredToken, ...]:
    alternatives = piece.alternatives or [()] * len(piece.tokens)
    return tuple(
        replace(_as_scored(model, token_id, score), alternatives=tuple(_as_scored(model, *other) for other in others))
        for (token_id, score), others in zip(piece.tokens, alternatives, strict=True)
    )


def _as_scored(model: ServedModel, token_id: int, log_prob: float) -> ScoredToken:
    """Return a token as a client reads it; one that is no text, such as the end, by its name and without bytes."""
    vocabulary = model.vocabulary
    raw = vocabulary.decode_bytes((token_id,))
    text = raw.decode(errors="replace") if vocabulary.is_text(token_id) else vocabulary.describe(token_id)
    return ScoredToken(text=text, raw=raw, log_prob=log_prob)


def _so_far(drafts: Sequence[_Draft]) -> Finished[None]:
    """Return what was written before the answer was cut off."""
    outputs = [StoredOutput(choice_index=draft.index, text=draft.text, finish_reason=None) for draft in drafts]
    return Finished(
        result=None,
        outputs=tuple(output for output in outputs if output.text),
        num_completion_tokens=sum(len(draft.tokens) for draft in drafts),
    )


def _log_failure(stored: StoredRequest, problem: ApiError, error: Exception) -> None:
    level = logging.ERROR if problem.status >= 500 else logging.INFO
    fields = {"request_id": stored.request_id, "endpoint": stored.endpoint, "code": problem.code}
    log_event(logger, "request_failed", level=level, **fields, error=where_raised(error))
