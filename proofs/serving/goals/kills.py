"""G1: a server that is killed again and again under load loses nothing and doubles nothing."""

from __future__ import annotations

import random
import time

from proofs.evidence import Cell, first_word
from proofs.serving.goals.asking import askings
from proofs.serving.goals.bench import Bench, Server
from proofs.serving.goals.ledger import Ledger, compare
from proofs.serving.goals.load import Load

_NUM_REQUESTS, _NUM_KILLS = 1_000, 3  # of a block
_SHORT_REQUESTS = 60
_FIRST_KILL = 10  # no sooner than after so many answers
_LATEST_SECONDS = 0.2  # after the answer at which a kill is due
_STARTING_SECONDS = 0.5  # of a process that is killed before it answers
_KINDS = ("SQLite", "SQLite", "PostgreSQL")  # in turns


def killed(bench: Bench, trial: str) -> str:
    """Ask a block of requests, kill the server at random moments, and hold what clients saw against the database."""
    kind, _, name = trial.partition(" ")
    number = _SHORT_REQUESTS if name == "short" else _NUM_REQUESTS
    chance = random.Random(trial)
    moments = sorted(chance.sample(range(_FIRST_KILL, number - _FIRST_KILL), _NUM_KILLS))
    with bench.server(f"G1-{trial}", kind=kind) as server, Ledger(server.folder / "ledger.jsonl") as ledger:
        num_kills = 0
        with Load(server, ledger, askings(trial), number=number) as load:
            for moment in moments:
                load.wait_for_answers(moment)
                time.sleep(chance.uniform(0, _LATEST_SECONDS))
                num_kills += _kill_and_start(server, chance)
            load.wait()
        assert server.stop() == 0, f"it did not end well: {server.said()[-300:]}"
        found = compare(ledger.attempts(), server.exchanges())
        found.check()
        assert load.num_answered == number, f"{load.num_answered} of {number} requests were answered"
        report = server.verified()
        assert report.is_sound, f"banyan db verify: {report.problems[:3]}"
        assert not report.num_dead_letters, f"{report.num_dead_letters} dead letters"
    twice = f", {found.num_answered_twice} answered twice under one key" if found.num_answered_twice else ""
    return f"{number} answered, {num_kills} kills, {found.num_broken} attempts broken off, {found.num_rows} rows{twice}"


def _kill_and_start(server: Server, chance: random.Random) -> int:
    """Kill the server, sometimes once more before it answers again, and return how often it was killed."""
    server.kill()
    if chance.random() < 1 / 3:
        server.begin_to_start()
        time.sleep(chance.uniform(0, _STARTING_SECONDS))
        server.kill()
        server.start()
        return 2
    server.start()
    return 1


CELLS = (
    Cell(
        number="G1",
        fault=f"20,000 requests of all kinds, half of them streamed, and SIGKILL at {_NUM_KILLS} random moments of "
        "each thousand, sometimes again while it starts; clients ask again, half of them under an Idempotency-Key",
        passes_if="every whole answer that a client saw is stored once, completed, with the same hash; every answer "
        "whose head was seen has a row; no attempt has two; none is open after the restart; `db verify` is content",
        trials=tuple(f"{_KINDS[n % len(_KINDS)]} {n}" for n in range(20)),
        quick=("SQLite short",),
        run=killed,
        kind_of=first_word,
        trial_size="1,000 requests",
    ),
)
