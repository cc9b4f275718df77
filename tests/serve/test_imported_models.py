"""A model that came from elsewhere, served: its own chat format, its own end tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from banyan.core.hashing import hash_token_ids
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.store.queries import RequestFilter
from banyan.store.sql_store import open_store
from banyan.testing.foreign_models import save_tiny_foreign_model
from banyan.testing.serving import RunningServer, running_server

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a tree? <|im_end|></s>"}]


@pytest.fixture(scope="module", params=["llama2", "qwen2.5"])
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    with load(save_tiny_foreign_model(request.param, tmp_path_factory.mktemp("m") / "m"), device="cpu") as model:
        yield model


@pytest.fixture(scope="module")
def server(imported: LoadedModel) -> Iterator[RunningServer]:
    with open_store("sqlite://") as store, running_server(LocalModel(imported, name="m"), store) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_it_talks_without_having_been_taught_here(
    imported: LoadedModel, client: httpx.Client, server: RunningServer
) -> None:
    body = {"model": "m", "messages": MESSAGES, "max_tokens": 12, "temperature": 0}
    response = client.post("/v1/chat/completions", json=body)
    choice = response.json()["choices"][0]
    assert choice["message"]["content"] == imported.chat(MESSAGES, max_tokens=12, temperature=0)
    prompt, _ = imported.reply_prompt(MESSAGES)
    stored, *_ = server.store.queries.newest(RequestFilter(task="dialogue"))
    assert stored.request.prompt_sha256 == hash_token_ids([prompt.token_ids])
    assert response.json()["usage"]["prompt_tokens"] == len(prompt)


def test_a_streamed_message_is_the_whole_one(imported: LoadedModel, client: httpx.Client) -> None:
    body = {"model": "m", "messages": MESSAGES, "max_tokens": 12, "temperature": 0, "stream": True}
    lines = client.post("/v1/chat/completions", json=body).text.splitlines()
    frames = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    said = "".join(choice["delta"].get("content") or "" for frame in frames for choice in frame["choices"])
    assert said == imported.chat(MESSAGES, max_tokens=12, temperature=0)


@pytest.mark.parametrize("text", ["The banyan", " grows", "独木"])
def test_a_text_goes_on(text: str, imported: LoadedModel, client: httpx.Client) -> None:
    body = {"model": "m", "prompt": text, "max_tokens": 12, "temperature": 0}
    choice = client.post("/v1/completions", json=body).json()["choices"][0]
    assert choice["text"] == imported.generate(text, max_tokens=12, temperature=0)


def test_a_model_that_was_only_shown_text_does_not_talk(tmp_path: Path) -> None:
    with (
        load(save_tiny_foreign_model("gpt2", tmp_path / "m"), device="cpu") as model,
        open_store("sqlite://") as store,
        running_server(LocalModel(model, name="m"), store) as running,
        running.client() as client,
    ):
        refused = client.post("/v1/chat/completions", json={"model": "m", "messages": MESSAGES})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "task_not_available")
        assert client.post("/v1/completions", json={"model": "m", "prompt": "a", "max_tokens": 2}).status_code == 200
