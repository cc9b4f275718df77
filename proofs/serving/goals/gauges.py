"""What a running server holds: places, slots, tokens, tasks, connections, files; idle, it is what it was before."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from banyan.runtime.loaded_model import LoadedModel
from banyan.testing.serving import RunningServer


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauges:
    """All that one server holds at one moment."""

    requests: int  # that are answered
    places_of_keys: int  # requests at once, as the quotas count them
    idempotency_keys: int  # that are being answered
    waiting: int  # prompts nobody has begun
    live: int  # answers in the making
    taken_slots: int  # of the engine's cache
    held_tokens: int  # in these slots
    writes: int  # not committed yet
    tasks: int  # of the event loop
    connections: int
    files: int  # open ones, without the database's: readers keep a few of those for the next

    def differences(self, other: Gauges) -> str:
        """Return what is not the same in words; empty: nothing."""
        mine, others = asdict(self), asdict(other)
        return ", ".join(f"{name} {mine[name]} for {others[name]}" for name in mine if mine[name] != others[name])


def read_gauges(server: RunningServer, loaded: LoadedModel) -> Gauges:
    """Look at a server that runs in this process."""
    parts, engine = server.parts, loaded.engine
    slots = engine._decoder._slots
    return Gauges(
        requests=parts.admission.num_inside,
        places_of_keys=sum(account.num_inside for account in parts.quotas._accounts.values()),
        idempotency_keys=len(parts.claimed),
        waiting=engine.num_waiting,
        live=engine.num_live,
        taken_slots=slots.num_slots - slots.num_free,
        held_tokens=slots.num_held_tokens,
        writes=server.store.num_waiting,
        tasks=_num_tasks(server),
        connections=len(server.thread._server.server_state.connections),
        files=_num_files(server.store.database.path),
    )


def back_to(before: Gauges, look: Callable[[], Gauges], *, seconds: float) -> Gauges:
    """Return the gauges once they are what they were before.

    Raises: AssertionError if they are not in time.
    """
    deadline = time.monotonic() + seconds
    while (now := look()) != before:
        assert time.monotonic() < deadline, f"after {seconds:.0f} s without clients: {now.differences(before)}"
        time.sleep(0.02)
    return now


def _num_tasks(server: RunningServer) -> int:
    async def count() -> int:
        return len(asyncio.all_tasks()) - 1  # without this one

    return asyncio.run_coroutine_threadsafe(count(), server.thread._loop).result(10)


def _num_files(database: Path | None) -> int:
    number = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the folder itself, closed by now
            continue
        number += not target.startswith(str(database))
    return number
