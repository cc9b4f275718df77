"""G3: a database that goes away under load; what was told to be stored is stored, and the rest is refused."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from banyan.store.types import OPEN_STATES
from proofs.evidence import Cell
from proofs.serving.goals.asking import askings
from proofs.serving.goals.bench import Bench, Server
from proofs.serving.goals.ledger import Attempt, Ledger, compare
from proofs.serving.goals.load import Load
from proofs.small_disk import fill, small_disk

_AWAY_SECONDS = {"PostgreSQL stopped": 30.0, "disk full": 10.0, "locked": 10.0}
_SHORT_SECONDS = 1.5
_KINDS = ("PostgreSQL stopped", "disk full", "PostgreSQL stopped", "locked")  # in turns
_DISK_BYTES = 48 << 20
_NUM_BEFORE, _NUM_AFTER = 40, 40  # answers
_RECOVERY_SECONDS = 5.0
_TIDY_SECONDS = 10.0  # until every request that was begun before the outage has an end
_MAX_GROWTH_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Outage:
    """What takes a database away, and brings it back."""

    begin: Callable[[], object]
    end: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was measured of one outage."""

    recovery_seconds: float  # from the database's return to the first whole answer
    growth_bytes: int  # of the server's memory


def away(bench: Bench, trial: str) -> str:
    """Take the database away under load, give it back, and hold what clients saw against it."""
    what, _, name = trial.rpartition(" ")
    seconds = _SHORT_SECONDS if name == "short" else _AWAY_SECONDS[what]
    doomed = _doomed_server(bench, what, trial)
    with doomed as (server, outage), Ledger(server.folder / "ledger.jsonl") as ledger:
        with Load(server, ledger, askings(trial)) as load:
            load.wait_for_answers(_NUM_BEFORE)
            seen = _take_away(server, load, outage, seconds=seconds)
            load.wait_for_answers(load.num_answered + _NUM_AFTER)
        _wait_until_tidy(server)
        assert server.stop() == 0, f"it did not end well: {server.said()[-300:]}"
        attempts = ledger.attempts()
        compare(attempts, server.exchanges()).check()
        statuses = _check_refusals(attempts)
        report = server.verified()
        assert report.is_sound, f"banyan db verify: {report.problems[:3]}"
        assert not report.num_dead_letters, f"{report.num_dead_letters} dead letters"
    assert seen.recovery_seconds < _RECOVERY_SECONDS, f"answers came {seen.recovery_seconds:.1f} s after its return"
    assert seen.growth_bytes < _MAX_GROWTH_BYTES, f"the server grew by {seen.growth_bytes >> 20} MiB"
    return (
        f"away {seconds:g} s: {statuses[503]} refusals, first answer {seen.recovery_seconds:.2f} s after its return, "
        f"memory {seen.growth_bytes / 2**20:+.1f} MiB, {statuses[200]} answers begun"
    )


def _take_away(server: Server, load: Load, outage: Outage, *, seconds: float) -> Seen:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before = most = process.memory_info().rss
    outage.begin()
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            most = max(most, process.memory_info().rss)
            time.sleep(0.05)
    finally:
        outage.end()
    back = time.monotonic()
    while load.last_answer_at < back:
        assert time.monotonic() < back + 60, f"no answer came within 60 s: {server.said()[-300:]}"
        time.sleep(0.005)
    return Seen(recovery_seconds=load.last_answer_at - back, growth_bytes=most - before)


@contextmanager
def _doomed_server(bench: Bench, what: str, trial: str) -> Iterator[tuple[Server, Outage]]:
    """Give a server, and what takes its database away."""
    if what == "PostgreSQL stopped":
        with bench.server(f"G3-{trial}", kind="PostgreSQL") as server:
            yield server, Outage(begin=bench.postgres.stop, end=bench.postgres.start)
    elif what == "locked":
        with bench.server(f"G3-{trial}") as server, _lock(server.folder / "banyan.db") as outage:
            yield server, outage
    else:
        with small_disk(bench.directory / "disk", num_bytes=_DISK_BYTES) as disk:
            database = bench.database("SQLite", disk)
            with bench.server(f"G3-{trial}", database=database) as server:
                yield server, Outage(begin=lambda: fill(disk), end=(disk / "ballast").unlink)


@contextmanager
def _lock(path: Path) -> Iterator[Outage]:
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        yield Outage(begin=lambda: connection.execute("BEGIN IMMEDIATE"), end=lambda: connection.execute("ROLLBACK"))


def _wait_until_tidy(server: Server) -> None:
    """Wait until every request has an end, without a restart."""
    deadline = time.monotonic() + _TIDY_SECONDS
    while left := [own.request.request_id for own in server.exchanges() if own.state in OPEN_STATES]:
        assert time.monotonic() < deadline, f"{len(left)} requests are open though nobody answers: {left[:3]}"
        time.sleep(0.2)


def _check_refusals(attempts: Sequence[Attempt]) -> Counter[int | None]:
    """Check that who got no answer was told so: 503 with a time to come back, or an error inside the stream."""
    other = [own for own in attempts if own.status not in (200, 503)]
    assert not other, f"{len(other)} were refused otherwise: {other[0]}"
    wrong = [own for own in attempts if own.status == 503 and not own.retry_after]
    assert not wrong, f"{len(wrong)} refusals name no time: {wrong[0]}"
    silent = [own for own in attempts if own.status == 200 and not own.is_whole and '"error"' not in own.problem]
    assert not silent, f"{len(silent)} answers broke off without a word: {silent[0]}"
    return Counter(own.status for own in attempts)


CELLS = (
    Cell(
        number="G3",
        fault="the database goes away under load: PostgreSQL stopped at once for 30 s, SQLite's disk (a tmpfs) full "
        "for 10 s, SQLite's write lock held by another process for 10 s",
        passes_if="clients and database agree as in G1; who is not answered hears 503 with Retry-After or an error "
        "frame; first answer < 5 s after its return; memory grows < 64 MiB; no request stays open without a restart",
        trials=tuple(f"{_KINDS[n % len(_KINDS)]} {n}" for n in range(20)),
        quick=("PostgreSQL stopped short", "locked short"),
        run=away,
        kind_of=lambda trial: trial.rpartition(" ")[0],
    ),
)
