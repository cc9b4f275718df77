"""A request on its way through the engine, and the ticket its owner holds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from banyan.core.types import Completion, ImageGrid, Prompt
from banyan.infer.forms.grammar import Grammar
from banyan.infer.sampling import SamplingConfig

R = TypeVar("R")

TokenCallback: TypeAlias = Callable[[int, float], None]  # token id and its log-probability
Alternatives: TypeAlias = tuple[tuple[int, float], ...]  # the likeliest tokens of a place, the best first
AlternativesCallback: TypeAlias = Callable[[Alternatives], None]  # those of the place of the token that is told next
TextCallback: TypeAlias = Callable[[str], None]  # text that is certain: whole characters, no part of a stop text


class Ticket(Generic[R]):
    """What the engine promises: the result of one request, some time. Safe to use from any thread."""

    def __init__(self) -> None:
        self.future: Future[R] = Future()  # for asyncio.wrap_future; cancelling it cancels the request
        self.has_begun = False  # whether work on it has been done, or it has only waited

    def result(self, timeout_seconds: float | None = None) -> R:
        """Wait for the result.

        Raises: TimeoutError if it is not there in time; CancelledError after `cancel`; the request's own error.
        """
        return self.future.result(timeout_seconds)

    def cancel(self) -> bool:
        """Give the request up: its slot is free within one step. False if it had ended before."""
        return self.future.cancel()

    @property
    def is_done(self) -> bool:
        """Whether the request has ended, well or not."""
        return self.future.done()

    def succeed(self, result: R) -> None:
        """Hand over the result; nothing happens if the owner has given up."""
        with suppress(InvalidStateError):
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Hand over an error; nothing happens if the owner has given up."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request:
    """One prompt to be answered token by token."""

    prompt: Prompt
    sampling: SamplingConfig
    num_slots: int  # rows of the cache it needs at once: one, two where a wish is compared with none, one for each beam
    max_tokens: int  # the most its answer may have; the context's end is counted in
    adapter: str | None = None  # that answers it; None: the model itself
    form: Grammar | None = None  # that the answer must have
    owner: str = ""  # who asked: takes turns with others, and shares nothing remembered with them
    on_token: TokenCallback | None = None
    on_text: TextCallback | None = None
    on_alternatives: AlternativesCallback | None = None
    ticket: Ticket[Completion] = field(default_factory=Ticket)

    @property
    def is_done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.ticket.is_done

    @property
    def branches(self) -> tuple[tuple[int, ...], ...]:
        """The prompts to read: its own, and for a picture with guidance the one without its wish."""
        is_guided = isinstance(self.prompt.decoding, ImageGrid) and self.num_slots == 2
        return (self.prompt.token_ids, *([self.prompt.unconditional_token_ids] if is_guided else []))

    @property
    def num_tokens(self) -> int:
        """Tokens to read before the first one of the answer."""
        return sum(map(len, self.branches))
