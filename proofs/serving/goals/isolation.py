"""G15: what belongs to one key is, for another, as missing as what never was: same answer, same time."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import httpx
from scipy import stats

from banyan.core.ids import new_ulid
from banyan.store.key_types import DEFAULT_SCOPES
from banyan.store.sql_store import open_store
from banyan.store.types import StoredExchange
from banyan.testing.recorded_runs import record_tiny_run
from proofs.evidence import Cell
from proofs.serving.goals.asking import Asking, askings
from proofs.serving.goals.bench import MODEL_NAME, Bench, Server
from proofs.serving.goals.blocks import blocks, numbers_of

_NUM_ASKED = 24  # by the one whose things these are
_CANARY = "canary4711"
_LEAST_CHANCE = 0.001  # of times that differ so much if they were drawn alike
_OWN_HEADERS = ("date", "x-request-id")  # of every answer


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to reach for a thing by its id, and what is said where there is none."""

    name: str
    method: str
    path: str
    status: int
    body: dict[str, Any] | None = None
    is_of_run: bool = False

    def ask(self, client: httpx.Client, thing: str) -> httpx.Response:
        """Reach for a thing."""
        body = None if self.body is None else {**self.body, "id": thing}
        return client.request(self.method, self.path.format(thing), json=body)


WAYS = (
    Way(name="shown", method="GET", path="/v1/outputs/{}", status=404),
    Way(name="shown as a chat", method="GET", path="/v1/outputs/chatcmpl-{}", status=404),
    Way(name="shown as a text", method="GET", path="/v1/outputs/cmpl-{}", status=404),
    Way(name="deleted", method="DELETE", path="/v1/outputs/{}", status=404),
    Way(name="judged", method="POST", path="/v1/feedback", body={"rating": 1, "comment": "mine"}, status=404),
    Way(name="listed from", method="GET", path="/v1/outputs?before={}", status=400),
    Way(name="run", method="GET", path="/v1/runs/{}", status=403, is_of_run=True),
    Way(name="samples of a run", method="GET", path="/v1/runs/{}/samples", status=403, is_of_run=True),
)


@dataclass(kw_only=True)
class Owned:
    """What one key has."""

    request_ids: list[str] = field(default_factory=list)
    idempotent: list[tuple[Asking, str]] = field(default_factory=list)  # with the key each was asked under
    run_id: str = ""


@dataclass(kw_only=True)
class Reach:
    """One who reaches for what belongs to another."""

    client: httpx.Client
    owned: Owned
    pairs: list[tuple[float, float]] = field(default_factory=list)  # seconds for a thing of the other, and for none

    def by_id(self, draw: random.Random) -> None:
        """Reach for a thing and for one that never was, in any order; fail if there is a difference."""
        way = draw.choice(WAYS)
        thing = self.owned.run_id if way.is_of_run else draw.choice(self.owned.request_ids)
        nothing = new_ulid()
        found = {each: self._timed(way, each) for each in draw.sample((thing, nothing), 2)}
        (foreign, seconds), (missing, none_seconds) = found[thing], found[nothing]
        self.pairs.append((seconds, none_seconds))
        assert foreign.status_code == way.status, f"{way.name}: {foreign.status_code} {foreign.text[:200]}"
        told = [_told(response, thing, nothing) for response in (foreign, missing)]
        assert told[0] == told[1], f"{way.name}: {told[0]} for what is another's, {told[1]} for what never was"

    def by_search(self, draw: random.Random) -> None:
        """Search for the other's words."""
        field_name = draw.choice(("q", "similar"))
        response = self.client.get("/v1/outputs", params={field_name: _CANARY, "limit": 100})
        assert response.status_code == 200, response.text[:200]
        seen = {row["id"] for row in response.json()["data"]} & set(self.owned.request_ids)
        assert not seen, f"a search by {field_name} finds what is another's: {seen}"

    def by_idempotency_key(self, draw: random.Random) -> None:
        """Ask what the other asked, under the other's idempotency key; each key is tried once."""
        asking, key = self.owned.idempotent.pop(draw.randrange(len(self.owned.idempotent)))
        response = self.client.post(asking.path, json=asking.body, headers={"Idempotency-Key": key})
        assert response.status_code == 200, response.text[:200]
        assert "Idempotent-Replayed" not in response.headers, "the other's answer was replayed"
        assert response.headers["X-Request-Id"] not in self.owned.request_ids, "the other's request was answered"

    def _timed(self, way: Way, thing: str) -> tuple[httpx.Response, float]:
        began = time.perf_counter()
        return way.ask(self.client, thing), time.perf_counter() - began


