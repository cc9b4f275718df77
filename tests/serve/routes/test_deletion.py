"""DELETE /v1/outputs/{id}: what runs is stopped, what has ended is erased, and only by those whose it is."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from banyan.core.types import Completion
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.served_model import Piece, PieceListener
from banyan.store.audit import list_audit
from banyan.store.key_types import StoreMode
from banyan.store.keys import change_key, create_key
from banyan.store.sql_store import SqlStore, open_store
from banyan.testing.serving import RunningServer, ScriptedModel, running_server
from banyan.testing.store import tiny_request

ASK = {"model": "tiny", "prompt": "The banyan", "max_tokens": 4}


@pytest.fixture
def own() -> Iterator[SqlStore]:
    with open_store("sqlite://") as store:
        yield store


def client_of(server: RunningServer, *, scopes: tuple[str, ...] = ("infer", "outputs")) -> httpx.Client:
    key = create_key(server.store.database, name="one", scopes=scopes).secret
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, verify=False, timeout=30)


def test_ones_own_answer_is_erased_once(server: RunningServer, client: httpx.Client) -> None:
    answer = client.post("/v1/completions", json=ASK).json()
    done = client.delete(f"/v1/outputs/{answer['id']}")
    assert done.json() == {"id": answer["id"][5:], "object": "output.deleted", "cancelled": False, "deleted": True}
    for again in (client.get, client.delete):
        assert again(f"/v1/outputs/{answer['id']}").status_code == 404
    assert answer["id"][5:] not in client.get("/v1/outputs").text


def test_somebody_elses_answer_is_as_missing_as_none(server: RunningServer, client: httpx.Client) -> None:
    answer = client.post("/v1/completions", json=ASK).json()
    with client_of(server) as other:
        missing, foreign = (other.delete(f"/v1/outputs/{key}") for key in ("0" * 26, answer["id"]))
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json() == missing.json()
    assert client.get(f"/v1/outputs/{answer['id']}").status_code == 200


def test_what_admins_read_and_delete_of_others_is_noted(server: RunningServer, client: httpx.Client) -> None:
    answer = client.post("/v1/completions", json=ASK).json()
    with client_of(server, scopes=("admin",)) as admin:
        assert admin.get(f"/v1/outputs/{answer['id']}").status_code == 200
        assert admin.delete(f"/v1/outputs/{answer['id']}").status_code == 200
    noted = [(entry.action, entry.object_id) for _, entry in list_audit(server.store.database, limit=3)]
    assert noted == [(action, answer["id"][5:]) for action in ("output.erase", "output.read", "output.read")]


async def endless(listener: PieceListener) -> Completion:
    listener(Piece(text="once upon"))
    await asyncio.sleep(60)
    raise AssertionError("nobody stopped it")


@pytest.mark.parametrize("stream", [True, False])
def test_a_running_request_is_stopped_and_its_client_is_told(loaded: LoadedModel, own: SqlStore, stream: bool) -> None:
    model = ScriptedModel(loaded, endless)
    with running_server(model, own) as server, server.client() as client:
        answers: list[httpx.Response] = []
        body = {**ASK, "stream": stream}
        asking = threading.Thread(target=lambda: answers.append(client.post("/v1/completions", json=body)))
        asking.start()
        while not model.num_running:
            time.sleep(0.01)
        request_id = own.queries.show("last").request.request_id
        done = client.delete(f"/v1/outputs/{request_id}").json()
        asking.join(20)
        assert (done["cancelled"], done["deleted"]) == (True, False)
        (answer,) = answers
        error = json.loads(answer.text.split("\n\n")[-3][6:]) if stream else answer.json()
        assert error["error"]["code"] == "request_cancelled"
        assert answer.status_code == (200 if stream else 410)
        stored = own.queries.show(request_id)
        assert stored.state == "cancelled"
        assert stored.answer is not None and [each.text for each in stored.answer.outputs] == ["once upon"]


def test_what_another_process_answers_cannot_be_erased_yet(server: RunningServer, client: httpx.Client) -> None:
    secret = create_key(server.store.database, name="two")
    begun = server.store.begin(tiny_request(api_key_id=secret.key.key_id)).result(10)
    headers = {"Authorization": f"Bearer {secret.secret}"}
    assert client.delete(f"/v1/outputs/{begun}", headers=headers).status_code == 409


@pytest.mark.parametrize("mode", [StoreMode.REDACTED, StoreMode.NONE])
def test_a_keys_store_mode_rules_what_is_kept(server: RunningServer, mode: StoreMode) -> None:
    with client_of(server) as client:
        key = client.headers["Authorization"].removeprefix("Bearer ")[:8]
        change_key(server.store.database, key, store_mode=mode)
        answer = client.post("/v1/completions", json={**ASK, "prompt": "mail ann@mail.example"})
        assert answer.headers["X-Content-Stored"] == mode
        shown = client.get(f"/v1/outputs/{answer.json()['id']}").json()
        client.post("/v1/feedback", json={"id": shown["id"], "rating": 1, "comment": "ann@mail.example"})
        assert "ann@" not in client.get("/v1/outputs").text
    assert (shown["store_mode"], bool(shown["body"])) == (mode, mode is StoreMode.REDACTED)
    assert shown["completion_tokens"] == answer.json()["usage"]["completion_tokens"]
