"""What clients know of their requests, and whether the database knows the same."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from banyan.store.types import OPEN_STATES, RequestState, StoredExchange
from proofs.serving.goals.asking import hash_of, stored_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try of a client to get one answer, as the client saw it."""

    attempt_id: str  # the label that the request carried
    idempotency_key: str | None = None  # shared by the attempts for one answer
    request_id: str | None = None  # None: no answer had begun when it broke off
    status: int | None = None
    is_whole: bool = False  # it saw the end: all promised bytes, or [DONE] without an error
    is_replayed: bool = False  # the server said that this is the answer to an earlier attempt
    retry_after: str | None = None  # what a refusal said
    text_sha256: str = ""  # of what a whole answer said
    problem: str = ""  # how it broke off, or what a refusal was called
    seconds: float = 0.0


class Ledger:
    """A file of attempts, one line each, on disk before the next attempt begins. Safe from many threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def note(self, attempt: Attempt) -> None:
        """Write down one attempt."""
        with self._lock:
            self._file.write(json.dumps(asdict(attempt)) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def attempts(self) -> list[Attempt]:
        """Return what was written down."""
        return [Attempt(**json.loads(line)) for line in self._path.read_text("utf-8").splitlines()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Where clients and database disagree, and how much was compared."""

    problems: tuple[str, ...]
    num_whole: int  # attempts that saw a whole answer
    num_broken: int  # attempts that saw none
    num_rows: int
    num_answered_twice: int  # keys for which an answer was completed more than once; a client saw one of them

    def check(self) -> None:
        """Raise AssertionError if anything is lost, doubled, changed or left open."""
        assert not self.problems, f"{len(self.problems)} problems: {'; '.join(self.problems[:5])}"


def compare(attempts: Sequence[Attempt], exchanges: Sequence[StoredExchange]) -> Comparison:
    """Hold what clients saw against what is stored, once nobody answers any more.

    A whole answer must be stored as completed and say the same; one whose head was seen must have a row; no attempt may
    have two; no row may be open, or belong to nobody.
    """
    rows = {exchange.request.request_id: exchange for exchange in exchanges}
    labels = Counter(exchange.request.client_request_id for exchange in exchanges)
    known = {attempt.attempt_id for attempt in attempts}
    problems = [f"attempt {label} has {count} rows" for label, count in labels.items() if count > 1]
    problems += [f"a row of {label}, which nobody asked for" for label in labels if label not in known]
    problems += [f"row {key} is {row.state}" for key, row in rows.items() if row.state in OPEN_STATES]
    completed = _completed_by_key(attempts, exchanges)
    for attempt in attempts:
        if attempt.status == 200:
            problems += _problems_of(attempt, rows, completed)
    return Comparison(
        problems=tuple(problems),
        num_whole=sum(attempt.is_whole for attempt in attempts),
        num_broken=sum(not attempt.is_whole for attempt in attempts),
        num_rows=len(rows),
        num_answered_twice=sum(len(hashes) > 1 for hashes in completed.values()),
    )


def _problems_of(attempt: Attempt, rows: dict[str, StoredExchange], completed: dict[str, list[str]]) -> list[str]:
    name = f"attempt {attempt.attempt_id}"
    if attempt.is_replayed:
        is_known = attempt.text_sha256 in completed.get(attempt.idempotency_key or "", ())
        return [] if is_known or not attempt.is_whole else [f"{name} was told an earlier answer that is not stored"]
    row = rows.get(attempt.request_id or "")
    if row is None:
        return [f"{name} got the head of an answer and has no row"]
    if row.request.client_request_id != attempt.attempt_id:
        return [f"{name} has the row of {row.request.client_request_id}"]
    if not attempt.is_whole:
        return []
    if row.state is not RequestState.COMPLETED:
        return [f"{name} saw a whole answer, its row is {row.state}"]
    return (
        [] if hash_of(stored_text(row)) == attempt.text_sha256 else [f"{name} was told something else than is stored"]
    )


def _completed_by_key(attempts: Sequence[Attempt], exchanges: Sequence[StoredExchange]) -> dict[str, list[str]]:
    """Return the hashes of all completed answers under each idempotency key."""
    keys = {attempt.attempt_id: attempt.idempotency_key for attempt in attempts if attempt.idempotency_key}
    found: dict[str, list[str]] = defaultdict(list)
    for exchange in exchanges:
        key = keys.get(exchange.request.client_request_id or "")
        if key is not None and exchange.state is RequestState.COMPLETED:
            found[key].append(hash_of(stored_text(exchange)))
    return found