_Act: TypeAlias = Callable[[Reach, random.Random], None]
_ACTS: tuple[_Act, ...] = (*(Reach.by_id,) * 8, Reach.by_search, Reach.by_idempotency_key)


def run(bench: Bench, trial: str) -> str:
    """Let one key reach for what belongs to another in a block of ways."""
    with bench.server(f"G15-{trial}", is_started=False) as server:
        with open_store(server.database) as store:
            run_id = record_tiny_run(store, server.folder / "run")
        owner, other = (server.new_key(name, scopes=DEFAULT_SCOPES) for name in ("owner", "other"))
        server.start()
        with server.client(key=owner) as client:
            owned = _ask_all(client, trial, run_id)
        before = _rows(server, owned)
        with server.client(key=other) as client:
            _ask_all(client, "other", run_id)  # who has nothing would be asked less of the database
            reach = Reach(client=client, owned=owned)
            for number in numbers_of(trial):
                draw = random.Random(f"reach {number}")
                _ACTS[number % len(_ACTS)](reach, draw)
        assert _rows(server, owned) == before, "something of the owner's has changed"
    return _judged(reach.pairs, num_attempts=len(numbers_of(trial)))


def _ask_all(client: httpx.Client, seed: str, run_id: str) -> Owned:
    """Ask for answers of all kinds, and return what somebody has then."""
    owned = Owned(run_id=run_id)
    prompt = {"model": MODEL_NAME, "prompt": f"{_CANARY} grows", "max_tokens": 8}
    canary = Asking(path="/v1/completions", body=prompt)
    for number, asking in enumerate((canary, *islice(askings(f"G15 {seed}"), _NUM_ASKED))):
        headers = {"Idempotency-Key": f"{seed}-{number}".replace(" ", "-")} if number % 2 == 0 else {}
        response = client.post(asking.path, json=asking.body, headers=headers)
        assert response.status_code == 200, response.text[:200]
        owned.request_ids.append(response.headers["X-Request-Id"])
        if headers:
            owned.idempotent.append((asking, headers["Idempotency-Key"]))
    for request_id in owned.request_ids[:3]:
        client.post("/v1/feedback", json={"id": request_id, "index": 0, "rating": -1}).raise_for_status()
    return owned


def _rows(server: Server, owned: Owned) -> list[StoredExchange]:
    return [own for own in server.exchanges() if own.request.request_id in owned.request_ids]


def _told(response: httpx.Response, thing: str, nothing: str) -> tuple[int, dict[str, str], str]:
    headers = {name: value for name, value in response.headers.items() if name not in _OWN_HEADERS}
    return response.status_code, headers, response.text.replace(thing, "…").replace(nothing, "…")


def _judged(pairs: Sequence[tuple[float, float]], *, num_attempts: int) -> str:
    """Return what was seen; raises AssertionError if the times tell what is there."""
    foreign, missing = (statistics.median(own) * 1000 for own in zip(*pairs, strict=True))
    chance = float(stats.wilcoxon([there - nowhere for there, nowhere in pairs]).pvalue)
    times = f"median {foreign:.2f} ms for what is another's, {missing:.2f} ms for what never was (p = {chance:.2f})"
    assert chance >= _LEAST_CHANCE, f"the times tell what is there: {times}"
    return f"{num_attempts} attempts; {times}"


CELLS = (
    Cell(
        number="G15",
        fault="1,000 attempts of one key at requests, outputs, pictures, feedback and runs of another: "
        + ", ".join(way.name for way in WAYS)
        + "; searches; its idempotency keys",
        passes_if="always what is said of a thing that never was, headers and all, in the same time (Wilcoxon's test "
        f"of pairs, p ≥ {_LEAST_CHANCE}); nothing of the owner's changes",
        trials=blocks("attempts", total=1_000, size=100),
        run=run,
        quick=("attempts 1-20",),
        trial_size="100 attempts",
    ),
)
