"""Questions to the store: the newest requests, one request, a text in any of them, how many of each.

Everything is read in pages, so that memory stays flat and no reader holds up the writer for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from banyan.core.config import config
from banyan.core.errors import ConfigError, InputError
from banyan.store.codec import strings_in
from banyan.store.database import Database
from banyan.store.exchanges import load_artifact, load_exchanges
from banyan.store.key_types import StoreMode
from banyan.store.schema import ApiKeyRow, DeadLetterRow, FeedbackRow, ModelRow, OutputRow, RequestRow
from banyan.store.types import RequestState, StoredArtifact, StoredExchange

_PAGE_ROWS = 200
_ID_CHARACTERS = 26  # of a ULID
_MIN_ID_CHARACTERS = 6
_NOT_SAID = (  # keys of a body that hold settings
    *("model", "user", "role", "response_format", "stream_options"),
    *("source_language", "target_language"),
)


@config
class RequestFilter:
    """Which requests a question is about; every field that is set must fit."""

    task: str | None = None
    state: RequestState | None = None
    model: str | None = None
    endpoint: str | None = None
    session: str | None = None
    api_key_id: str | None = None
    since: int | None = None  # received at or after, UTC microseconds
    for_training: bool = False  # only what models may be trained on: see `may_train`
    judged: bool = False  # only what somebody rated or corrected
    before_id: str | None = None  # strictly older than this request, for the next page
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit={self.limit} shows nothing; it must be at least 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPage:
    """What a search has found so far."""

    hits: tuple[StoredExchange, ...]
    read_until: str | None  # the oldest request that was looked at, to go on before; None: no older one is left


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreCounts:
    """How much is stored."""

    num_requests: int
    num_outputs: int
    num_dead_letters: int
    by_state: dict[str, int]
    by_task: dict[str, int]


class StoreQueries:
    """Reads one store. Safe to use from many threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, wanted: RequestFilter | None = None) -> list[StoredExchange]:
        """Return the fitting requests, the newest first."""
        return list(self.iterate(wanted))

    def iterate(self, wanted: RequestFilter | None = None, *, with_artifacts: bool = True) -> Iterator[StoredExchange]:
        """Yield the fitting requests, the newest first, page by page."""
        wanted = wanted or RequestFilter()
        left = wanted.limit
        while left is None or left > 0:
            page = self._page(wanted, min(left or _PAGE_ROWS, _PAGE_ROWS), with_artifacts=with_artifacts)
            yield from page
            if len(page) < min(left or _PAGE_ROWS, _PAGE_ROWS):
                return
            left = None if left is None else left - len(page)
            wanted = replace(wanted, before_id=page[-1].request.request_id)

    def show(self, request_id: str, *, api_key_id: str | None = None) -> StoredExchange:
        """Return one request by its id, the beginning of its id, or `last` for the newest; with a key, one of its own.

        Raises: InputError if none fits, or several do.
        """
        with self._database.read() as connection:
            key = _find_id(connection, request_id, api_key_id)
            return load_exchanges(connection, [key])[0]

    def search(self, text: str, wanted: RequestFilter | None = None) -> Iterator[StoredExchange]:
        """Yield the requests whose prompt or answer contains a text, in any script, upper and lower case alike.

        Raises: ConfigError for an empty text.
        """
        wanted = wanted or RequestFilter()
        hits = (self._whole(key) for key, fits in self._looked_at(text, wanted) if fits)
        yield from islice(chain.from_iterable(hits), wanted.limit)

    def search_page(
        self, text: str, wanted: RequestFilter, *, is_over: Callable[[], bool] = lambda: False
    ) -> SearchPage:
        """Return what `search` finds, without pictures, up to the filter's limit, or until `is_over` says so.

        Raises: as `search`.
        """
        found: list[StoredExchange] = []
        last: str | None = None
        for key, fits in self._looked_at(text, wanted):
            if last is not None and (len(found) == wanted.limit or is_over()):
                return SearchPage(hits=tuple(found), read_until=last)
            found.extend(self._whole(key, with_artifacts=False) if fits else ())
            last = key
        return SearchPage(hits=tuple(found), read_until=None)

    def _looked_at(self, text: str, wanted: RequestFilter) -> Iterator[tuple[str, bool]]:
        """Yield every fitting request with whether it contains a text."""
        needle = text.casefold()
        if not needle:
            raise ConfigError("an empty text is in every answer; give a word to search for.")
        for exchange in self.iterate(replace(wanted, limit=None), with_artifacts=False):
            said = chain(texts_asked(exchange), texts_answered(exchange))
            yield exchange.request.request_id, any(needle in part.casefold() for part in said)

    def _whole(self, key: str, *, with_artifacts: bool = True) -> list[StoredExchange]:
        """Return a request with all that belongs to it; nothing if it was deleted meanwhile."""
        with self._database.read() as connection:
            return load_exchanges(connection, [key], with_artifacts=with_artifacts)

    def artifact(self, sha256: str) -> StoredArtifact | None:
        """Return a stored picture by its name, or None."""
        with self._database.read() as connection:
            return load_artifact(connection, sha256)

    def count(self, wanted: RequestFilter) -> int:
        """Return how many requests fit; the filter's limit is none of it."""
        with self._database.read() as connection:
            fitting = select(func.count()).select_from(RequestRow).join(ModelRow, ModelRow.id == RequestRow.model_id)
            return connection.scalar(fitting.where(*conditions(connection, wanted))) or 0

    def counts(self) -> StoreCounts:
        """Return how much is stored, by state and by task."""
        with self._database.read() as connection:
            by_state = _count_by(connection, RequestRow.state)
            return StoreCounts(
                num_requests=sum(by_state.values()),
                num_outputs=connection.scalar(select(func.count()).select_from(OutputRow)) or 0,
                num_dead_letters=connection.scalar(select(func.count()).select_from(DeadLetterRow)) or 0,
                by_state=by_state,
                by_task=_count_by(connection, RequestRow.task),
            )

    def _page(self, wanted: RequestFilter, size: int, *, with_artifacts: bool) -> list[StoredExchange]:
        with self._database.read() as connection:
            newest = select(RequestRow.id).join(ModelRow, ModelRow.id == RequestRow.model_id)
            newest = newest.where(*conditions(connection, wanted))
            newest = newest.order_by(RequestRow.received_at.desc(), RequestRow.id.desc()).limit(size)
            ids = list(connection.scalars(newest))
            return load_exchanges(connection, ids, with_artifacts=with_artifacts)


