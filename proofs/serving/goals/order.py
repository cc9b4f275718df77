"""G2: an answer is safe on disk before its last byte leaves, seen from outside in the order of the system calls.

A server is traced while it is asked. At the moment the end of an answer is sent, the database is put together from what
had been synced by then, as a power failure would leave it, and opened: the answer must be in it, whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from banyan.core.errors import BanyanError
from banyan.store.database import Database
from banyan.store.queries import StoreQueries
from banyan.store.types import RequestState, StoredExchange
from proofs.evidence import Cell
from proofs.serving.goals.asking import askings, hash_of, stored_text
from proofs.serving.goals.bench import Bench, Server
from proofs.serving.goals.blocks import blocks, numbers_of
from proofs.serving.goals.ledger import Attempt, Ledger
from proofs.serving.goals.load import Load
from proofs.serving.goals.power_failure import Disk
from proofs.serving.goals.processes import Fault
from proofs.serving.goals.system_calls import SystemCall, read_calls, traced

_SILENCE_SECONDS = 10.0
_NUM_CLIENTS = 3
_HEAD = re.compile(rb"HTTP/1\.1 200 .*?\r\nx-request-id: ([0-9A-Z]{26})\r\n", re.DOTALL | re.IGNORECASE)
_STREAM = b"content-type: text/event-stream"
_DONE = b"data: [DONE]"
_SYNC_PRAGMA, _NO_SYNC_PRAGMA = "PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF"
_UNSAFE, _SQLITE, _POSTGRES = "a build that does not sync", "SQLite's setting", "PostgreSQL's setting"


def run(bench: Bench, trial: str) -> str:
    """Do one trial."""
    if trial in (_SQLITE, _POSTGRES):
        return _settings(bench, trial)
    if trial == _UNSAFE:
        return _unsafe_build(bench)
    attempts, found = _traced_requests(bench, trial, number=len(numbers_of(trial)))
    late = [problem for attempt in attempts if (problem := _problem(attempt, found))]
    assert not late, f"{len(late)} of {len(attempts)}: {late[:3]}"
    return f"{len(attempts)} of {len(attempts)} answers were safe before their last byte left"


def _unsafe_build(bench: Bench) -> str:
    """Trace a server that was told not to sync: the proof must notice."""
    attempts, found = _traced_requests(bench, _UNSAFE, number=5, fault=forget_to_sync)
    late = [attempt for attempt in attempts if _problem(attempt, found)]
    assert len(late) == len(attempts), f"only {len(late)} of {len(attempts)} lost answers were noticed"
    return f"{len(late)} of {len(attempts)} answers that a power failure would take were noticed"


def forget_to_sync() -> None:
    """Let this process open its databases without syncing."""
    from banyan.store import database

    settings = database._SQLITE_SETTINGS
    assert _SYNC_PRAGMA in settings, "the setting this is about has another name"
    database._SQLITE_SETTINGS = tuple(_NO_SYNC_PRAGMA if own == _SYNC_PRAGMA else own for own in settings)


def _settings(bench: Bench, trial: str) -> str:
    """Ask a connection that writes what it was told about syncing."""
    kind, question, wanted = {
        _SQLITE: ("SQLite", "PRAGMA synchronous", 2),
        _POSTGRES: ("PostgreSQL", "SHOW synchronous_commit", "on"),
    }[trial]
    database = Database(bench.database(kind, bench.place(f"G2-{trial}")))
    try:
        with database.transaction() as connection:
            told = connection.exec_driver_sql(question).scalar_one()
    finally:
        database.close()
    assert told == wanted, f"{question} says {told!r}, not {wanted!r}"
    return f"{question} says {told}"


def _traced_requests(
    bench: Bench, trial: str, *, number: int, fault: Fault | None = None
) -> tuple[Sequence[Attempt], dict[str, StoredExchange | None]]:
    """Ask a traced server, and return what clients saw, and what was safe when each answer ended."""
    with bench.server(f"G2-{trial}", fault=fault) as server:
        assert server.process is not None
        with server.client() as client:
            _wait_for_silence(client)
        disk, output = Disk(_files_of(server)), server.folder / "calls.txt"
        asked = askings(f"G2 {trial}")
        with (
            Ledger(server.folder / "ledger.jsonl") as ledger,
            traced(server.process.pid, output),
            Load(server, ledger, asked, number=number, num_clients=_NUM_CLIENTS) as load,
        ):
            load.wait()
        attempts = [attempt for attempt in ledger.attempts() if attempt.is_whole]
        assert len(attempts) == number, f"{len(attempts)} of {number} requests were answered"
        return attempts, dict(_safe_at_the_end(read_calls(output), disk))


def _wait_for_silence(client: httpx.Client) -> None:
    """Return when nothing is being written, so that the files can be looked at; the first use of a key is noted."""
    deadline = time.monotonic() + _SILENCE_SECONDS
    while "banyan_store_writes_waiting 0\n" not in client.get("/metrics").raise_for_status().text:
        assert time.monotonic() < deadline, "an idle server writes without end"
        time.sleep(0.01)


def _files_of(server: Server) -> list[Path]:
    return [server.folder / f"banyan.db{suffix}" for suffix in ("", "-wal")]


def _safe_at_the_end(calls: Iterator[SystemCall], disk: Disk) -> Iterator[tuple[str, StoredExchange | None]]:
    """Yield every request with what a power failure would leave of it at the moment its answer's end is sent."""
    answering: dict[str, str] = {}  # by socket: the id of the request whose answer is on its way
    for call in calls:
        disk.follow(call)
        if call.name != "sendto" or call.moment != "begin":
            continue
        head = _HEAD.match(call.data)
        if head:
            answering[call.place] = head[1].decode()
        is_end = head is not None and _STREAM not in call.data.lower() or _DONE in call.data
        if is_end and call.place in answering:
            request_id = answering.pop(call.place)
            yield request_id, _after_the_failure(disk, request_id)


def _after_the_failure(disk: Disk, request_id: str) -> StoredExchange | None:
    with TemporaryDirectory() as folder:
        disk.save(Path(folder))
        database = Database(str(Path(folder) / "banyan.db"))
        try:
            return StoreQueries(database).show(request_id)
        except BanyanError:
            return None
        finally:
            database.close()


def _problem(attempt: Attempt, found: dict[str, StoredExchange | None]) -> str:
    """Return what is wrong with an answer at the moment its end was sent; empty: nothing."""
    request_id = attempt.request_id or ""
    if request_id not in found:
        return f"{request_id}: its end was never seen to be sent"
    exchange = found[request_id]
    if exchange is None or exchange.state is not RequestState.COMPLETED:
        return f"{request_id}: {'nothing' if exchange is None else exchange.state} is on disk when its end is sent"
    same = hash_of(stored_text(exchange)) == attempt.text_sha256
    return "" if same else f"{request_id}: another answer is on disk"


CELLS = (
    Cell(
        number="G2",
        fault=f"the power fails at the moment an answer's end is sent: system calls of a server that {_NUM_CLIENTS} "
        "clients ask, in their order (strace)",
        passes_if="the whole answer is in what had been synced by then; synchronous=2, synchronous_commit=on; a build "
        "that does not sync is noticed",
        trials=(*blocks("requests", total=100, size=25), _SQLITE, _POSTGRES, _UNSAFE),
        run=run,
        quick=("requests 1-4", _SQLITE),
    ),
)
