"""G5: a server that is told to stop finishes what it has begun, refuses what comes, and leaves nothing behind."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

import psutil

from banyan.serve.settings import ServerSettings
from banyan.store.types import RequestState, StoredExchange
from proofs.evidence import Cell
from proofs.serving.goals.asking import askings
from proofs.serving.goals.bench import Bench, Server
from proofs.serving.goals.ledger import Attempt, Ledger, compare
from proofs.serving.goals.load import Load

_NUM_STOPS = 10  # of a block
_SHORT_STOPS = 2
_KINDS = ("SQLite", "SQLite", "SQLite", "PostgreSQL")  # in turns
_GRACE_SECONDS = ServerSettings().drain_seconds
_MOST_TOKENS = 160  # of a written answer, so that some take longer than it takes to be asked again
_LATEST_SECONDS = 0.4  # after the first answers


def asked_to_leave(bench: Bench, trial: str) -> str:
    """Send SIGTERM at random moments under load, and look at every answer, the exit code and the process list."""
    kind, _, name = trial.partition(" ")
    slowest, num_stops = 0.0, _SHORT_STOPS if name == "short" else _NUM_STOPS
    unstarted = bench.server(f"G5-{trial}", kind=kind, is_started=False)
    with unstarted as server, Ledger(server.folder / "ledger.jsonl") as ledger:
        for stop in range(num_stops):
            slowest = max(slowest, _stop_under_load(server, ledger, f"{trial} {stop}".replace(" ", "-")))
        attempts, exchanges = ledger.attempts(), server.exchanges()
        compare(attempts, exchanges).check()
        statuses = _check_refusals(attempts)
        _check_deliveries(attempts, exchanges)
        report = server.verified()
        assert report.is_sound, f"banyan db verify: {report.problems[:3]}"
    return (
        f"{num_stops} stops, exit 0 after at most {slowest:.1f} s; {statuses[200]} answers whole, "
        f"{statuses[503]} refused with Retry-After, {statuses[None]} found no server"
    )


def _stop_under_load(server: Server, ledger: Ledger, name: str) -> float:
    """Start the server, stop it while clients ask, and return how long it took to leave."""
    chance = random.Random(name)
    server.start()
    assert server.process is not None
    with Load(server, ledger, askings(name, most_tokens=_MOST_TOKENS), name=name) as load:
        load.wait_for_answers(4)
        time.sleep(chance.uniform(0, _LATEST_SECONDS))
        children = psutil.Process(server.process.pid).children(recursive=True)
        asked = time.monotonic()
        code = server.stop()
        seconds = time.monotonic() - asked
    assert code == 0, f"exit code {code}: {server.said()[-300:]}"
    assert seconds <= _GRACE_SECONDS + 2, f"it took {seconds:.1f} s to leave"
    orphans = [child.pid for child in children if child.is_running()]
    assert not orphans, f"it left processes behind: {orphans}"
    return seconds


def _check_refusals(attempts: Sequence[Attempt]) -> Counter[int | None]:
    """Check that an attempt was answered whole, refused with a time to come back, or found nobody; count them."""
    cut = [own for own in attempts if own.status == 200 and not own.is_whole]
    assert not cut, f"{len(cut)} answers were cut off: {cut[0]}"
    other = [own for own in attempts if own.status not in (None, 200, 503)]
    assert not other, f"{len(other)} were refused otherwise: {other[0]}"
    refused = [own for own in attempts if own.status == 503]
    wrong = [own for own in refused if own.problem != "shutting_down" or not own.retry_after]
    assert not wrong, f"{len(wrong)} refusals say something else: {wrong[0]}"
    return Counter(own.status for own in attempts)


def _check_deliveries(attempts: Sequence[Attempt], exchanges: Sequence[StoredExchange]) -> None:
    """Check that no answer was finished and not delivered, and none was begun and not finished."""
    seen = {own.request_id for own in attempts if own.is_whole}
    lost = [own for own in exchanges if own.request.request_id not in seen]
    assert not lost, f"{len(lost)} requests were let in and not answered, the first is {lost[0].state}"
    unfinished = Counter(str(own.state) for own in exchanges if own.state is not RequestState.COMPLETED)
    assert not unfinished, f"rows in other states: {dict(unfinished)}"


CELLS = (
    Cell(
        number="G5",
        fault="200 SIGTERMs at random moments under load",
        passes_if="every answer that was begun is whole; every other request hears 503 shutting_down with Retry-After, "
        "or finds no server; exit code 0 within the grace of 30 s + 2 s; nothing is left running",
        trials=tuple(f"{_KINDS[n % len(_KINDS)]} {n}" for n in range(20)),
        quick=("SQLite short",),
        run=asked_to_leave,
        kind_of=lambda trial: trial.partition(" ")[0],
        trial_size="10 stops",
    ),
)
