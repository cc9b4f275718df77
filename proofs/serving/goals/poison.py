"""G4: one row that the database cannot take, in a batch of good ones, again and again."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from banyan.core.ids import new_ulid
from banyan.store.failures import RefusedRowError
from banyan.store.schema import DeadLetterRow
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import StoredAnswer, StoredExchange, StoredOutput, StoredRequest
from banyan.store.verify import verify_database
from banyan.testing.store import tiny_request
from proofs.evidence import Cell, first_word
from proofs.serving.goals.bench import Bench
from proofs.serving.goals.blocks import blocks, numbers_of
from proofs.serving.requests import WORDS

_MOST_ROWS = 64  # of one batch of the writer
_WAIT_SECONDS = 120.0

Changes = dict[str, Any]


def _itself() -> Changes:
    circle: Changes = {}
    circle["again"] = circle
    return circle


# What no database takes, in the request …
REFUSED_REQUESTS: dict[str, Callable[[], Changes]] = {
    "a seed of 80 bits": lambda: {"seed": 2**80},
    "a lone surrogate in a label": lambda: {"client_request_id": "\ud800"},
    "NaN among the parameters": lambda: {"params": {"temperature": float("nan")}},
    "NaN in the body": lambda: {"body": {"prompt": float("nan")}},
    "an object among the parameters": lambda: {"params": {"sampling": object()}},
    "parameters that hold themselves": lambda: {"params": _itself()},
    "parameters without names": lambda: {"params": {(1, 2): 3}},
    "no choices": lambda: {"num_choices": 0},
    "fewer tokens than none": lambda: {"num_prompt_tokens": -1},
    "a key that nobody has": lambda: {"api_key_id": new_ulid()},
}
# … and in the answer.
REFUSED_ANSWERS: dict[str, Callable[[], Changes]] = {
    "a token of 40 bits": lambda: {"outputs": (StoredOutput(token_ids=(2**40,)),)},
    "NaN in a prediction": lambda: {"outputs": (StoredOutput(prediction={"score": float("nan")}),)},
    "the same choice twice": lambda: {"outputs": (StoredOutput(text="a"), StoredOutput(text="b"))},
    "a state that is none": lambda: {"state": "asleep"},
    "a status of 80 bits": lambda: {"http_status": 2**80},
}
# What one database takes and another does not, or only looks like poison: it is stored whole, or a dead letter.
DOUBTFUL: dict[str, Callable[[], Changes]] = {
    "NUL and a lone surrogate in the body": lambda: {"body": {"prompt": "a\0b\ud800c"}},
    "NUL in a label": lambda: {"client_request_id": "a\0b"},
    "10 MB of text": lambda: {"body": {"prompt": "独木成林。" * 700_000}},
    "an id of 10,000 characters": lambda: {"request_id": new_ulid() * 385},
}
POISONS = (*REFUSED_REQUESTS, *REFUSED_ANSWERS, *DOUBTFUL)


@dataclass(frozen=True)
class Gate:
    """A write that takes until it is told to go on, so that all that come meanwhile are one batch."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    num_bytes: int = 0

    def apply(self, connection: Connection) -> None:
        """Say that it is reached, and wait."""
        self.reached.set()
        assert self.opened.wait(_WAIT_SECONDS), "nobody opened the gate"

    def payload(self) -> Mapping[str, Any]:
        """Return nothing."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Written:
    """One row that was handed to the writer."""

    request: StoredRequest
    answer: StoredAnswer
    future: Future[str]
    poison: str = ""  # what is wrong with it; empty: nothing


def batches(bench: Bench, trial: str) -> str:
    """Hand over batches with one poison row each, and look for every row afterwards."""
    folder = bench.place(f"G4-{trial}")
    kind = "PostgreSQL" if trial.startswith("PostgreSQL") else "SQLite"
    counts: Counter[str] = Counter()
    with open_store(bench.database(kind, folder)) as store:
        for number in numbers_of(trial):
            rows = _hand_over(store, random.Random(number), POISONS[number % len(POISONS)])
            counts.update(_settled(store, rows))
        _check_dead_letters(store, counts["dead letters"])
        problems = verify_database(store.database).problems
        assert not problems, problems[:3]
    return ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items()))


def _hand_over(store: SqlStore, draw: random.Random, poison: str) -> list[Written]:
    """Write one batch: 2 to 64 rows, one of them poison, at any place."""
    gate, size = Gate(), draw.randint(2, _MOST_ROWS)
    place = draw.randrange(size)
    passed = store.submit(gate)
    assert gate.reached.wait(_WAIT_SECONDS), "the writer never came to the gate"
    rows = [_write(store, draw, poison if place == number else "") for number in range(size)]
    gate.opened.set()
    passed.result(_WAIT_SECONDS)
    return rows


def _write(store: SqlStore, draw: random.Random, poison: str) -> Written:
    in_answer = poison in REFUSED_ANSWERS
    change = (REFUSED_REQUESTS | REFUSED_ANSWERS | DOUBTFUL)[poison]() if poison else {}
    given = {"body": {"prompt": " ".join(draw.choices(WORDS, k=8))}, "session_id": new_ulid()}
    request = tiny_request(**{**given, **({} if in_answer else change)})
    said: Changes = {"outputs": (StoredOutput(text=" ".join(draw.choices(WORDS, k=20)), token_ids=(1, 2, 3)),)}
    answer = StoredAnswer(**{**said, **(change if in_answer else {})})
    return Written(request=request, answer=answer, future=store.record(request, answer), poison=poison)


def _settled(store: SqlStore, rows: Sequence[Written]) -> Counter[str]:
    """Wait for a batch and count how its rows ended: stored whole, or a dead letter."""
    counts: Counter[str] = Counter(batches=1)
    for row in rows:
        error = row.future.exception(_WAIT_SECONDS)
        if error is None:
            _check_whole(store.queries.show(row.request.request_id), row)
            counts["doubtful rows stored whole" if row.poison else "good rows stored whole"] += 1
            assert row.poison not in REFUSED_REQUESTS | REFUSED_ANSWERS, f"{row.poison} was stored"
        else:
            assert row.poison, f"a good row was refused beside its neighbour: {error}"
            assert isinstance(error, RefusedRowError), f"{row.poison}: {type(error).__name__}: {error}"
            assert "it is kept in dead_letters" in str(error), f"{row.poison}: {error}"
            _check_letter(store, row)
            counts["dead letters"] += 1
    return counts


def _check_whole(found: StoredExchange, row: Written) -> None:
    assert found.answer is not None, "a recorded answer is not there"
    texts = [output.text for output in found.answer.outputs]
    assert texts == [output.text for output in row.answer.outputs], f"{row.poison}: another text is stored"
    assert found.request.body == row.request.body, f"{row.poison}: another body is stored"


def _check_letter(store: SqlStore, row: Written) -> None:
    """Fail unless the newest dead letter holds this row, or says why JSON cannot."""
    with store.database.read() as connection:
        newest = select(DeadLetterRow.payload).order_by(DeadLetterRow.at.desc()).limit(1)
        payload = json.loads(connection.execute(newest).scalar_one())
    kept = payload.get("request", {}).get("session_id") == row.request.session_id
    assert kept or payload.get("unwritable"), f"{row.poison}: the newest dead letter holds {str(payload)[:200]}"


def _check_dead_letters(store: SqlStore, expected: int) -> None:
    found = store.queries.counts().num_dead_letters
    assert found == expected, f"{found} dead letters, {expected} rows were refused"


CELLS = (
    Cell(
        number="G4",
        fault=f"1,200 batches: one row of {len(POISONS)} kinds that the database cannot take, in a batch of 2 to "
        f"{_MOST_ROWS} that are committed together",
        passes_if="all other rows are stored whole; the poison row is a dead letter, or is stored whole where the "
        "database can take it; nothing waits",
        trials=(
            *blocks("SQLite batches", total=1_000, size=100),
            *blocks("PostgreSQL batches", total=200, size=100),
        ),
        run=batches,
        quick=("SQLite batches 1-8",),
        kind_of=first_word,
    ),
)
