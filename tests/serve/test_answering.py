"""How a request ends is known to the client and to the store, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from banyan.core.errors import StoreError
from banyan.core.types import Completion, Prompt
from banyan.infer.embedding import TextVector
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.served_model import Piece, PieceListener
from banyan.store.key_types import KeyLimits
from banyan.store.keys import change_key
from banyan.store.sql_store import SqlStore
from banyan.store.types import RequestState, StoredExchange
from banyan.testing.serving import RunningServer, ScriptedModel, running_server

CHAT = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}


def wait_for(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


async def speak_then_hang(hear: PieceListener) -> Completion:
    hear(Piece(text="so far", tokens=((5, -1.0),)))
    await asyncio.sleep(60)
    return Completion()


async def speak_then_fail(hear: PieceListener) -> Completion:
    hear(Piece(text="so far", tokens=((5, -1.0),)))
    raise RuntimeError("the secret inside")


def newest(store: SqlStore) -> StoredExchange:
    return next(store.queries.iterate())


def leave(server: RunningServer, body: dict[str, Any], *, until: Callable[[], bool]) -> None:
    """Ask, wait until something is true, and close the connection without reading."""
    raw = json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {server.key}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(raw)}", "", ""]
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
        connection.sendall("\r\n".join(lines).encode() + raw)
        wait_for(until)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_its_answer_and_the_store_keeps_what_there_was(
    loaded: LoadedModel, store: SqlStore, stream: bool
) -> None:
    model = ScriptedModel(loaded, speak_then_hang)
    with running_server(model, store) as server:
        leave(server, {**ASK, "stream": stream, "n": 2}, until=lambda: model.num_running == 2)
        wait_for(lambda: model.num_running == 0)
        wait_for(lambda: newest(store).state is RequestState.CANCELLED)
        exchange = newest(store)
        assert exchange.answer is not None
        assert (exchange.answer.http_status, exchange.answer.error_code) == (499, "client_disconnected")
        assert [output.text for output in exchange.answer.outputs] == ["so far", "so far"]
        assert server.parts.admission.num_inside == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_real_engine_stops_when_the_client_leaves(server: RunningServer, loaded: LoadedModel, stream: bool) -> None:
    long = {**ASK, "max_tokens": 150, "temperature": 1, "stream": stream, "n": 4}
    leave(server, long, until=lambda: loaded.engine.num_live > 0)
    wait_for(lambda: loaded.engine.num_live == 0)


def test_a_failure_before_the_first_byte_has_a_status_and_hides_its_cause(
    loaded: LoadedModel, store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(ScriptedModel(loaded, speak_then_fail), store) as server, server.client() as client:
        response = client.post(CHAT, json=ASK)
    assert response.status_code == 500
    error = response.json()["error"]
    request_id = response.headers["X-Request-Id"]
    assert error["message"] == f"internal error; quote request id {request_id}"
    exchange = store.queries.show(request_id)
    assert exchange.state is RequestState.FAILED
    assert exchange.answer is not None
    assert (exchange.answer.http_status, exchange.answer.error_code) == (500, "internal_error")
    assert [output.text for output in exchange.answer.outputs] == ["so far"]
    assert "secret" not in response.text + caplog.text


def test_a_failure_in_a_stream_is_an_error_frame_and_done(loaded: LoadedModel, store: SqlStore) -> None:
    with running_server(ScriptedModel(loaded, speak_then_fail), store) as server, server.client() as client:
        response = client.post(CHAT, json={**ASK, "stream": True})
    assert response.status_code == 200
    *_, failure, done, end = response.text.split("\n\n")
    assert json.loads(failure.removeprefix("data: "))["error"]["code"] == "internal_error"
    assert (done, end) == ("data: [DONE]", "")
    assert store.queries.show(response.headers["X-Request-Id"]).state is RequestState.FAILED


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_is_ended(loaded: LoadedModel, store: SqlStore, stream: bool) -> None:
    model = ScriptedModel(loaded, speak_then_hang)
    with running_server(model, store, answer_seconds=0.1) as server, server.client() as client:
        response = client.post(CHAT, json={**ASK, "stream": stream})
        assert model.num_running == 0
    assert "generation exceeded 0.1 s" in response.text
    assert response.status_code == (200 if stream else 504)
    exchange = store.queries.show(response.headers["X-Request-Id"])
    assert exchange.answer is not None
    assert (exchange.state, exchange.answer.error_code) == (RequestState.FAILED, "timeout")


async def say_something(hear: PieceListener) -> Completion:
    hear(Piece(text="done", tokens=((5, -1.0),)))
    return Completion(token_ids=(5,), token_log_probs=(-1.0,))


class Watched(ScriptedModel):
    """A model that notes which threads make its prompts."""

    threads: list[int] = []

    def prompt(self, task: str, example: Any) -> Prompt:
        self.threads.append(threading.get_ident())
        return super().prompt(task, example)


@pytest.mark.parametrize(
    "path, body",
    [
        (CHAT, lambda text: {"model": "tiny", "messages": [{"role": "user", "content": text}]}),
        ("/v1/completions", lambda text: {"model": "tiny", "prompt": [text]}),
        ("/v1/tasks/sum", lambda text: {"input": text}),
    ],
)
def test_long_texts_are_turned_into_tokens_beside_the_event_loop(
    loaded: LoadedModel, store: SqlStore, path: str, body: Callable[[str], dict[str, Any]]
) -> None:
    model = Watched(loaded, say_something)
    with running_server(model, store) as server, server.client() as client:
        for text in ("short", "tree " * 2_000):
            client.post(path, json=body(text))
        [on_loop, beside] = model.threads[-2:]
        assert on_loop == server.thread.ident != beside


async def say_nothing(_: PieceListener) -> Completion:
    await asyncio.sleep(60)
    return Completion()


class SlowToRead(ScriptedModel):
    """A model whose vectors do not come either."""

    async def embed(self, texts: Sequence[TextVector], *, owner: str = "") -> list[NDArray[np.float32]]:
        await asyncio.sleep(60)
        return []


@pytest.mark.parametrize(
    "path, body",
    [
        (CHAT, ASK),
        ("/v1/completions", {"model": "tiny", "prompt": "a"}),
        ("/v1/tasks/topic", {"input": "a"}),
        ("/v1/images/generations", {"prompt": "seven"}),
        ("/v1/embeddings", {"model": "tiny", "input": "a"}),
    ],
)
def test_every_request_for_work_may_give_less_time_than_the_server(
    loaded: LoadedModel, store: SqlStore, path: str, body: dict[str, Any]
) -> None:
    with running_server(SlowToRead(loaded, say_nothing), store) as server, server.client() as client:
        response = client.post(path, json={**body, "timeout_seconds": 0.05})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
    assert store.queries.show(response.headers["X-Request-Id"]).state is RequestState.FAILED


def test_more_requests_than_there_is_room_for_are_told_to_come_back(loaded: LoadedModel, store: SqlStore) -> None:
    model = ScriptedModel(loaded, speak_then_hang)
    with (
        running_server(model, store, max_requests=1, drain_seconds=0.1) as server,
        server.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(client.post, CHAT, json=ASK)
        wait_for(lambda: model.num_running == 1)
        response = client.post(CHAT, json=ASK)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "overloaded"
        assert int(response.headers["Retry-After"]) >= 1
        assert client.post("/tokenize", json={"prompt": "a"}).status_code == 503
        assert client.get("/v1/models").status_code == 200
        server.thread.stop()
        assert first.result().status_code == 503


def test_draining_finishes_what_has_begun_and_lets_nobody_in(loaded: LoadedModel, store: SqlStore) -> None:
    release = asyncio.Event()

    async def wait_for_release(hear: PieceListener) -> Completion:
        hear(Piece(text="begun"))
        await release.wait()
        hear(Piece(text=" and finished"))
        return Completion()

    model = ScriptedModel(loaded, wait_for_release)
    with running_server(model, store) as server, server.client() as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, CHAT, json={**ASK, "stream": True})
        wait_for(lambda: model.num_running == 1)
        server.thread.tell_to_stop()
        wait_for(lambda: server.parts.admission.is_draining)
        late = client.post(CHAT, json=ASK)
        assert (late.status_code, late.json()["error"]["code"]) == (503, "shutting_down")
        assert "Retry-After" in late.headers
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
        server.thread._loop.call_soon_threadsafe(release.set)
        text = first.result().text
        assert text.endswith("data: [DONE]\n\n")
        assert " and finished" in text
        server.thread.stop()


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_outlasts_the_drain_is_ended_in_so_many_words(
    loaded: LoadedModel, store: SqlStore, stream: bool
) -> None:
    model = ScriptedModel(loaded, speak_then_hang)
    with (
        running_server(model, store, drain_seconds=0.1) as server,
        server.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(client.post, CHAT, json={**ASK, "stream": stream})
        wait_for(lambda: model.num_running == 1)
        server.thread.stop()
        response = answer.result()
    assert "shutting_down" in response.text
    if stream:
        assert response.text.endswith("data: [DONE]\n\n")
    assert store.queries.show(response.headers["X-Request-Id"]).state is RequestState.INTERRUPTED


class FailingStore:
    """A store that cannot begin, or cannot finish."""

    def __init__(self, store: SqlStore, *, fails: str) -> None:
        self._store = store
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        return self._refuse if name == self._fails else getattr(self._store, name)

    def _refuse(self, *_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(StoreError("the disk is full"))
        return future


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fails", ["begin", "finish"])
def test_what_cannot_be_stored_is_not_answered(loaded: LoadedModel, store: SqlStore, fails: str, stream: bool) -> None:
    async def answer_at_once(hear: PieceListener) -> Completion:
        hear(Piece(text="done"))
        return Completion()

    broken: Any = FailingStore(store, fails=fails)
    with running_server(ScriptedModel(loaded, answer_at_once), broken) as server, server.client() as client:
        response = client.post(CHAT, json={**ASK, "stream": stream})
    assert "storage_unavailable" in response.text
    assert "disk" not in response.text
    has_begun = stream and fails == "finish"
    assert response.status_code == (200 if has_begun else 503)
    assert '"finish_reason":"stop"' not in response.text


def test_what_cannot_be_stored_costs_its_key_no_tokens(loaded: LoadedModel, store: SqlStore) -> None:
    broken: Any = FailingStore(store, fails="begin")
    with running_server(ScriptedModel(loaded, speak_then_hang), broken) as server, server.client() as client:
        key = store.verify_key(server.key)
        assert key is not None
        change_key(store.database, key.key_id, limits=KeyLimits(tokens_per_minute=100))
        statuses = [client.post(CHAT, json=ASK).status_code for _ in range(3)]
    assert statuses == [503, 503, 503], "none of them is the key's own limit"


def test_many_clients_at_once_get_what_they_would_get_alone(server: RunningServer) -> None:
    bodies = [{**ASK, "max_tokens": 10, "temperature": 1, "seed": seed} for seed in range(8)]
    with server.client(limits=httpx.Limits(max_connections=8)) as client, ThreadPoolExecutor(8) as pool:
        alone = [client.post(CHAT, json=body).json()["choices"][0]["message"] for body in bodies]
        together = [
            response.json()["choices"][0]["message"]
            for response in pool.map(lambda body: client.post(CHAT, json=body), bodies)
        ]
    assert together == alone