def texts_asked(exchange: StoredExchange) -> Iterator[str]:
    """Yield what was asked, the newest words of a conversation last."""
    yield from strings_in(exchange.request.body, without=_NOT_SAID)
    yield from strings_in(exchange.request.source, without=_NOT_SAID)
    yield from strings_in(exchange.request.sources, without=_NOT_SAID)


def texts_answered(exchange: StoredExchange) -> Iterator[str]:
    """Yield what was answered so far."""
    yield exchange.partial_text
    for output in exchange.answer.outputs if exchange.answer else ():
        yield output.text


def conditions(connection: Connection, wanted: RequestFilter) -> Iterator[ColumnElement[bool]]:
    """Yield what rows of requests, joined with their models, must fulfil to fit a filter; its limit is none of it.

    Requests whose content was erased fit none.
    Raises: InputError if `before_id` names no request.
    """
    yield RequestRow.erased_at.is_(None)
    equal: dict[InstrumentedAttribute[Any], str | None] = {
        RequestRow.task: wanted.task,
        RequestRow.state: wanted.state and str(wanted.state),
        ModelRow.name: wanted.model,
        RequestRow.endpoint: wanted.endpoint,
        RequestRow.session_id: wanted.session,
        RequestRow.api_key_id: wanted.api_key_id,
    }
    for column, value in equal.items():
        if value is not None:
            yield column == value
    if wanted.for_training:
        yield may_train()
    if wanted.judged:
        says_something = or_(FeedbackRow.rating.is_not(None), FeedbackRow.correction.is_not(None))
        yield exists().where(FeedbackRow.request_id == RequestRow.id, says_something)
    if wanted.since is not None:
        yield RequestRow.received_at >= wanted.since
    if wanted.before_id is not None:
        yield _older_than(connection, wanted.before_id, wanted.api_key_id)


def may_train() -> ColumnElement[bool]:
    """Return the condition on requests that models may be trained on.

    They came without a key (from this machine itself), or their key allows it now; and their content was kept.
    """
    allowed = select(ApiKeyRow.id).where(ApiKeyRow.training_ok.is_(True))
    is_allowed = or_(RequestRow.api_key_id.is_(None), RequestRow.api_key_id.in_(allowed))
    return and_(is_allowed, RequestRow.store_mode.in_((str(StoreMode.FULL), str(StoreMode.REDACTED))))


def _older_than(connection: Connection, request_id: str, api_key_id: str | None) -> ColumnElement[bool]:
    at = connection.scalar(select(RequestRow.received_at).where(RequestRow.id == request_id, *_of(api_key_id)))
    if at is None:
        raise InputError(f"there is no stored request {request_id!r}.")
    same_time = and_(RequestRow.received_at == at, RequestRow.id < request_id)
    return or_(RequestRow.received_at < at, same_time)


def _of(api_key_id: str | None) -> Iterator[ColumnElement[bool]]:
    """Yield the condition that a request came with a key.

    Asked of the database, what is somebody else's takes as long as what is not there.
    """
    if api_key_id is not None:
        yield RequestRow.api_key_id == api_key_id


def _find_id(connection: Connection, text: str, api_key_id: str | None) -> str:
    is_there = RequestRow.erased_at.is_(None)
    newest = select(RequestRow.id).where(is_there, *_of(api_key_id))
    newest = newest.order_by(RequestRow.received_at.desc(), RequestRow.id.desc()).limit(2)
    if text == "last":
        found = list(connection.scalars(newest))[:1]
    else:
        is_usable = text.isascii() and text.isalnum() and len(text) >= _MIN_ID_CHARACTERS
        # A whole id is looked up; a LIKE would read every request there is.
        is_whole = len(text) == _ID_CHARACTERS
        fits = RequestRow.id == text.upper() if is_whole else RequestRow.id.startswith(text.upper())
        found = list(connection.scalars(newest.where(fits))) if is_usable else []
    if not found:
        raise InputError(f"there is no stored request {text!r}.", hint="banyan outputs list shows the newest")
    if len(found) > 1:
        raise InputError(f"several stored requests begin with {text!r}.", hint="give more of the id")
    return found[0]


def _count_by(connection: Connection, column: InstrumentedAttribute[str]) -> dict[str, int]:
    counted = select(column, func.count()).group_by(column).order_by(func.count().desc(), column)
    return {str(name): int(count) for name, count in connection.execute(counted)}
