"""G6: clients that vanish leave nothing behind but a row that says so."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.store.sql_store import open_store
from banyan.store.types import OPEN_STATES, RequestState, StoredExchange
from banyan.testing.serving import RunningServer, running_server
from proofs.evidence import Cell
from proofs.serving.goals.bench import Bench
from proofs.serving.goals.blocks import blocks, numbers_of
from proofs.serving.goals.gauges import Gauges, back_to, read_gauges
from proofs.serving.goals.vanishing import MOMENTS, Seen, Visit, vanish, visit_of

_NUM_CLIENTS = 16
_NUM_SLOTS = 4  # fewer than there are clients, so that some of them wait in the line
_SETTLING_SECONDS = 10.0
_STOP_SECONDS = 0.2
_WARM_UP = range(-4 * len(MOMENTS), 0)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A server in this process, whose insides can be seen."""

    server: RunningServer
    loaded: LoadedModel

    def gauges(self) -> Gauges:
        """Look at what it holds."""
        return read_gauges(self.server, self.loaded)

    def vanish(self, visit: Visit) -> Seen:
        """Let a client come and go."""
        return vanish(self.server.url, self.server.key, visit)


@contextmanager
def _watched(bench: Bench, name: str) -> Iterator[Watched]:
    """Serve for the time of the block, and begin after everything was used once."""
    folder = bench.place(name)
    with (
        load(bench.model, device="cpu", num_slots=_NUM_SLOTS) as loaded,
        open_store(bench.database("SQLite", folder)) as store,
        running_server(LocalModel(loaded), store) as server,
    ):
        watched = Watched(server=server, loaded=loaded)
        _all_at_once(watched, _WARM_UP)
        _wait_for(lambda: not (server.parts.admission.num_inside or loaded.engine.num_live), what="the warm-up")
        time.sleep(0.2)  # connections are closed a moment after the last answer
        yield watched


def many(bench: Bench, trial: str) -> str:
    """Let a block of clients vanish, several at once; look at what the server holds, and at their rows."""
    with _watched(bench, f"G6-{trial}") as watched:
        before = watched.gauges()
        seen = _all_at_once(watched, numbers_of(trial))
        back_to(before, watched.gauges, seconds=_SETTLING_SECONDS)
        rows = {own.request.client_request_id: own for own in watched.server.store.queries.iterate()}
    assert before.requests == before.live == before.taken_slots == before.writes == 0, f"not idle at first: {before}"
    counts: Counter[str] = Counter()
    for each in seen:
        counts[_ending(each, rows.get(each.visit.label))] += 1
    assert counts["cancelled with what was said"], "not one left in the middle: this proves nothing"
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))


def stops(bench: Bench, trial: str) -> str:
    """Let clients vanish one by one out of long answers, and see how long the engine goes on."""
    seconds: list[float] = []
    with _watched(bench, "G6-stops") as watched:
        for number in numbers_of(trial):
            visit = visit_of(number * len(MOMENTS) + MOMENTS.index("in the stream"))
            long = {**visit.body, "max_tokens": 150, "min_tokens": 150}
            left_at = watched.vanish(replace(visit, body=long, num_frames=number % 20 + 1)).left_at
            _wait_for(lambda: not watched.loaded.engine.num_live, what="the engine")
            seconds.append(time.monotonic() - left_at)
    middle = statistics.median(seconds)
    assert middle <= _STOP_SECONDS, f"half of the answers went on for more than {middle:.3f} s"
    return f"{len(seconds)} answers stopped after {middle * 1000:.0f} ms, at the latest {max(seconds) * 1000:.0f} ms"


def _all_at_once(watched: Watched, numbers: Sequence[int]) -> list[Seen]:
    with ThreadPoolExecutor(_NUM_CLIENTS) as pool:
        return list(pool.map(lambda number: watched.vanish(visit_of(number)), numbers))


def _ending(seen: Seen, row: StoredExchange | None) -> str:
    """Return how a visit ended in the database, in words.

    Raises: AssertionError if the database says what cannot be.
    """
    name = f"{seen.visit.label} ({seen.visit.moment})"
    if row is None:
        assert seen.request_id is None, f"{name} saw the head of an answer and has no row"
        return "without a row"
    assert seen.visit.has_row, f"{name} never sent a whole request and has a row"
    assert row.state not in OPEN_STATES and row.answer is not None, f"{name} is still {row.state}"
    stored = {output.choice_index: output.text for output in row.answer.outputs}
    for index, text in seen.texts.items():
        assert stored.get(index, "").startswith(text), f"{name} was told {text!r}, kept is {stored.get(index)!r}"
    if row.state is RequestState.COMPLETED:
        return "answered before it was noticed"
    assert row.state is RequestState.CANCELLED, f"{name} is {row.state} ({row.answer.error_code})"
    assert (row.answer.http_status, row.answer.error_code) == (499, "client_disconnected"), f"{name}: {row.answer}"
    return "cancelled with what was said" if any(stored.values()) else "cancelled before a word"


def _wait_for(condition: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + _SETTLING_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come to an end"
        time.sleep(0.001)


def _run(bench: Bench, trial: str) -> str:
    return (stops if trial.startswith("long answers") else many)(bench, trial)


CELLS = (
    Cell(
        number="G6",
        fault=f"2,000 clients vanish, {_NUM_CLIENTS} at once: {', '.join(MOMENTS)}; "
        "with and without a stream, all endpoints",
        passes_if="requests, slots, tokens, tasks, connections and files are exactly what they were before; the engine "
        "stops within 200 ms (median); rows are cancelled, with all that the client had been told",
        trials=(*blocks("clients", total=2_000, size=200), "long answers 1-20"),
        run=_run,
        quick=("clients 1-42", "long answers 1-4"),
        kind_of=lambda trial: trial.rpartition(" ")[0],
    ),
)
