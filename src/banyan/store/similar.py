"""Search by meaning: stored answers whose vectors point the way a text's does, each made once and kept.

Every vector is compared with the text's, page by page: for 100,000 answers that is one pass over the table, and memory
stays flat.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, func, select

from banyan.core.errors import ConfigError, InputError
from banyan.store.codec import unpack_text
from banyan.store.database import Database
from banyan.store.exchanges import load_exchanges
from banyan.store.queries import RequestFilter, conditions
from banyan.store.rows import insert_if_absent
from banyan.store.schema import ModelRow, OutputRow, OutputVectorRow, RequestRow
from banyan.store.times import utc_microseconds
from banyan.store.types import StoredExchange

Vectors = NDArray[np.float32]  # (texts, D), each of length 1
Embed = Callable[[Sequence[str]], Vectors]  # raises InputError if a text has no vector
Progress = Callable[[int, int], None]  # answers read so far, and in all

DEFAULT_LIMIT = 20
_READ_TOGETHER = 64  # answers
_PAGE_ROWS = 1000
_NO_TEXT = sha256(b"").hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorSpace:
    """What makes vectors comparable: the model, and what is taken of it."""

    model_sha256: str  # of its manifest
    pooling: str
    layer: int  # blocks below it


@dataclass(frozen=True, kw_only=True, slots=True)
class Similar:
    """A stored request, and how near its best answer comes to the text looked for."""

    score: float  # cosine, -1 to 1
    exchange: StoredExchange


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search came to."""

    hits: tuple[Similar, ...]  # the nearest first
    num_unread: int  # answers that would fit and have no vector yet


class SimilarAnswers:
    """Finds the answers of one store that are nearest to a text, in the vectors of one model."""

    def __init__(self, database: Database, space: VectorSpace, embed: Embed) -> None:
        self._database = database
        self._space = space
        self._embed = embed

    def search(
        self,
        text: str,
        wanted: RequestFilter | None = None,
        *,
        max_new: int | None = None,
        on_progress: Progress | None = None,
    ) -> Found:
        """Return the fitting requests with the nearest answers; as many as the filter's `limit`, or 20.

        Answers that have no vector yet get one first and keep it, the newest first and at most `max_new`.
        Raises: ConfigError for a blank text.
        """
        if not text.strip():
            raise ConfigError("an empty text is near to nothing; give a text to look for.")
        wanted = wanted or RequestFilter()
        query = self._embed([text])[0]
        num_unread = self._read_new(wanted, max_new, on_progress)
        best = self._scores(query, wanted)
        nearest = heapq.nlargest(wanted.limit or DEFAULT_LIMIT, best.items(), key=lambda item: (item[1], item[0]))
        with self._database.read() as connection:
            found = load_exchanges(connection, [key for key, _ in nearest])
        hits = tuple(Similar(score=best[exchange.request.request_id], exchange=exchange) for exchange in found)
        return Found(hits=hits, num_unread=num_unread)

    def _read_new(self, wanted: RequestFilter, max_new: int | None, on_progress: Progress | None) -> int:
        """Make the vectors that are missing and return how many are left out.

        An answer that can have none, such as broken Unicode, is passed over.
        """
        with self._database.read() as connection:
            missing = self._missing(connection, wanted).subquery()
            num_missing = connection.scalar(select(func.count()).select_from(missing)) or 0
        total = num_missing if max_new is None else min(num_missing, max_new)
        num_read, before_id = 0, None
        while texts := self._missing_texts(wanted, before_id=before_id, limit=min(_READ_TOGETHER, total - num_read)):
            self._keep(_vectors_of(texts, self._embed))
            num_read, before_id = num_read + len(texts), texts[-1][0]
            if on_progress is not None:
                on_progress(num_read, total)
        return num_missing - num_read

    def _missing_texts(self, wanted: RequestFilter, *, before_id: str | None, limit: int) -> list[tuple[str, str]]:
        if limit <= 0:
            return []
        with self._database.read() as connection:
            missing = self._missing(connection, wanted).order_by(OutputRow.id.desc()).limit(limit)
            if before_id is not None:
                missing = missing.where(OutputRow.id < before_id)
            return [(key, unpack_text(content)) for key, content in connection.execute(missing)]

    def _missing(self, connection: Connection, wanted: RequestFilter) -> Any:
        own = and_(OutputVectorRow.output_id == OutputRow.id, *self._in_space())
        return (
            select(OutputRow.id, OutputRow.content)
            .join(RequestRow, RequestRow.id == OutputRow.request_id)
            .join(ModelRow, ModelRow.id == RequestRow.model_id)
            .outerjoin(OutputVectorRow, own)
            .where(OutputVectorRow.output_id.is_(None), OutputRow.text_sha256 != _NO_TEXT)
            .where(OutputRow.partial.is_(False), *conditions(connection, wanted))
        )

    def _keep(self, vectors: Sequence[tuple[str, NDArray[np.float32]]]) -> None:
        key = {"model_sha256": self._space.model_sha256, "pooling": self._space.pooling, "layer": self._space.layer}
        at = utc_microseconds()
        with self._database.write() as connection:
            for output_id, vector in vectors:
                row = {"output_id": output_id, **key, "data": vector.astype("<f4").tobytes(), "created_at": at}
                insert_if_absent(connection, OutputVectorRow, row)

    def _scores(self, query: NDArray[np.float32], wanted: RequestFilter) -> dict[str, float]:
        """Return the cosine of each request's nearest answer."""
        best: dict[str, float] = {}
        with self._database.read() as connection:
            for request_ids, vectors in self._pages(connection, wanted):
                for key, score in zip(request_ids, (vectors @ query).tolist(), strict=True):
                    best[key] = max(score, best.get(key, -2.0))
        return best

    def _pages(self, connection: Connection, wanted: RequestFilter) -> Iterator[tuple[list[str], Vectors]]:
        vectors = (
            select(OutputRow.request_id, OutputVectorRow.data)
            .join(OutputRow, OutputRow.id == OutputVectorRow.output_id)
            .join(RequestRow, RequestRow.id == OutputRow.request_id)
            .join(ModelRow, ModelRow.id == RequestRow.model_id)
            .where(*self._in_space(), *conditions(connection, wanted))
        )
        found = connection.execution_options(yield_per=_PAGE_ROWS).execute(vectors)
        for page in found.partitions():
            yield [row.request_id for row in page], np.stack([np.frombuffer(row.data, "<f4") for row in page])

    def _in_space(self) -> tuple[Any, ...]:
        space, row = self._space, OutputVectorRow
        return row.model_sha256 == space.model_sha256, row.pooling == space.pooling, row.layer == space.layer


def _vectors_of(texts: Sequence[tuple[str, str]], embed: Embed) -> list[tuple[str, NDArray[np.float32]]]:
    try:
        vectors = embed([text for _, text in texts])
    except InputError:
        # One of them broke the batch; alone, the others go through.
        return [found for one in texts for found in _vectors_of([one], embed)] if len(texts) > 1 else []
    return [(key, vector) for (key, _), vector in zip(texts, vectors, strict=True)]
