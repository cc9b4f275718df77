"""The same asked twice under one key is answered once and heard twice; anything else under that key is refused."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import text

from banyan.core.types import Completion
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.errors import unavailable
from banyan.serve.frames import ended_well
from banyan.serve.local_model import LocalModel
from banyan.serve.served_model import Piece, PieceListener
from banyan.store.key_types import StoreMode
from banyan.store.keys import create_key
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import RequestState
from banyan.testing.serving import RunningServer, ScriptedModel, running_server

CONTINUE = {"model": "tiny", "prompt": "The banyan", "max_tokens": 6, "temperature": 1}
ASKED = [
    ("/v1/completions", CONTINUE),
    ("/v1/completions", {**CONTINUE, "stream": True}),
    ("/v1/embeddings", {"model": "tiny", "input": "a tree"}),
    ("/v1/tasks/topic", {"input": "a tree"}),
    ("/v1/images/generations", {"prompt": "a seven"}),
]


def count(store: SqlStore) -> int:
    return store.queries.counts().num_requests


def ask(client: httpx.Client, path: str, body: dict[str, Any], key: str) -> httpx.Response:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize(("path", "body"), ASKED, ids=["whole", "stream", "vector", "task", "picture"])
def test_the_second_asking_gets_the_first_answer(
    client: httpx.Client, store: SqlStore, path: str, body: dict[str, Any]
) -> None:
    key = f"{path}{'stream' in body}"
    first = ask(client, path, body, key)
    before = count(store)
    second = ask(client, path, body, key)
    assert (first.status_code, first.content, first.headers["Content-Type"]) == (
        second.status_code,
        second.content,
        second.headers["Content-Type"],
    )
    assert "Idempotent-Replayed" not in first.headers and second.headers["Idempotent-Replayed"] == "true"
    assert count(store) == before


def test_another_request_under_the_key_is_refused_and_another_keys_is_not(
    server: RunningServer, client: httpx.Client
) -> None:
    ask(client, "/v1/completions", CONTINUE, "mine")
    refused = ask(client, "/v1/completions", {**CONTINUE, "max_tokens": 7}, "mine")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_conflict")
    other = create_key(server.store.database, name="other").secret
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {other}"}, verify=False) as stranger:
        assert "Idempotent-Replayed" not in ask(stranger, "/v1/completions", CONTINUE, "mine").headers
    assert ask(client, "/v1/completions", CONTINUE, "two words").status_code == 400


def test_a_key_that_is_being_answered_is_busy_and_then_free_again(loaded: LoadedModel) -> None:
    async def slow(listener: PieceListener) -> Completion:
        listener(Piece(text="a"))
        await asyncio.sleep(60)
        raise AssertionError("nobody stopped it")

    model = ScriptedModel(loaded, slow)
    with open_store("sqlite://") as store, running_server(model, store) as server, server.client() as client:
        asking = threading.Thread(target=lambda: ask(client, "/v1/completions", CONTINUE, "k"))
        asking.start()
        while not model.num_running:
            time.sleep(0.01)
        assert ask(client, "/v1/completions", CONTINUE, "k").status_code == 409
        client.delete(f"/v1/outputs/{store.queries.show('last').request.request_id}")
        asking.join(20)
        assert server.parts.claimed == set()


def test_what_failed_may_be_asked_again(loaded: LoadedModel) -> None:
    tries = 0

    async def fails_once(listener: PieceListener) -> Completion:
        nonlocal tries
        tries += 1
        listener(Piece(text="a"))
        if tries == 1:
            raise unavailable("overloaded", "not now")
        return Completion(token_ids=(1,), finish_reason="stop")  # type: ignore[arg-type]

    body = {**CONTINUE, "stream": True}
    with (
        open_store("sqlite://") as store,
        running_server(ScriptedModel(loaded, fails_once), store) as server,
        server.client() as client,
    ):
        answers = [ask(client, "/v1/completions", body, "k") for _ in range(3)]
        assert [ended_well(answer.content) for answer in answers] == [False, True, True]
        assert tries == 2


def test_what_cannot_be_kept_is_an_error_with_a_status_or_in_the_place_of_the_end(model: LocalModel) -> None:
    with open_store("sqlite://") as store, running_server(model, store) as server, server.client() as client:
        deadline = time.monotonic() + 20
        refuse_rows = "CREATE TRIGGER full BEFORE INSERT ON idempotent_answers BEGIN SELECT RAISE(ABORT, 'full'); END"
        with store.database.write() as connection:
            connection.execute(text(refuse_rows))
        whole = ask(client, "/v1/completions", CONTINUE, "whole")
        assert (whole.status_code, whole.json()["error"]["code"]) == (503, "storage_unavailable")
        assert whole.headers["Retry-After"] and whole.headers["X-Request-Id"]
        streamed = ask(client, "/v1/completions", {**CONTINUE, "stream": True}, "streamed")
        *_, failure, done, end = streamed.text.split("\n\n")
        assert json.loads(failure.removeprefix("data: "))["error"]["code"] == "storage_unavailable"
        assert (done, end, ended_well(streamed.content)) == ("data: [DONE]", "", False)
        assert server.parts.claimed == set()
        # Answer and kept answer are one transaction, so no row claims what its client was not given.
        while open_ones := [own for own in store.queries.newest() if own.answer is None]:
            assert time.monotonic() < deadline, open_ones
            time.sleep(0.05)
        assert {own.state for own in store.queries.newest()} == {RequestState.FAILED}


def test_nothing_is_kept_of_a_key_that_keeps_nothing(server: RunningServer) -> None:
    key = create_key(server.store.database, name="silent", store_mode=StoreMode.NONE).secret
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, verify=False) as client:
        for _ in range(2):
            assert "Idempotent-Replayed" not in ask(client, "/v1/completions", CONTINUE, "k").headers


def test_the_official_client_sends_one_as_a_header(server: RunningServer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
        fields = {**CONTINUE, "extra_headers": {"Idempotency-Key": "official"}}
        first, second = (client.completions.create(**fields) for _ in range(2))  # type: ignore[call-overload]
    assert first == second
