"""Adapters behind HTTP: listed, named by the `model` field, and answered with their own tasks and heads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.store.sql_store import SqlStore
from banyan.tasks.classification import Classification
from banyan.testing.adapters import save_random_adapter
from banyan.testing.serving import running_server
from banyan.testing.tasks import TASKS

MOOD = Classification(name="mood", labels=("glad", "sad", "calm"))


@pytest.fixture(scope="module")
def loaded(model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    folder = save_random_adapter(
        tmp_path_factory.mktemp("adapters") / "moods", model_directory, tasks=(*TASKS.values(), MOOD), seed=1
    )
    with load(model_directory, device="cpu", num_slots=4) as loaded:
        loaded.load_adapter("moods", folder)
        yield loaded


@pytest.fixture(scope="module")
def client(loaded: LoadedModel, store: SqlStore) -> Iterator[httpx.Client]:
    model = LocalModel(loaded, name="tiny")
    with running_server(model, store, adapters=[model.under("moods")]) as server, server.client() as client:
        yield client


def completion(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/completions", json={"prompt": "The tree", "temperature": 0, **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_model_and_its_adapters_are_listed(client: httpx.Client, loaded: LoadedModel) -> None:
    plain, moods = client.get("/v1/models").json()["data"]
    assert (plain["id"], "parent" in plain) == ("tiny", False)
    assert (moods["id"], moods["parent"], moods["adapter"]) == ("tiny:moods", "tiny", "moods")
    assert "mood" in moods["tasks"] and "mood" not in plain["tasks"]
    assert moods["sha256"] == loaded.under("moods").sha256
    for name in ("tiny:moods", "moods"):
        assert client.get(f"/v1/models/{name}").json() == moods


@pytest.mark.parametrize("name", ["tiny:moods", "moods"])
def test_a_request_names_the_adapter_that_answers(client: httpx.Client, loaded: LoadedModel, name: str) -> None:
    answer = completion(client, model=name, max_tokens=12)
    assert answer["model"] == "tiny:moods"
    assert answer["choices"][0]["text"] == loaded.generate("The tree", temperature=0, max_tokens=12, adapter="moods")
    plain = completion(client, model="tiny", max_tokens=12)
    assert plain["model"] == "tiny" and plain["choices"] != answer["choices"]


def test_its_own_tasks_answer_under_it_and_nowhere_else(client: httpx.Client) -> None:
    asked = {"input": "a fine day"}
    found = client.post("/v1/tasks/mood", json={**asked, "model": "moods"}).json()
    assert found["model"] == "tiny:moods" and found["predictions"][0]["text"] in MOOD.labels
    refused = client.post("/v1/tasks/mood", json=asked)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "task_not_found")
    names = [task["name"] for task in client.get("/v1/tasks", params={"model": "moods"}).json()["data"]]
    assert "mood" in names


def test_the_chat_route_takes_an_adapter_and_its_stream_says_so(client: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 8}
    whole = client.post("/v1/chat/completions", json={**body, "model": "tiny:moods"}).json()
    plain = client.post("/v1/chat/completions", json={**body, "model": "tiny"}).json()
    assert whole["choices"][0]["message"]["content"] != plain["choices"][0]["message"]["content"]
    streamed = client.post("/v1/chat/completions", json={**body, "model": "moods", "stream": True}).text
    assert '"model": "tiny:moods"' in streamed or '"model":"tiny:moods"' in streamed


@pytest.mark.parametrize("name", ["mood", "tiny:", "tiny:mood", "other:moods", ":moods", "moods:tiny"])
def test_an_unknown_adapter_is_a_model_that_is_not_found(client: httpx.Client, name: str) -> None:
    for route, body in (("completions", {"prompt": "x"}), ("tasks/topic", {"input": "x"})):
        answer = client.post(f"/v1/{route}", json={**body, "model": name})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert client.get(f"/v1/models/{name}").status_code == 404


def test_the_store_remembers_which_adapter_answered(client: httpx.Client, loaded: LoadedModel) -> None:
    answer = completion(client, model="moods", max_tokens=2)
    kept = client.get(f"/v1/outputs/{answer['id']}").json()
    assert (kept["model"], kept["model_sha256"]) == ("tiny:moods", loaded.under("moods").sha256)
