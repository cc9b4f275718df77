"""`python -m proofs.ray_serve`: what clients get from two replicas, one of them killed, is stored once and whole.

Twenty requests, half of them streamed, go through both replicas; one is killed with SIGKILL while it answers. Then
every stored answer is given again by a model of this process, and the replicas change their model under requests.
Needs Ray and a PostgreSQL at BANYAN_TEST_POSTGRES (`.ci/with-postgres` starts one).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from banyan.core.before_torch import REPEATABLE_PRODUCTS

os.environ.setdefault(*REPEATABLE_PRODUCTS)  # the replicas inherit it

import httpx
from sqlalchemy import select

from banyan.cli.main import flushed_denormals
from banyan.runtime.loading import load
from banyan.serve.replay import Replayer
from banyan.store.keys import create_key
from banyan.store.schema import RequestRow, ServerInstanceRow
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import OPEN_STATES, RequestState, StoredExchange
from banyan.testing.model_directories import save_tiny_model
from proofs.ray_serve.clients import Answered, ask
from proofs.ray_serve.cluster import deploy, local_cluster

NUM_REQUESTS = 20
NUM_TOKENS = 150
NUM_CLIENTS = 4
NUM_BEFORE_THE_KILL = 6
PATIENCE_SECONDS = 120.0

T = TypeVar("T")


def main() -> None:
    """Run the proof and print what was seen; an assertion says what does not hold."""
    database = os.environ.get("BANYAN_TEST_POSTGRES")
    if not database:
        sys.exit("BANYAN_TEST_POSTGRES is not set; run: .ci/with-postgres python -m proofs.ray_serve")
    with tempfile.TemporaryDirectory() as name, open_store(database) as store:
        models = [save_tiny_model(Path(name) / f"model-{seed}", seed=seed, max_seq_len=256) for seed in (0, 1)]
        key = create_key(store.database, name="proof", scopes=("infer", "outputs")).secret
        with (
            local_cluster(database) as url,
            httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120) as client,
        ):
            deploy(models[0], replicas=2)
            print(f"two replicas at {url}", flush=True)
            killed(client, store)
            replayed(store, models[0])
            asked_again(client, store)
            changed(client, models[1])
    print("everything holds")


def killed(client: httpx.Client, store: SqlStore) -> None:
    """Ask through both replicas, kill one that is answering, and compare what was got with what is stored."""
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        asked = [
            pool.submit(ask, client, f"r-{number:02}", num_tokens=NUM_TOKENS, is_streamed=number % 2 == 1)
            for number in range(NUM_REQUESTS)
        ]
        wait_for(lambda: sum(one.done() for one in asked) >= NUM_BEFORE_THE_KILL, "the first answers")
        pid = wait_for(lambda: answering(store), "a replica that answers")
        os.kill(pid, signal.SIGKILL)
        got = [one.result() for one in asked]
    wait_for(lambda: not [own for own in stored(store) if own.state in OPEN_STATES], "the next replica's tidying up")
    compare(got, stored(store))
    with store.database.read() as connection:
        used = set(connection.scalars(select(RequestRow.server_instance_id)))
    assert len(used) >= 2, "one replica alone answered everything"
    print(f"{len(used)} replicas were asked, one of them killed", flush=True)


def compare(got: Sequence[Answered], kept: Sequence[StoredExchange]) -> None:
    """Check that nothing is lost and nothing doubled."""
    states = Counter(str(exchange.state) for exchange in kept)
    completed = [own for own in kept if own.state is RequestState.COMPLETED]
    counts = Counter(own.request.client_request_id for own in completed)
    assert counts == Counter(one.label for one in got), f"completed by label: {counts}"
    texts = {own.request.client_request_id: own.answer.outputs[0].text for own in completed if own.answer}
    assert all(texts[one.label] == one.text for one in got), "a client read something else than what is stored"
    assert set(states) == {"completed", "interrupted"}, f"{dict(states)}: the kill met no answer in the making"
    again = sum(one.num_tries > 1 for one in got)
    print(f"{len(got)} answered, {again} of them after a second asking; stored: {dict(states)}", flush=True)


def replayed(store: SqlStore, model: Path) -> None:
    """Give every stored answer again here, whichever replica gave it."""
    completed = [own for own in stored(store) if own.state is RequestState.COMPLETED]
    with flushed_denormals(), load(model, device="cpu") as loaded, Replayer(loaded) as replayer:
        same = [replayer.replay(exchange).is_same for exchange in completed]
    assert all(same), f"{same.count(False)} answers differ"
    print(f"{len(same)} answers given again bit for bit", flush=True)


def asked_again(client: httpx.Client, store: SqlStore) -> None:
    """Ask one request again and again, of whichever replica: the first answer comes, and nothing more is stored."""
    before = len(stored(store))
    first = ask(client, "r-00", num_tokens=NUM_TOKENS, is_streamed=False)
    for _ in range(8):
        assert ask(client, "r-00", num_tokens=NUM_TOKENS, is_streamed=False) == first
    assert len(stored(store)) == before, "an answer that was known was stored again"
    print("an answer under its idempotency key came nine times and is stored once", flush=True)


def changed(client: httpx.Client, model: Path) -> None:
    """Give the replicas another model while requests come in; not one may fail."""
    before = sha_of(client)
    is_over = False

    def keep_asking() -> Counter[int]:
        statuses: Counter[int] = Counter()
        while not is_over:
            body = {"model": "tiny", "prompt": "a", "max_tokens": 4}
            statuses[client.post("/v1/completions", json=body).status_code] += 1
        return statuses

    with ThreadPoolExecutor(1) as pool:
        asking: Future[Counter[int]] = pool.submit(keep_asking)
        try:
            deploy(model, replicas=2)
            wait_for(lambda: before not in {sha_of(client) for _ in range(6)}, "the other model everywhere")
        finally:
            is_over = True
        statuses = asking.result()
    assert set(statuses) == {200}, f"while the model changed: {dict(statuses)}"
    print(f"the model changed under {statuses[200]} requests, all answered", flush=True)


def answering(store: SqlStore) -> int | None:
    """Return the process number of the replica that began an answer last; None if nobody answers now."""
    query = (
        select(ServerInstanceRow.pid)
        .join(RequestRow, RequestRow.server_instance_id == ServerInstanceRow.id)
        .where(RequestRow.state.in_([str(state) for state in OPEN_STATES]), ServerInstanceRow.ended_at.is_(None))
    )
    with store.database.read() as connection:
        return connection.scalars(query.order_by(RequestRow.received_at.desc()).limit(1)).first()


def stored(store: SqlStore) -> list[StoredExchange]:
    """Return all requests with their answers."""
    return list(store.queries.iterate())


def sha_of(client: httpx.Client) -> str:
    """Return the fingerprint of the model that one of the replicas serves."""
    return str(client.get("/v1/models").raise_for_status().json()["data"][0]["sha256"])


def wait_for(condition: Callable[[], T | None], what: str) -> T:
    """Return what a condition comes to once it is met."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


if __name__ == "__main__":
    main()
